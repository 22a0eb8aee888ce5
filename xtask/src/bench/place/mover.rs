//! Who moves the processes, if anyone does.

use std::fmt::Write as _;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The slice where aimgr's processes belong, below the root of the cgroup hierarchy.
pub(super) const SLICE: &str = "/user.slice/user-1003.slice";

/// The leaf in it that cgrulesengd needs to be there.
pub(super) const LEAF: &str = "/user.slice/user-1003.slice/cgrules";

/// What moves processes while the sessions run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mover {
    /// Nothing
    Nothing,
    /// procwatch, which holds a process at its exec until it is inside
    Hold,
    /// The same on a cgroup mount that favours moves
    HoldFavordynmods,
    /// procwatch with `hold = false`: moves and sweeps
    Sweep,
    /// procwatch on a kernel without BPF LSM, where it cannot hold
    NoLsm,
    /// The same on a cgroup mount that favours moves
    NoLsmFavordynmods,
    /// cgrulesengd of Debian's cgroup-tools
    Cgrulesengd,
}

impl Mover {
    /// Its name, for people and for the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Hold => "hold",
            Self::HoldFavordynmods => "hold-favordynmods",
            Self::Sweep => "sweep",
            Self::NoLsm => "no-lsm",
            Self::NoLsmFavordynmods => "no-lsm-favordynmods",
            Self::Cgrulesengd => "cgrulesengd",
        }
    }

    /// More words for the guest's kernel.
    pub(super) const fn kernel_options(self) -> &'static str {
        match self {
            Self::NoLsm | Self::NoLsmFavordynmods => "lsm=lockdown,capability,yama,apparmor",
            _ => "",
        }
    }

    /// The options that the cgroup hierarchy is mounted with: systemd's, and what makes moves cheap.
    pub(super) const fn mount_options(self) -> &'static str {
        match self {
            Self::HoldFavordynmods | Self::NoLsmFavordynmods => {
                "remount,nsdelegate,memory_recursiveprot,favordynmods"
            }
            _ => "remount,nsdelegate,memory_recursiveprot",
        }
    }

    /// The configuration of procwatch, if it is procwatch that moves.
    pub(super) fn procwatch(self) -> Option<String> {
        let hold = match self {
            Self::Nothing | Self::Cgrulesengd => return None,
            Self::Sweep => Some("false"),
            Self::Hold | Self::HoldFavordynmods | Self::NoLsm | Self::NoLsmFavordynmods => None,
        };
        let mut config = String::from(
            "mode = \"enforce\"\n[[place]]\nuser = \"aimgr\"\nslice = \"user-1003.slice\"\nfrom = [\"user.slice\"]\n",
        );
        if let Some(hold) = hold {
            let _ = writeln!(config, "hold = {hold}");
        }
        Some(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_command_line() {
        for mover in Mover::value_variants() {
            assert_eq!(mover.to_possible_value().unwrap().get_name(), mover.name());
            assert_eq!(serde_json::to_value(mover).unwrap(), mover.name());
        }
    }
}
