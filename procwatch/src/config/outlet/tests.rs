use std::path::Path;

use super::*;
use crate::config::{Accounts, Layer, Problem};

struct Known;

impl Accounts for Known {
    fn uid(&self, user: &str) -> Result<Option<u32>, String> {
        Ok(match user {
            "aimgr" => Some(1003),
            "pager" => Some(900),
            _ => None,
        })
    }

    fn gid(&self, _group: &str) -> Result<Option<u32>, String> {
        Ok(None)
    }
}

fn parse(text: &str) -> Result<Vec<OutletRule>, Vec<String>> {
    let shown = |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect();
    Layer::parse(Path::new("t.toml"), text, &Known).map(|layer| layer.outlets).map_err(shown)
}

/// The outlet of these lines, which begin with the third.
fn outlet(lines: &str) -> Result<OutletConfig, Vec<String>> {
    let mut rules = parse(&format!("[[outlet]]\nname = 'ops'\n{lines}\n"))?;
    assert_eq!((rules.len(), &*rules[0].described), (1, "outlet[1] ops"));
    Ok(rules.remove(0).outlet)
}

#[test]
fn what_is_not_said_has_a_default() {
    let outlet = outlet("kind = 'wall'").unwrap();
    assert_eq!(
        outlet,
        OutletConfig {
            name: "ops".to_owned(),
            kind: OutletKind::Wall,
            wants: Wants {
                kinds: vec!["alert", "action", "loss", "health"],
                severity: Severity::Warning,
                uids: Vec::new()
            },
            at_most: Rate { count: 10, within: Duration::from_mins(1) },
            retries: 10,
            timeout: Duration::from_secs(10),
        }
    );
}

#[test]
fn all_that_can_be_said_of_a_webhook() {
    let outlet = outlet(
        "kind = 'webhook'\nurl = 'https://hooks.example.org:8443/secret?a=b'\nformat = 'slack'\n\
         headers = { X-Team = 'ops' }\ntoken-file = '/etc/t'\nca-file = '/etc/c'\non = 'cleared'\n\
         severity = 'emergency'\nuser = ['aimgr', 'pager']\nuid = 7\nat-most = '3/2h'\nretries = 0\ntimeout = '2s'",
    )
    .unwrap();
    let OutletKind::Webhook(webhook) = &outlet.kind else { panic!("{outlet:?}") };
    let Url::Plain { whole, shown } = &webhook.url else { panic!("{outlet:?}") };
    assert_eq!(
        (whole.reveal(), shown.as_str()),
        ("https://hooks.example.org:8443/secret?a=b", "https://hooks.example.org:8443")
    );
    assert_eq!((webhook.format, webhook.token_file.as_deref()), (Format::Slack, Some(Path::new("/etc/t"))));
    assert_eq!(webhook.headers, [("X-Team".to_owned(), Hidden::new("ops".to_owned()))]);
    assert_eq!((&outlet.wants.kinds[..], &outlet.wants.uids[..]), (&["cleared"][..], &[1003, 900, 7][..]));
    assert_eq!(outlet.at_most, Rate { count: 3, within: Duration::from_hours(2) });
    assert_eq!((outlet.retries, outlet.timeout), (0, Duration::from_secs(2)));
    let debug = format!("{outlet:?}");
    assert!(
        !debug.contains("secret") && !debug.contains("\"ops\"), (") && debug.contains("(hidden)"),
        "{debug}"
    );
}

#[test]
fn mail_and_command() {
    let mail = outlet("kind = 'mail'\nto = ['a@b.org', 'root']\nfrom = 'p@b.org'").unwrap().kind;
    assert_eq!(
        mail,
        OutletKind::Mail(Mail {
            to: vec!["a@b.org".to_owned(), "root".to_owned()],
            from: Some("p@b.org".to_owned()),
            sendmail: "/usr/sbin/sendmail".into(),
            run_as: "root".to_owned(),
        })
    );
    let command = outlet("kind = 'command'\ncommand = ['/bin/x', '-a b', '']").unwrap().kind;
    assert_eq!(
        command,
        OutletKind::Command(CommandLine {
            program: "/bin/x".into(),
            arguments: vec!["-a b".to_owned(), String::new()],
            run_as: "nobody".to_owned(),
        })
    );
    let command = outlet("kind = 'command'\ncommand = ['/bin/x']\nrun-as = 'pager'").unwrap().kind;
    assert!(matches!(command, OutletKind::Command(CommandLine { run_as, .. }) if run_as == "pager"));
}

#[test]
fn what_is_wrong_with_any_outlet() {
    for (lines, message) in [
        ("", "t.toml:1: outlet[1].kind: missing; right is e.g. kind = \"webhook\", or mail, command, wall"),
        (
            "kind = 'webhok'\nurl = 'https://x/'",
            "t.toml:3: outlet[1].kind: unknown kind of outlet \"webhok\"; did you mean \"webhook\"? (known: webhook, mail, command, wall)",
        ),
        (
            "kind = 'wall'\non = ['alert', 'fork']",
            "t.toml:4: outlet[1].on[2]: unknown kind of record \"fork\" (known: alert, cleared, refused, decision, outcome, hold, action, diagnosis, placement, loss, health)",
        ),
        (
            "kind = 'wall'\non = []",
            "t.toml:4: outlet[1].on: has 0 entries; 1 to 11 are possible, e.g. [\"alert\", \"action\"]",
        ),
        (
            "kind = 'wall'\nseverity = 'error'",
            "t.toml:4: outlet[1].severity: unknown severity \"error\" (known: notice, warning, critical, emergency)",
        ),
        (
            "kind = 'wall'\nuser = 'nosuch'",
            "t.toml:4: outlet[1].user: unknown user \"nosuch\"; create it or give uid = N",
        ),
        (
            "kind = 'wall'\nat-most = '10 a minute'",
            "t.toml:4: outlet[1].at-most: \"10 a minute\" is no rate of 1 to 1000 messages in 1s to 1d; right is e.g. \"10/1m\"",
        ),
        (
            "kind = 'wall'\nat-most = '0/1m'",
            "t.toml:4: outlet[1].at-most: \"0/1m\" is no rate of 1 to 1000 messages in 1s to 1d; right is e.g. \"10/1m\"",
        ),
        (
            "kind = 'wall'\nat-most = '+1/500ms'",
            "t.toml:4: outlet[1].at-most: \"+1/500ms\" is no rate of 1 to 1000 messages in 1s to 1d; right is e.g. \"10/1m\"",
        ),
        (
            "kind = 'wall'\nretries = 101",
            "t.toml:4: outlet[1].retries: 101 is out of range; right is 0 to 100",
        ),
        (
            "kind = 'wall'\ntimeout = '10ms'",
            "t.toml:4: outlet[1].timeout: \"10ms\" is no time from 1s to 5m; right is e.g. \"10s\"",
        ),
        (
            "kind = 'wall'\nto = 'a@b'",
            "t.toml:4: outlet[1].to: is nothing that a wall has; it belongs to mail",
        ),
        (
            "kind = 'webhook'\nurl = 'https://x/'\nrun-as = 'pager'",
            "t.toml:5: outlet[1].run-as: is nothing that a webhook has; it belongs to mail and command",
        ),
    ] {
        assert_eq!(outlet(lines).unwrap_err(), [message], "{lines}");
    }
    let known = "name, kind, on, severity, user, uid, at-most, retries, timeout, url, url-file, format, headers, \
        token-file, ca-file, to, from, sendmail, command, run-as";
    assert_eq!(
        outlet("kind = 'wall'\nretires = 3").unwrap_err(),
        [format!("t.toml:4: outlet[1].retires: unknown key; did you mean \"retries\"? (known: {known})")]
    );
}

#[test]
fn what_is_wrong_with_a_webhook() {
    let right = "right is e.g. \"https://hooks.example.org/procwatch\"";
    for (lines, message) in [
        ("", format!("1: outlet[1].url: missing; {}", right.replace("e.g. ", "e.g. url = "))),
        ("url = 'hooks.example.org'", format!("4: outlet[1].url: is no whole address; {right}")),
        ("url = '/secret'", format!("4: outlet[1].url: is no whole address; {right}")),
        (
            "url = 'ftp://x/secret'",
            format!("4: outlet[1].url: is of ftp, and https or http is possible; {right}"),
        ),
        ("url = 'https://a b/'", format!("4: outlet[1].url: is no address (invalid uri character); {right}")),
        (
            "url = 'https://me:pass@x/'",
            "4: outlet[1].url: has a user or password in it; write it to a file for token-file".to_owned(),
        ),
        (
            "url = 'https://x/'\nurl-file = '/x'",
            "5: outlet[1].url-file: is given besides url; give one of them".to_owned(),
        ),
        (
            "url-file = 'x'",
            "4: outlet[1].url-file: \"x\" is no absolute path; right is e.g. \"/etc/procwatch/ops.url\""
                .to_owned(),
        ),
        (
            "url = 'https://x/'\nformat = 'xml'",
            "5: outlet[1].format: unknown format \"xml\" (known: json, slack)".to_owned(),
        ),
        (
            "url = 'https://x/'\nheaders = { 'a b' = 'x' }",
            "5: outlet[1].headers.a b: is no name of a header".to_owned(),
        ),
        (
            "url = 'https://x/'\nheaders = { Authorization = 'x' }",
            "5: outlet[1].headers.Authorization: is set by procwatch; a token goes into token-file"
                .to_owned(),
        ),
        (
            "url = 'https://x/'\nheaders = { X-A = \"a\\nHost: b\" }",
            "5: outlet[1].headers.X-A: has characters that no header may have; right are printable ones"
                .to_owned(),
        ),
        (
            "url = 'https://x/'\nheaders = 'X-A: b'",
            "5: outlet[1].headers: is a text; right is a table, e.g. headers = { X-Team = \"ops\" }"
                .to_owned(),
        ),
        (
            "url = 'https://x/'\ntoken-file = 'x'",
            "5: outlet[1].token-file: \"x\" is no absolute path; right is e.g. \"/etc/procwatch/ops.token\""
                .to_owned(),
        ),
    ] {
        let found = outlet(&format!("kind = 'webhook'\n{lines}")).unwrap_err();
        assert_eq!(found, [format!("t.toml:{message}")], "{lines}");
    }
}

#[test]
fn what_is_wrong_with_mail_and_commands() {
    let right = "is no plain mail address; right is e.g. \"ops@example.org\"";
    for (lines, message) in [
        ("kind = 'mail'", "1: outlet[1].to: missing; right is e.g. to = \"ops@example.org\"".to_owned()),
        ("kind = 'mail'\nto = \"a@b\\nBcc: c@d\"", format!("4: outlet[1].to: \"a@b\\nBcc: c@d\" {right}")),
        ("kind = 'mail'\nto = '-oQ/tmp'", format!("4: outlet[1].to: \"-oQ/tmp\" {right}")),
        ("kind = 'mail'\nto = ['a', 'b, c']", format!("4: outlet[1].to[2]: \"b, c\" {right}")),
        ("kind = 'mail'\nto = 'a@'", format!("4: outlet[1].to: \"a@\" {right}")),
        ("kind = 'mail'\nto = 'a@b@c'", format!("4: outlet[1].to: \"a@b@c\" {right}")),
        ("kind = 'mail'\nto = 'a'\nfrom = ''", format!("5: outlet[1].from: \"\" {right}")),
        (
            "kind = 'command'",
            "1: outlet[1].command: missing; right is e.g. command = [\"/usr/local/bin/page\", \"--urgent\"]"
                .to_owned(),
        ),
        (
            "kind = 'command'\ncommand = 'page --urgent'",
            "4: outlet[1].command: is a text; right is a list, e.g. [\"/usr/local/bin/page\", \"--urgent\"]"
                .to_owned(),
        ),
        (
            "kind = 'command'\ncommand = ['page']",
            "4: outlet[1].command[1]: \"page\" is no absolute path; right is e.g. \"/usr/local/bin/page\""
                .to_owned(),
        ),
        (
            "kind = 'command'\ncommand = ['/bin/x', \"a\\u0000b\"]",
            "4: outlet[1].command[2]: has a zero in it, which no argument may have; leave it out".to_owned(),
        ),
        (
            "kind = 'command'\ncommand = ['/bin/x']\nrun-as = 'nosuch'",
            "5: outlet[1].run-as: unknown user \"nosuch\"; create it or give uid = N".to_owned(),
        ),
    ] {
        assert_eq!(outlet(lines).unwrap_err(), [format!("t.toml:{message}")], "{lines}");
    }
}

#[test]
fn names_are_plain_and_each_is_there_once() {
    for name in ["", "Ops", "a b", "-a", "x\u{301}"] {
        let problems = parse(&format!("[[outlet]]\nkind = 'wall'\nname = '{name}'\n")).unwrap_err();
        let end = "is no name; right is e.g. \"ops\": 1 to 32 of a-z, 0-9, - and _, not - first";
        assert!(problems[0].starts_with("t.toml:3: outlet[1].name: \"") && problems[0].ends_with(end));
    }
    let rules =
        parse("[[outlet]]\nkind = 'wall'\nname = 'a'\n[[outlet]]\nkind = 'wall'\nname = 'a'\n").unwrap();
    assert_eq!(
        contradiction(&rules[1], &rules[..1]).unwrap().to_string(),
        "t.toml:4: outlet[2].name: a second outlet \"a\"; the first is at t.toml:1, name them apart"
    );
    let many = |number| OutletConfig { name: format!("n{number}"), ..rules[0].outlet.clone() };
    let many: Vec<_> = (0..16).map(|it| OutletRule { outlet: many(it), ..rules[0].clone() }).collect();
    assert_eq!(
        contradiction(&rules[1], &many).unwrap().to_string(),
        "t.toml:4: outlet[2]: is one more than the 16 outlets that are possible; leave some out"
    );
    assert_eq!(contradiction(&rules[1], &many[..15]), None);
}
