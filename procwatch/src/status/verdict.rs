//! How the agent is, in one word and with the reasons.

use super::{Health, KernelCounts, OutputStatus};

/// How long a fault of the past counts, ns: ten minutes.
pub const REMEMBERED_NS: u64 = 600_000_000_000;

/// What a verdict is made from.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Why the kernel side cannot be asked.
    pub kernel_error: Option<String>,
    /// The last loss that was told of urgent records: how long ago, ns, and how many there were altogether.
    pub urgent_loss: Option<(u64, u64)>,
    /// The same of the stream.
    pub stream_loss: Option<(u64, u64)>,
    /// What the kernel programs could not do.
    pub kernel: KernelCounts,
    /// When the count of full state maps was last seen to have risen: how long ago, ns.
    pub state_full_ns: Option<u64>,
    /// Functions that the configuration wants and this kernel cannot give.
    pub missing: Vec<String>,
    /// Why the last reload was refused.
    pub refused: Option<String>,
    /// Where records go.
    pub outputs: Vec<OutputStatus>,
}

/// The verdict, and a line for each thing that is not as it should be.
pub fn judge(findings: &Findings) -> (Health, Vec<String>) {
    if let Some(error) = &findings.kernel_error {
        return (Health::Failed, vec![format!("the kernel programs cannot be asked: {error}")]);
    }
    let mut reasons = Vec::new();
    for (ring, loss) in [("urgent", findings.urgent_loss), ("stream", findings.stream_loss)] {
        if let Some((ago, lost)) = loss.filter(|(ago, _)| *ago < REMEMBERED_NS) {
            reasons.push(format!("{lost} {ring} records lost, the last ones {}", shown(ago)));
        }
    }
    if let Some(ago) = findings.state_full_ns.filter(|ago| *ago < REMEMBERED_NS) {
        let count = findings.kernel.state_full;
        reasons
            .push(format!("a state map of the kernel programs was full {count} times, seen {}", shown(ago)));
    }
    reasons.extend(findings.missing.iter().map(|what| format!("not on this kernel: {what}")));
    reasons.extend(findings.refused.iter().map(|why| format!("the last reload was refused: {why}")));
    for output in &findings.outputs {
        reasons.extend(output.error.iter().map(|error| format!("{}: {error}", output.name)));
    }
    (if reasons.is_empty() { Health::Ok } else { Health::Degraded }, reasons)
}

fn shown(ago_ns: u64) -> String {
    match ago_ns / 60_000_000_000 {
        0 => "within the last minute".to_owned(),
        1 => "a minute ago".to_owned(),
        minutes => format!("{minutes} minutes ago"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000_000_000;

    fn reasons(findings: &Findings) -> Vec<String> {
        let (health, reasons) = judge(findings);
        assert_eq!(health, if reasons.is_empty() { Health::Ok } else { Health::Degraded });
        reasons
    }

    #[test]
    fn without_findings_all_is_well() {
        assert_eq!(judge(&Findings::default()), (Health::Ok, Vec::new()));
    }

    #[test]
    fn each_fault_is_a_reason() {
        let lost = |ago| Some((ago, 7));
        assert_eq!(
            reasons(&Findings { urgent_loss: lost(MINUTE / 2), ..Findings::default() }),
            ["7 urgent records lost, the last ones within the last minute"]
        );
        assert_eq!(
            reasons(&Findings { stream_loss: lost(MINUTE * 3), ..Findings::default() }),
            ["7 stream records lost, the last ones 3 minutes ago"]
        );
        let kernel = KernelCounts { state_full: 4, ..KernelCounts::default() };
        assert_eq!(
            reasons(&Findings { kernel, state_full_ns: Some(MINUTE), ..Findings::default() }),
            ["a state map of the kernel programs was full 4 times, seen a minute ago"]
        );
        let mail = OutputStatus {
            name: "mail".to_owned(),
            failed: 3,
            error: Some("exit code 75".to_owned()),
            ..OutputStatus::default()
        };
        let recovered = OutputStatus { error: None, ..mail.clone() };
        assert_eq!(
            reasons(&Findings {
                missing: vec!["holding execs".to_owned()],
                refused: Some("a.toml:3: mode: unknown".to_owned()),
                outputs: vec![mail, recovered],
                ..Findings::default()
            }),
            [
                "not on this kernel: holding execs",
                "the last reload was refused: a.toml:3: mode: unknown",
                "mail: exit code 75"
            ]
        );
    }

    #[test]
    fn what_is_long_past_is_forgiven() {
        let kernel = KernelCounts { state_full: 4, argv_unread: 9, names_unread: 9 };
        let long = REMEMBERED_NS;
        let findings = Findings {
            urgent_loss: Some((long, 7)),
            stream_loss: Some((long, 7)),
            state_full_ns: Some(long),
            kernel,
            ..Findings::default()
        };
        assert!(reasons(&findings).is_empty());
    }

    #[test]
    fn a_kernel_side_that_is_gone_is_a_failure_whatever_else_is() {
        let findings = Findings {
            kernel_error: Some("map STATS: EBADF".to_owned()),
            refused: Some("x".to_owned()),
            ..Findings::default()
        };
        let (health, reasons) = judge(&findings);
        assert_eq!(health, Health::Failed);
        assert_eq!(reasons, ["the kernel programs cannot be asked: map STATS: EBADF"]);
    }
}
