//! What can be limited by a cgroup, and how a limit is written.

/// Microseconds in a second: what the service manager counts CPU time in.
const SECOND_US: u64 = 1_000_000;
/// The period of a limit of CPU time where the kernel is told one, µs.
const PERIOD_US: u64 = 100_000;

/// Something that a cgroup limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// CPU time; amounts are µs in each second.
    Cpu,
    /// Threads; amounts are their number.
    Pids,
}

impl Limit {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Cpu, Self::Pids];

    /// The cgroup controller.
    pub const fn controller(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        }
    }

    /// The file of a cgroup.
    pub const fn file(self) -> &'static str {
        match self {
            Self::Cpu => "cpu.max",
            Self::Pids => "pids.max",
        }
    }

    /// The property of a unit.
    pub const fn property(self) -> &'static str {
        match self {
            Self::Cpu => "CPUQuotaPerSecUSec",
            Self::Pids => "TasksMax",
        }
    }

    /// The file that the service manager keeps that property in, in a folder of the unit.
    pub const fn drop_in(self) -> &'static str {
        match self {
            Self::Cpu => "50-CPUQuota.conf",
            Self::Pids => "50-TasksMax.conf",
        }
    }

    /// The content of the file for an amount.
    pub fn text(self, amount: u64) -> String {
        match (self, amount) {
            (Self::Cpu, u64::MAX) => format!("max {PERIOD_US}"),
            (Self::Pids, u64::MAX) => "max".to_owned(),
            (Self::Cpu, amount) => format!("{} {PERIOD_US}", amount / (SECOND_US / PERIOD_US)),
            (Self::Pids, amount) => amount.to_string(),
        }
    }

    /// The amount that the content of the file, or the number of the property, stands for: [`u64::MAX`] for no limit;
    /// `None` for what is neither.
    pub fn amount(self, text: &str) -> Option<u64> {
        let mut words = text.split_ascii_whitespace();
        let amount = match words.next()? {
            "max" => u64::MAX,
            number => number.parse().ok()?,
        };
        match (self, words.next()) {
            (_, None) => Some(amount),
            (Self::Cpu, Some(_)) if amount == u64::MAX => Some(amount),
            (Self::Cpu, Some(period)) => {
                let period = period.parse::<u64>().ok().filter(|period| *period > 0)?;
                u64::try_from(u128::from(amount) * u128::from(SECOND_US) / u128::from(period)).ok()
            }
            (Self::Pids, Some(_)) => None,
        }
    }
}

/// The amount of CPU time of so many percent of one CPU.
pub const fn cpu_amount(percent: u32) -> u64 {
    percent as u64 * SECOND_US / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_the_kernel_wants_them() {
        assert_eq!(Limit::Cpu.text(cpu_amount(50)), "50000 100000");
        assert_eq!(Limit::Cpu.text(cpu_amount(250)), "250000 100000");
        assert_eq!(Limit::Cpu.text(cpu_amount(1)), "1000 100000");
        assert_eq!(Limit::Cpu.text(u64::MAX), "max 100000");
        assert_eq!((Limit::Pids.text(7).as_str(), Limit::Pids.text(u64::MAX).as_str()), ("7", "max"));
    }

    #[test]
    fn amounts_are_read_from_files_and_properties() {
        assert_eq!(Limit::Cpu.amount("50000 100000\n"), Some(500_000));
        assert_eq!(Limit::Cpu.amount("5000 10000"), Some(500_000));
        assert_eq!(Limit::Cpu.amount("500000"), Some(500_000));
        assert_eq!(Limit::Cpu.amount("max 100000\n"), Some(u64::MAX));
        assert_eq!(Limit::Cpu.amount(&u64::MAX.to_string()), Some(u64::MAX));
        assert_eq!([Limit::Pids.amount("12\n"), Limit::Pids.amount("max\n")], [Some(12), Some(u64::MAX)]);
        for odd in ["", "x", "1 0", "1 x", "-1"] {
            assert_eq!(Limit::Cpu.amount(odd), None, "{odd}");
        }
        assert_eq!(Limit::Pids.amount("1 2"), None);
    }
}
