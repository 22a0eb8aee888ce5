//! A POST to a web server.

use std::{fs, path::Path, sync::Arc, time::Duration};

use serde_json::json;
use ureq::{
    Agent, Error,
    http::{HeaderValue, StatusCode, header},
    tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem},
};

use super::{
    message::{Again, Message, Undelivered},
    obstacles::{read_secret, told},
};
use crate::{
    config::outlet::{Format, Url, Webhook},
    text::escape_cut,
};

/// So much of a refusal is read, bytes.
const MAX_ANSWER: u64 = 1024;

/// So much of it is told, characters.
const SHOWN: usize = 120;

/// Longest that a server may make us wait.
const MAX_WAIT: Duration = Duration::from_hours(1);

/// Longest text for Slack, which cuts at 40,000 characters.
const MAX_TEXT: usize = 4000;

/// Sends the message, and has an answer of success.
pub(super) fn deliver(
    webhook: &Webhook,
    message: &Message,
    host: &str,
    limit: Duration,
) -> Result<(), Undelivered> {
    let (url, shown) = address(&webhook.url).map_err(Undelivered::later)?;
    let agent = agent(webhook, url.starts_with("https:"), limit).map_err(Undelivered::later)?;
    let body = match webhook.format {
        Format::Json => message.json(host),
        Format::Slack => slack(message, host),
    };
    let mut request = agent.post(&url).header(header::CONTENT_TYPE, "application/json");
    for (name, value) in &webhook.headers {
        request = request.header(name, value.reveal());
    }
    if let Some(path) = &webhook.token_file {
        let token = read_secret(path).and_then(|token| {
            let value = HeaderValue::from_str(&format!("Bearer {token}"));
            value.map_err(|_| told(path, "has characters that no header may have"))
        });
        request = request.header(header::AUTHORIZATION, token.map_err(Undelivered::later)?);
    }
    let mut response = request.send(body.as_str()).map_err(|error| failure(&shown, &error))?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let wait = response.headers().get(header::RETRY_AFTER).and_then(seconds);
    // What the server says may help, and need not be there.
    let said = response.body_mut().with_config().limit(MAX_ANSWER).read_to_string().unwrap_or_default();
    let said = said.trim();
    let said =
        if said.is_empty() { String::new() } else { format!(": {}", escape_cut(said.as_bytes(), SHOWN)) };
    Err(Undelivered { why: format!("{shown} answers {}{said}", status.as_u16()), again: again(status, wait) })
}

/// The whole address, and what may be shown of it.
fn address(url: &Url) -> Result<(String, String), String> {
    match url {
        Url::Plain { whole, shown } => Ok((whole.reveal().to_owned(), shown.clone())),
        Url::File(path) => match Url::plain(&read_secret(path)?) {
            Ok(Url::Plain { whole, shown }) => Ok((whole.reveal().to_owned(), shown)),
            Ok(Url::File(_)) => Err(told(path, "names another file")),
            Err(what) => Err(told(path, &what)),
        },
    }
}

/// Made anew each time: messages are rare, and between them it keeps no memory and no descriptors, and certificates may
/// change.
fn agent(webhook: &Webhook, is_https: bool, limit: Duration) -> Result<Agent, String> {
    let mut config = Agent::config_builder()
        .timeout_global(Some(limit))
        .http_status_as_error(false)
        // A secret goes to the address that was written, and to no other one.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("procwatch/", env!("CARGO_PKG_VERSION")));
    if is_https {
        let roots = RootCerts::Specific(Arc::new(match &webhook.ca_file {
            Some(path) => certificates_in(path)?,
            None => system_certificates()?,
        }));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(provider)
            .root_certs(roots);
        config = config.tls_config(tls.build());
    }
    Ok(config.build().new_agent())
}

/// The certificates of a PEM file; never none.
pub(super) fn certificates_in(path: &Path) -> Result<Vec<Certificate<'static>>, String> {
    let pem = fs::read(path).map_err(|error| told(path, &format!("cannot be read: {error}")))?;
    let certificates = parse_pem(&pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let certificates: Vec<_> = certificates.collect();
    if certificates.is_empty() {
        Err(told(path, "has no certificate in PEM form in it"))
    } else {
        Ok(certificates)
    }
}

fn system_certificates() -> Result<Vec<Certificate<'static>>, String> {
    let found = rustls_native_certs::load_native_certs().certs;
    let certificates: Vec<_> = found.iter().map(|it| Certificate::from_der(it.as_ref()).to_owned()).collect();
    if certificates.is_empty() {
        return Err(
            "this machine trusts no certificates; install ca-certificates, or name a ca-file".to_owned()
        );
    }
    Ok(certificates)
}

/// Errors that may quote the address are told by us.
fn failure(shown: &str, error: &Error) -> Undelivered {
    let why = match error {
        Error::Timeout(_) => "does not answer in time".to_owned(),
        Error::HostNotFound => "is not known to the name server".to_owned(),
        Error::Io(error) => error.to_string(),
        Error::BadUri(_) => "is no address".to_owned(),
        error => error.to_string(),
    };
    Undelivered::later(format!("{shown}: {}", escape_cut(why.as_bytes(), SHOWN)))
}

/// What a server refuses it refuses again, unless it is its own fault, or only too much or too early.
fn again(status: StatusCode, wait: Option<Duration>) -> Again {
    let is_passing = status.is_server_error()
        || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS]
            .contains(&status);
    match wait {
        _ if !is_passing => Again::Never,
        Some(wait) => Again::After(wait.min(MAX_WAIT)),
        None => Again::Later,
    }
}

fn seconds(value: &HeaderValue) -> Option<Duration> {
    value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// `{"text": …}`, in which nothing of foreign origin is taken for a mention or a link.
fn slack(message: &Message, host: &str) -> String {
    let text = message.lines(host).join("\n");
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars().take(MAX_TEXT) {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            c => escaped.push(c),
        }
    }
    json!({ "text": escaped }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outlets::message::tests::{digest, nasty};
    use serde_json::Value;

    #[test]
    fn slack_gets_text_without_mentions() {
        let json: Value = serde_json::from_str(&slack(&nasty(), "box")).unwrap();
        let text = json["text"].as_str().unwrap();
        assert!(
            text.starts_with("box alert: &lt;!here&gt;\\n&amp;\\xff(4242) of alice: WARNING 100 threads"),
            "{text}"
        );
        assert!(!text.contains('<') && json.as_object().unwrap().len() == 1);
        let json: Value = serde_json::from_str(&slack(&digest(), "box")).unwrap();
        assert_eq!(json["text"].as_str().unwrap().lines().count(), 4);
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        let wait = Some(Duration::from_secs(7));
        for (status, wait, expected) in [
            (500, None, Again::Later),
            (503, wait, Again::After(Duration::from_secs(7))),
            (429, wait, Again::After(Duration::from_secs(7))),
            (429, Some(Duration::from_secs(1 << 40)), Again::After(MAX_WAIT)),
            (408, None, Again::Later),
            (301, None, Again::Never),
            (404, wait, Again::Never),
            (410, None, Again::Never),
        ] {
            assert_eq!(again(StatusCode::from_u16(status).unwrap(), wait), expected, "{status}");
        }
        assert_eq!(seconds(&HeaderValue::from_static(" 12 ")), Some(Duration::from_secs(12)));
        assert_eq!(seconds(&HeaderValue::from_static("Fri, 31 Dec 1999 23:59:59 GMT")), None);
    }

    #[test]
    fn no_error_tells_the_path() {
        let secret = "http://127.0.0.1:1/services/T0/SECRET";
        let webhook = Webhook {
            url: Url::plain(secret).unwrap(),
            format: Format::Json,
            headers: Vec::new(),
            token_file: None,
            ca_file: None,
        };
        let error = deliver(&webhook, &nasty(), "box", Duration::from_secs(5)).unwrap_err();
        assert_eq!(error.again, Again::Later);
        assert!(error.why.starts_with("http://127.0.0.1:1: ") && !error.why.contains("SECRET"), "{error:?}");
    }
}
