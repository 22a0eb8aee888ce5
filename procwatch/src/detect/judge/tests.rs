use super::*;
use crate::{
    cgroup::SliceRef,
    config::{Ignore, Location, Owner},
    event::BootTime,
    samples::{comm, subject},
};

const SESSION: &str = "/user.slice/user-1000.slice/session-2.scope";

fn rule() -> PlaceRule {
    PlaceRule {
        owner: Owner::Uid(1003),
        slice: SliceRef::parse("user-1003.slice").unwrap(),
        from: vec![SliceRef::parse("user.slice").unwrap()],
        hold: std::time::Duration::ZERO,
        ignore: Ignore::default(),
        described: "place[1] uid=1003".to_owned(),
        location: Location::of_file("t.toml".as_ref()),
    }
}

fn forebear(pid: u32, uid: u32, name: &str) -> Forebear {
    Forebear { key: ProcessKey { pid, start: BootTime(u64::from(pid)) }, uid, comm: comm(name) }
}

/// What is decided about an ordinary process in that cgroup, after `change`.
fn judged(cgroup: &str, change: impl Fn(&mut PlaceRule, &mut Candidate<'_>)) -> (Reason, Option<String>) {
    let (subject, path) = (subject(500, 1003), CgroupPath::parse(cgroup).unwrap());
    let ancestors = [forebear(400, 0, "su"), forebear(300, 1000, "bash")];
    let mut rule = rule();
    let mut candidate = Candidate {
        subject: &subject,
        cgroup: Some(&path),
        delegated: None,
        is_kernel_thread: false,
        is_in_other_namespace: false,
        exe: None,
        ancestors: &ancestors,
    };
    change(&mut rule, &mut candidate);
    let Judgement { reason, evidence, .. } = judge(&rule, &candidate);
    (reason, evidence)
}

fn reason(cgroup: &str, change: impl Fn(&mut PlaceRule, &mut Candidate<'_>)) -> Reason {
    judged(cgroup, change).0
}

#[test]
fn the_place_decides_first() {
    for (cgroup, expected) in [
        (SESSION, Reason::OutsideSlice),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/vte-1.scope", Reason::OutsideSlice),
        ("/user.slice/user-1003.slice/session-3.scope", Reason::AlreadyInside),
        ("/user.slice/user-1003.slice", Reason::AlreadyInside),
        ("/system.slice/worker.service", Reason::SystemService),
        ("/init.scope", Reason::SystemService),
        ("/machine.slice/machine-x.scope", Reason::OtherNamespace),
        ("/elsewhere", Reason::NotInFrom),
        ("/", Reason::NotInFrom),
        ("/user.slicer", Reason::NotInFrom),
    ] {
        assert_eq!(reason(cgroup, |_, _| ()), expected, "{cgroup}");
    }
    assert_eq!(reason(SESSION, |_, candidate| candidate.cgroup = None), Reason::NotInFrom);
}

#[test]
fn who_takes_from_everywhere_takes_no_services_and_containers() {
    let everywhere =
        |rule: &mut PlaceRule, _: &mut Candidate<'_>| rule.from = vec![SliceRef::parse("/").unwrap()];
    for (cgroup, expected) in [
        ("/system.slice/worker.service", Reason::SystemService),
        ("/init.scope", Reason::SystemService),
        ("/machine.slice/machine-x.scope", Reason::OtherNamespace),
        ("/elsewhere", Reason::OutsideSlice),
    ] {
        assert_eq!(reason(cgroup, everywhere), expected, "{cgroup}");
    }
}

#[test]
fn who_it_is_comes_before_where_it_is() {
    let first = subject(1, 1003);
    let mut borrower = subject(500, 0);
    borrower.euid = 1003;
    assert_eq!(reason(SESSION, |_, it| it.is_kernel_thread = true), Reason::KernelThread);
    assert_eq!(reason(SESSION, |_, it| it.is_in_other_namespace = true), Reason::OtherNamespace);
    let of = |who: &Subject| {
        let path = CgroupPath::parse(SESSION).unwrap();
        let candidate = Candidate {
            subject: who,
            cgroup: Some(&path),
            delegated: None,
            is_kernel_thread: false,
            is_in_other_namespace: false,
            exe: None,
            ancestors: &[],
        };
        judge(&rule(), &candidate)
    };
    assert_eq!(of(&first).reason, Reason::Protected);
    assert_eq!(of(&subject(std::process::id(), 1003)).reason, Reason::Protected);
    let judged = of(&borrower);
    assert_eq!(
        (judged.reason, judged.evidence.unwrap().as_str()),
        (Reason::ForAMoment, "real uid 0, effective uid 1003")
    );
}

#[test]
fn a_delegated_subtree_is_another_managers() {
    let container = CgroupPath::parse("/user.slice/user-1000.slice/libpod-1.scope").unwrap();
    let found = judged("/user.slice/user-1000.slice/libpod-1.scope/x", |_, _| ());
    assert_eq!(found.0, Reason::OutsideSlice);
    let (subject, ancestors) = (subject(500, 1003), []);
    let inner = container.child("x");
    let candidate = Candidate {
        subject: &subject,
        cgroup: Some(&inner),
        delegated: Some(&container),
        is_kernel_thread: false,
        is_in_other_namespace: false,
        exe: None,
        ancestors: &ancestors,
    };
    let judged = judge(&rule(), &candidate);
    assert_eq!((judged.reason, judged.of_cgroup), (Reason::DelegatedSubtree, true));
    assert_eq!(judged.evidence.unwrap(), container.to_string());
}

#[test]
fn ignore_rules_do_what_they_say() {
    let patterns = |text: &str| vec![glob::Pattern::new(text).unwrap()];
    let found = judged(SESSION, |rule, _| rule.ignore.units = patterns("session-*.scope"));
    assert_eq!(found, (Reason::Ignored, Some("unit session-2.scope".to_owned())));
    let found = judged(SESSION, |rule, _| rule.ignore.comms = patterns("python?"));
    assert_eq!(found, (Reason::Ignored, Some("comm python3".to_owned())));
    assert_eq!(reason(SESSION, |rule, _| rule.ignore.comms = patterns("python")), Reason::OutsideSlice);
    let exe = Text::from("/opt/backup/run");
    let subject = subject(500, 1003);
    let path = CgroupPath::parse(SESSION).unwrap();
    let candidate = Candidate {
        subject: &subject,
        cgroup: Some(&path),
        delegated: None,
        is_kernel_thread: false,
        is_in_other_namespace: false,
        exe: Some(&exe),
        ancestors: &[],
    };
    let ignoring =
        |text| PlaceRule { ignore: Ignore { exes: patterns(text), ..Ignore::default() }, ..rule() };
    assert_eq!(judge(&ignoring("/opt/*"), &candidate).reason, Reason::Ignored);
    assert_eq!(judge(&ignoring("/opt"), &candidate).reason, Reason::OutsideSlice);
}

#[test]
fn a_managers_child_in_a_service_is_its_main_process() {
    let terminal = "/user.slice/user-1000.slice/user@1000.service/app.slice/gnome-terminal-server.service";
    assert_eq!(reason(terminal, |_, _| ()), Reason::OutsideSlice, "a shell's child");
    let (manager, first) = ([forebear(900, 1000, "systemd")], [forebear(1, 0, "init")]);
    let judged_below = |cgroup: &str, ancestors: &[Forebear]| {
        let (subject, path) = (subject(500, 1003), CgroupPath::parse(cgroup).unwrap());
        let candidate = Candidate {
            subject: &subject,
            cgroup: Some(&path),
            delegated: None,
            is_kernel_thread: false,
            is_in_other_namespace: false,
            exe: None,
            ancestors,
        };
        judge(&rule(), &candidate).reason
    };
    assert_eq!(judged_below(terminal, &manager), Reason::MainPid);
    assert_eq!(judged_below(terminal, &first), Reason::MainPid);
    assert_eq!(judged_below(SESSION, &first), Reason::OutsideSlice, "an orphan of a session is a stray");
    let leaf = "/user.slice/user-1004.slice/procwatch-user-1004.service/su-1-2";
    assert_eq!(judged_below(leaf, &first), Reason::OutsideSlice, "so is one of a session in another's leaf");
}

#[test]
fn a_session_begins_with_the_last_one_of_the_uid() {
    let subject = subject(500, 1003);
    let line = [
        forebear(450, 1003, "bash"),
        forebear(440, 1003, "bash"),
        forebear(400, 0, "su"),
        forebear(300, 1000, "bash"),
    ];
    assert_eq!(session_leader(&subject, &line).pid, 440);
    assert_eq!(lineage_to_su(&subject, &line).len(), 3);
    assert_eq!(session_leader(&subject, &line[2..]), subject.key());
    assert_eq!(lineage_to_su(&subject, &[]).len(), 0);
}
