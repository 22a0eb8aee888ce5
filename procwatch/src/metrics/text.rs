//! The text formats: that of Prometheus (0.0.4) and `OpenMetrics` 1.0, which differ little in what is written here.

use std::fmt::{self, Write as _};

/// Which format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// `text/plain; version=0.0.4`
    Prometheus,
    /// `application/openmetrics-text; version=1.0.0`
    OpenMetrics,
}

impl Format {
    /// The one that a client's `Accept` asks for.
    pub(super) fn of_accept(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// As told in `Content-Type`.
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// It only rises; its name ends in `_total`.
    Counter,
    Gauge,
    Histogram,
}

impl Type {
    const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A label with its value.
pub(super) type Label<'a> = (&'static str, &'a str);

/// The text in the making.
#[derive(Debug)]
pub(super) struct Exposition {
    text: String,
    format: Format,
}

impl Exposition {
    pub(super) const fn new(format: Format) -> Self {
        Self { text: String::new(), format }
    }

    /// Begins a family. Its head is written with its first sample: without any there is nothing of it.
    pub(super) const fn family(&mut self, name: &'static str, kind: Type, help: &'static str) -> Family<'_> {
        Family { exposition: self, name, kind, help, is_begun: false }
    }

    /// A family of one gauge without labels.
    pub(super) fn gauge(&mut self, name: &'static str, help: &'static str, value: impl fmt::Display) {
        self.family(name, Type::Gauge, help).sample(&[], value);
    }

    /// A family of one counter without labels.
    pub(super) fn counter(&mut self, name: &'static str, help: &'static str, value: impl fmt::Display) {
        self.family(name, Type::Counter, help).sample(&[], value);
    }

    /// The whole text.
    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn add(&mut self, text: fmt::Arguments<'_>) {
        // A string takes everything.
        let _ = self.text.write_fmt(text);
    }
}

/// All samples of one name.
#[derive(Debug)]
pub(super) struct Family<'e> {
    exposition: &'e mut Exposition,
    name: &'static str,
    kind: Type,
    help: &'static str,
    is_begun: bool,
}

impl Family<'_> {
    /// One sample.
    pub(super) fn sample(&mut self, labels: &[Label<'_>], value: impl fmt::Display) {
        self.add("", labels, value);
    }

    /// One histogram.
    pub(super) fn histogram(&mut self, labels: &[Label<'_>], histogram: &Histogram) {
        let mut below = 0;
        for (bound, count) in histogram.bounds.iter().zip(&histogram.counts) {
            below += count;
            // With a point even for a whole number, as OpenMetrics has it.
            self.add("_bucket", &[labels, &[("le", &format!("{bound:?}"))]].concat(), below);
        }
        self.add("_bucket", &[labels, &[("le", "+Inf")]].concat(), histogram.count);
        self.add("_sum", labels, histogram.sum);
        self.add("_count", labels, histogram.count);
    }

    fn add(&mut self, suffix: &str, labels: &[Label<'_>], value: impl fmt::Display) {
        self.begin();
        let name = self.name;
        self.exposition.add(format_args!("{name}{suffix}"));
        for (index, (label, value)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            self.exposition.add(format_args!("{before}{label}=\"{}\"", Escaped(value)));
        }
        let after = if labels.is_empty() { "" } else { "}" };
        self.exposition.add(format_args!("{after} {value}\n"));
    }

    fn begin(&mut self) {
        if std::mem::replace(&mut self.is_begun, true) {
            return;
        }
        let Self { name, kind, help, .. } = *self;
        let name = match self.exposition.format {
            Format::OpenMetrics => name.strip_suffix("_total").unwrap_or(name),
            Format::Prometheus => name,
        };
        self.exposition.add(format_args!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.name()));
    }
}

/// A label's value as both formats want it.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A distribution of times.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    /// Upper bounds, s, rising.
    bounds: &'static [f64],
    /// How many are below each bound and not below the one before it.
    counts: Vec<u64>,
    /// Of all, s.
    sum: f64,
    count: u64,
}

impl Histogram {
    /// An empty one with these upper bounds, s, rising.
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len()], sum: 0.0, count: 0 }
    }

    /// Takes a time in, ns.
    pub(super) fn record(&mut self, ns: u64) {
        let seconds = ns as f64 / 1e9;
        let place = self.bounds.partition_point(|bound| *bound < seconds);
        if let Some(count) = self.counts.get_mut(place) {
            *count += 1;
        }
        self.sum += seconds;
        self.count += 1;
    }
}

/// Nanoseconds as seconds.
pub(super) const fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format) -> String {
        static BOUNDS: [f64; 3] = [0.001, 0.25, 1.0];
        let mut exposition = Exposition::new(format);
        exposition.gauge("a_bytes", "How much.", 7);
        let mut family = exposition.family("b_total", Type::Counter, "How many.");
        family.sample(&[("comm", "a\\x1b \"q\"\nü"), ("pid", "1")], 1_u64 << 60);
        family.sample(&[("comm", ""), ("pid", "2")], 0.5);
        let mut histogram = Histogram::new(&BOUNDS);
        for ns in [1, 1_000_000, 1_000_001, 250_000_000, 3_000_000_000] {
            histogram.record(ns);
        }
        exposition
            .family("c_seconds", Type::Histogram, "How long.")
            .histogram(&[("result", "in")], &histogram);
        // Without a sample there is nothing of it.
        exposition.family("d", Type::Gauge, "Nothing.");
        exposition.finish()
    }

    #[test]
    fn prometheus() {
        assert_eq!(
            written(Format::Prometheus),
            "# HELP a_bytes How much.\n\
             # TYPE a_bytes gauge\n\
             a_bytes 7\n\
             # HELP b_total How many.\n\
             # TYPE b_total counter\n\
             b_total{comm=\"a\\\\x1b \\\"q\\\"\\nü\",pid=\"1\"} 1152921504606846976\n\
             b_total{comm=\"\",pid=\"2\"} 0.5\n\
             # HELP c_seconds How long.\n\
             # TYPE c_seconds histogram\n\
             c_seconds_bucket{result=\"in\",le=\"0.001\"} 2\n\
             c_seconds_bucket{result=\"in\",le=\"0.25\"} 4\n\
             c_seconds_bucket{result=\"in\",le=\"1.0\"} 4\n\
             c_seconds_bucket{result=\"in\",le=\"+Inf\"} 5\n\
             c_seconds_sum{result=\"in\"} 3.252000002\n\
             c_seconds_count{result=\"in\"} 5\n"
        );
    }

    #[test]
    fn openmetrics_has_other_heads_of_counters_and_an_end() {
        let text = written(Format::OpenMetrics);
        assert!(text.contains("# HELP b How many.\n# TYPE b counter\nb_total{comm="), "{text}");
        assert!(
            text.contains("# TYPE a_bytes gauge\n") && text.ends_with("_count{result=\"in\"} 5\n# EOF\n")
        );
        assert_eq!(Format::of_accept("text/plain"), Format::Prometheus);
        let prometheus =
            "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Format::of_accept(prometheus), Format::OpenMetrics);
    }
}
