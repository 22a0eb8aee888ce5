//! Which cgroup a process is contained by. Pure.

use super::cell::{Cell, CellKind, Origin, cell_name};
use crate::{cgroup::CgroupPath, event::ProcessKey, record::RefusedFor};

/// Where a process lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// Its cgroup, and the id of that.
    pub home: Origin,
    /// The unit that it belongs to, where the system's manager tells one.
    pub unit: Option<Unit>,
    /// Whether systemd is pid 1.
    pub has_systemd: bool,
    /// Who else lives in the cgroup or below it.
    pub company: Company,
    /// Whether it lives in a pid namespace below ours.
    pub is_contained: bool,
}

/// A unit of the system's manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// Its cgroup.
    pub cgroup: CgroupPath,
    /// The slice that it is in.
    pub slice: String,
    /// The cgroup of that.
    pub slice_cgroup: CgroupPath,
    /// Its main process, if it is a service.
    pub main_pid: Option<u32>,
}

/// Who lives with a process in its cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Company {
    /// One that is not to be contained, and why.
    pub protected: Option<(u32, RefusedFor)>,
    /// One that does not stem from it.
    pub stranger: Option<u32>,
}

/// A way to contain it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The cgroup.
    pub cell: Cell,
    /// The slice for a scope.
    pub slice: Option<String>,
}

/// Ways to contain a process, the best first. A way is good when its cgroup can have the controller that is needed.
///
/// A process that has a cgroup to itself stays there, so that all that holds for it goes on to hold. The main process of a
/// service is never moved. Only then one is made.
///
/// # Errors
/// Why there is none, in words.
pub fn plans(key: ProcessKey, around: &Surroundings) -> Result<Vec<Plan>, String> {
    let is_alone = around.company == Company::default();
    let mut plans = Vec::new();
    match &around.unit {
        Some(unit) if unit.main_pid == Some(key.pid) => {
            if let Some((pid, why)) = around.company.protected {
                return Err(format!(
                    "it is the main process of {}, in which process {pid} is protected ({})",
                    unit.name,
                    why.name()
                ));
            }
            return Ok(vec![whole_unit(unit)]);
        }
        Some(unit) if unit.cgroup == around.home.cgroup && is_alone => plans.push(whole_unit(unit)),
        Some(unit) if is_keeper(unit, &around.home.cgroup) => {
            if is_alone {
                plans.push(own(&around.home.cgroup, true));
            }
            plans.push(leaf(key, &around.home, &unit.cgroup));
            return Ok(plans);
        }
        Some(unit) if around.home.cgroup.is_below(&unit.cgroup) && is_alone => {
            plans.push(own(&around.home.cgroup, false));
        }
        Some(_) => {}
        None if around.has_systemd => {
            if is_alone && around.home.cgroup != CgroupPath::root() {
                plans.push(own(&around.home.cgroup, false));
            }
        }
        None => {
            if is_alone && around.home.cgroup != CgroupPath::root() {
                plans.push(own(&around.home.cgroup, true));
            }
        }
    }
    plans.extend(moved(key, around));
    if plans.is_empty() { Err(nothing(around)) } else { Ok(plans) }
}

/// A cgroup of its own that it has to be moved to. What lives in a container stays in it.
fn moved(key: ProcessKey, around: &Surroundings) -> Option<Plan> {
    if around.is_contained {
        return None;
    }
    match &around.unit {
        Some(unit) if !unit.slice.is_empty() => Some(scope(key, &around.home, unit)),
        Some(_) => None,
        None if around.has_systemd => None,
        None => {
            let above = around.home.cgroup.parent().unwrap_or_else(CgroupPath::root);
            Some(leaf(key, &around.home, &above))
        }
    }
}

fn nothing(around: &Surroundings) -> String {
    let with = match (around.company.protected, around.company.stranger) {
        (Some((pid, why)), _) => {
            format!("it shares its cgroup with process {pid}, which is protected ({})", why.name())
        }
        (None, Some(pid)) => format!("it shares its cgroup with process {pid}"),
        (None, None) => "it has no cgroup to itself".to_owned(),
    };
    let why = if around.is_contained {
        "it cannot be moved out of its container"
    } else {
        "systemd tells no unit of it"
    };
    format!("{with}, and {why}")
}

fn own(cgroup: &CgroupPath, may_enable: bool) -> Plan {
    let cell = Cell {
        kind: CellKind::Own,
        cgroup: cgroup.clone(),
        unit: None,
        from: None,
        may_enable,
        enabled: Vec::new(),
    };
    Plan { cell, slice: None }
}

fn whole_unit(unit: &Unit) -> Plan {
    let cell = Cell {
        kind: CellKind::Unit,
        cgroup: unit.cgroup.clone(),
        unit: Some(unit.name.clone()),
        from: None,
        may_enable: false,
        enabled: Vec::new(),
    };
    Plan { cell, slice: None }
}

fn scope(key: ProcessKey, from: &Origin, unit: &Unit) -> Plan {
    let name = format!("{}.scope", cell_name(key));
    let cell = Cell {
        kind: CellKind::Scope,
        cgroup: unit.slice_cgroup.child(&name),
        unit: Some(name),
        from: Some(from.clone()),
        may_enable: false,
        enabled: Vec::new(),
    };
    Plan { cell, slice: Some(unit.slice.clone()) }
}

fn leaf(key: ProcessKey, from: &Origin, above: &CgroupPath) -> Plan {
    let cell = Cell {
        kind: CellKind::Leaf,
        cgroup: above.child(&cell_name(key)),
        unit: None,
        from: Some(from.clone()),
        may_enable: true,
        enabled: Vec::new(),
    };
    Plan { cell, slice: None }
}

/// Whether a process lives in a leaf of the unit by which we keep a slice, which is delegated to us.
fn is_keeper(unit: &Unit, home: &CgroupPath) -> bool {
    unit.name.starts_with("procwatch-") && unit.main_pid.is_some() && home.is_below(&unit.cgroup)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::BootTime;

    const KEY: ProcessKey = ProcessKey { pid: 4242, start: BootTime(7_000_000_000) };
    const DESK: &str = "/user.slice/user-1000.slice";

    fn path(text: &str) -> CgroupPath {
        CgroupPath::parse(text).unwrap()
    }

    fn unit(name: &str, slice: &str, main_pid: Option<u32>) -> Unit {
        let slice_cgroup = path(slice);
        Unit {
            name: name.to_owned(),
            cgroup: slice_cgroup.child(name),
            slice: slice_cgroup.name().unwrap_or("-.slice").to_owned(),
            slice_cgroup,
            main_pid,
        }
    }

    fn around(home: &str, unit: Option<Unit>) -> Surroundings {
        Surroundings {
            home: Origin { cgroup: path(home), id: 77 },
            has_systemd: unit.is_some(),
            unit,
            company: Company::default(),
            is_contained: false,
        }
    }

    const STRANGER: Company = Company { protected: None, stranger: Some(5) };
    const PROTECTED: Company = Company { protected: Some((5, RefusedFor::SessionLeader)), stranger: None };

    /// Kind and path of each way.
    fn ways(around: &Surroundings) -> Vec<(CellKind, String)> {
        let plans = plans(KEY, around).unwrap();
        plans.into_iter().map(|plan| (plan.cell.kind, plan.cell.cgroup.to_string())).collect()
    }

    #[test]
    fn the_main_process_of_a_service_is_contained_with_it() {
        let service = around("/system.slice/a.service", Some(unit("a.service", "/system.slice", Some(4242))));
        for company in [Company::default(), STRANGER] {
            let around = Surroundings { company, ..service.clone() };
            assert_eq!(ways(&around), [(CellKind::Unit, "/system.slice/a.service".to_owned())]);
        }
        let why = plans(KEY, &Surroundings { company: PROTECTED, ..service }).unwrap_err();
        assert!(why.contains("main process of a.service") && why.contains("session-leader"), "{why}");
    }

    #[test]
    fn another_process_of_a_service_gets_a_scope_in_the_same_slice() {
        let worker = Surroundings {
            company: STRANGER,
            ..around("/system.slice/a.service", Some(unit("a.service", "/system.slice", Some(5))))
        };
        let plans = plans(KEY, &worker).unwrap();
        let scope = &plans[0].cell;
        assert_eq!(scope.cgroup.to_string(), "/system.slice/procwatch-cell-4242-7.scope");
        assert_eq!(scope.unit.as_deref(), Some("procwatch-cell-4242-7.scope"));
        assert_eq!(
            (scope.from.as_ref(), plans[0].slice.as_deref()),
            (Some(&worker.home), Some("system.slice"))
        );
        assert_eq!((plans.len(), scope.fault()), (1, None));
    }

    #[test]
    fn a_process_in_a_session_leaves_the_others_alone() {
        let home = format!("{DESK}/session-2.scope");
        let session = around(&home, Some(unit("session-2.scope", DESK, None)));
        for company in [STRANGER, PROTECTED] {
            let around = Surroundings { company, ..session.clone() };
            assert_eq!(ways(&around), [(CellKind::Scope, format!("{DESK}/procwatch-cell-4242-7.scope"))]);
        }
        assert_eq!(ways(&session)[0], (CellKind::Unit, home));
    }

    #[test]
    fn an_application_below_a_users_manager_stays_where_it_is_if_it_can() {
        let home = format!("{DESK}/user@1000.service/app.slice/app-x.scope");
        let app = around(&home, Some(unit("user@1000.service", DESK, Some(9))));
        let scope = (CellKind::Scope, format!("{DESK}/procwatch-cell-4242-7.scope"));
        assert_eq!(ways(&app), [(CellKind::Own, home), scope.clone()]);
        assert!(!plans(KEY, &app).unwrap()[0].cell.may_enable, "that cgroup is the user's manager's");
        assert_eq!(ways(&Surroundings { company: STRANGER, ..app }), [scope]);
    }

    #[test]
    fn a_placed_process_stays_below_our_unit() {
        let keeper = "/user.slice/user-1003.slice/procwatch-user-1003.service";
        let home = format!("{keeper}/su-7-7");
        let unit = unit("procwatch-user-1003.service", "/user.slice/user-1003.slice", Some(3));
        let placed = around(&home, Some(unit));
        let leaf = (CellKind::Leaf, format!("{keeper}/procwatch-cell-4242-7"));
        assert_eq!(ways(&placed), [(CellKind::Own, home), leaf.clone()]);
        assert_eq!(ways(&Surroundings { company: STRANGER, ..placed }), [leaf]);
    }

    #[test]
    fn without_systemd_a_leaf_beside_its_cgroup() {
        let lone = around("/a/b", None);
        let leaf = |above: &str| (CellKind::Leaf, format!("{above}/procwatch-cell-4242-7"));
        assert_eq!(ways(&lone), [(CellKind::Own, "/a/b".to_owned()), leaf("/a")]);
        assert_eq!(ways(&Surroundings { company: STRANGER, ..lone }), [leaf("/a")]);
        assert_eq!(ways(&around("/", None)), [leaf("")], "nobody has the root to himself");
    }

    #[test]
    fn what_cannot_be_says_why() {
        let shared = Surroundings { company: STRANGER, has_systemd: true, ..around("/a", None) };
        let why = plans(KEY, &shared).unwrap_err();
        assert!(why.contains("with process 5") && why.contains("no unit"), "{why}");
        let unit = unit("docker-1.scope", "/system.slice", None);
        let container = Surroundings {
            company: STRANGER,
            is_contained: true,
            ..around("/system.slice/docker-1.scope", Some(unit))
        };
        assert!(plans(KEY, &container).unwrap_err().contains("container"));
    }
}
