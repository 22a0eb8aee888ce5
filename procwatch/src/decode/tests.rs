use bytemuck::{Zeroable, bytes_of};
use proptest::prelude::*;

use super::*;

fn header(kind: Kind) -> Header {
    let mut comm = [0; wire::COMM_LEN];
    // What stands behind the first zero is left over from another name.
    comm[..11].copy_from_slice(b"bash\0python");
    Header {
        time_ns: 5_000,
        seq: 7,
        start_ns: 1_000,
        cgroup_id: 42,
        kind: kind as u32,
        cpu: 1,
        tgid: 100,
        tid: 101,
        ppid: 50,
        uid: 1000,
        euid: 0,
        threads: 3,
        comm,
    }
}

fn buffer<const N: usize>(text: &[u8]) -> [u8; N] {
    let mut buffer = [0xee; N];
    buffer[..text.len()].copy_from_slice(text);
    buffer
}

fn exec_record(argv: &[u8], total: u32) -> wire::Exec {
    wire::Exec {
        header: header(Kind::Exec),
        old_tid: 101,
        argv_len: argv.len() as u32,
        argv_total: total,
        argv_unread: 0,
        filename: buffer(b"/bin/ls\0"),
        argv: buffer(argv),
    }
}

/// As the kernel program sends it: cut after the argv.
fn exec_bytes(record: &wire::Exec) -> Vec<u8> {
    bytes_of(record)[..EXEC_FIXED + record.argv_len as usize].to_vec()
}

fn level_record(kind: Kind, argv: &[u8], total: u32) -> wire::Level {
    wire::Level {
        header: header(kind),
        since_ns: 0,
        level: 100,
        way: 1,
        rule: 2,
        from: 0,
        creator_tid: 9,
        pad: 0,
        argv_len: argv.len() as u32,
        argv_total: total,
        argv: buffer(argv),
    }
}

fn stray_record(trigger: u32) -> wire::Stray {
    let mut record = wire::Stray::zeroed();
    record.header = header(Kind::Stray);
    (record.rule, record.trigger) = (2, trigger);
    (record.loginuid, record.sessionid) = (1000, u32::MAX);
    record.tty[..5].copy_from_slice(b"pts/3");
    record.file[..8].copy_from_slice(b"/bin/id\0");
    for (place, tgid) in [(0, 40), (1, 1), (2, 77)] {
        (record.ancestors[place].tgid, record.ancestors[place].start_ns) = (tgid, u64::from(tgid) * 10);
    }
    record
}

fn held_record(end: u32) -> wire::Held {
    let mut record = wire::Held::zeroed();
    record.header = header(Kind::Held);
    (record.held_ns, record.rule, record.end) = (7, 1, end);
    record
}

/// One well-formed record of each kind.
fn valid(kind: Kind) -> Vec<u8> {
    match kind {
        Kind::Fork | Kind::Thread => {
            let mut record = wire::Created::zeroed();
            record.header = header(kind);
            bytes_of(&record).to_vec()
        }
        Kind::Exec | Kind::Program => {
            exec_bytes(&wire::Exec { header: header(kind), ..exec_record(b"ls\0-l\0", 6) })
        }
        Kind::Exit | Kind::ThreadExit => bytes_of(&exit_record(kind, 0)).to_vec(),
        Kind::Uid => {
            let mut record = wire::UidChange::zeroed();
            record.header = header(kind);
            record.trigger = Trigger::Exec as u32;
            bytes_of(&record).to_vec()
        }
        Kind::Cgroup | Kind::Moved => {
            let mut record = wire::Attach::zeroed();
            record.header = header(kind);
            record.path = buffer(b"/user.slice\0");
            bytes_of(&record).to_vec()
        }
        Kind::LevelCrossed | Kind::LevelCleared => bytes_of(&level_record(kind, b"ls\0", 3)).to_vec(),
        Kind::Stray => bytes_of(&stray_record(Trigger::Exec as u32)).to_vec(),
        Kind::Refused => {
            let record = wire::Refused { header: header(kind), refused: 7, cap: 150, enforced: 1 };
            bytes_of(&record).to_vec()
        }
        Kind::Held => bytes_of(&held_record(HoldEnd::Inside as u32)).to_vec(),
    }
}

fn exit_record(kind: Kind, status: u32) -> wire::Exit {
    wire::Exit {
        header: header(kind),
        thread_start_ns: 4_000,
        status,
        process_ends: u32::from(kind == Kind::Exit),
    }
}

fn texts(args: &[&str]) -> Vec<Text> {
    args.iter().copied().map(Text::from).collect()
}

fn exec_of(bytes: &[u8]) -> Exec {
    match decode(bytes).unwrap().body {
        Body::Exec(exec) => exec,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_kind_is_itself() {
    for kind in Kind::ALL {
        let event = decode(&valid(kind)).unwrap();
        assert_eq!(event.body.kind(), kind);
        assert_eq!((event.time, event.cpu, event.seq), (BootTime(5_000), 1, 7));
        assert_eq!(event.subject, subject(&header(kind)));
        assert_eq!(event.subject.comm.as_bytes(), b"bash");
    }
}

#[test]
fn creator_is_told() {
    let record = wire::Created {
        header: header(Kind::Fork),
        clone_flags: 0x1200_0011,
        creator_tgid: 50,
        creator_tid: 51,
    };
    let expected = Creator { pid: 50, tid: 51, clone_flags: 0x1200_0011 };
    assert_eq!(decode(bytes_of(&record)).unwrap().body, Body::Fork(expected));
}

#[test]
fn status_is_that_of_waitpid() {
    let signal = |number, core| ExitStatus::Signal { number: NonZeroU32::new(number).unwrap(), core };
    for (status, expected) in [
        (0, ExitStatus::Code(0)),
        (0x100, ExitStatus::Code(1)),
        (0xff00, ExitStatus::Code(255)),
        (9, signal(9, false)),
        (0x8b, signal(11, true)),
        (64, signal(64, false)),
    ] {
        assert_eq!(exit_status(status), expected, "{status:#x}");
    }
}

#[test]
fn a_process_lives_longer_than_its_last_thread() {
    for (kind, lived_ns, process_ends) in [(Kind::Exit, 4_000, true), (Kind::ThreadExit, 1_000, false)] {
        let exit = Exit { status: ExitStatus::Code(0), lived_ns, process_ends };
        let expected = if kind == Kind::Exit { Body::Exit(exit) } else { Body::ThreadExit(exit) };
        assert_eq!(decode(&valid(kind)).unwrap().body, expected);
    }
}

#[test]
fn argv_is_split_at_zeros() {
    for (captured, total, args, cut_bytes) in [
        (&b"ls\0-l\0"[..], 6, &["ls", "-l"][..], 0),
        (b"sh\0\0x\0", 6, &["sh", "", "x"], 0),
        (b"sh\0", 9, &["sh"], 6),
        (b"sh\0-c\0sle", 20, &["sh", "-c", "sle"], 11),
        (b"rewritten title", 15, &["rewritten title"], 0),
        (b"", 0, &[], 0),
        // The total lost its upper bits on the wire.
        (b"ls\0", 1, &["ls"], 0),
    ] {
        let exec = exec_of(&exec_bytes(&exec_record(captured, total)));
        assert_eq!(exec.argv, Some(Argv { args: texts(args), cut_bytes }));
        assert_eq!(exec.file, Text::from("/bin/ls"));
    }
}

fn level_change() -> LevelChange {
    LevelChange { way: Way::Level(1), level: 100, rule: 2, growth: None, creator_tid: 9, argv: None }
}

#[test]
fn each_bound_has_its_meaning() {
    let change = |way, from| {
        let record = wire::Level { way, from, since_ns: 7, ..level_record(Kind::LevelCrossed, b"", 20) };
        match decode(bytes_of(&record))?.body {
            Body::LevelCrossed(change) => Ok((change.way, change.growth)),
            other => panic!("{other:?}"),
        }
    };
    let growth = Some(Grown { from: 31, since: BootTime(7) });
    assert_eq!(change(3, 0), Ok((Way::Level(3), None)));
    assert_eq!(change(4, 31), Ok((Way::Burst, growth)));
    assert_eq!(change(5, 31), Ok((Way::Leak, growth)));
    assert_eq!(change(6, 1), Ok((Way::Stop { stopped: true }, None)));
    assert_eq!(change(6, 0), Ok((Way::Stop { stopped: false }, None)));
    assert_eq!(change(7, 0), Err(DecodeError::UnknownWay { number: 7 }));
}

#[test]
fn argv_that_was_not_read_is_none() {
    let mut unread = exec_record(b"", 20);
    assert_eq!(exec_of(&exec_bytes(&unread)).argv, None);
    unread.argv_unread = 1;
    unread.argv_total = 0;
    assert_eq!(exec_of(&exec_bytes(&unread)).argv, None);
    let level = level_record(Kind::LevelCrossed, b"", 20);
    let expected = LevelChange { argv: None, ..level_change() };
    assert_eq!(decode(bytes_of(&level)).unwrap().body, Body::LevelCrossed(expected));
}

#[test]
fn padding_of_a_set_title_is_no_arguments() {
    let level = level_record(Kind::LevelCleared, b"nginx: worker\0\0\0\0", 17);
    let argv = Some(Argv { args: texts(&["nginx: worker"]), cut_bytes: 0 });
    let expected = LevelChange { argv, ..level_change() };
    assert_eq!(decode(bytes_of(&level)).unwrap().body, Body::LevelCleared(expected));
}

#[test]
fn file_without_a_zero_is_the_whole_buffer() {
    let mut record = exec_record(b"", 0);
    record.filename = [b'x'; wire::PATH_MAX];
    assert_eq!(exec_of(&exec_bytes(&record)).file.as_bytes(), [b'x'; wire::PATH_MAX]);
}

#[test]
fn unset_audit_ids_are_none() {
    let forebear = |pid, start| Forebear {
        key: ProcessKey { pid, start: BootTime(start) },
        uid: 0,
        comm: Comm::default(),
    };
    let expected = Stray {
        rule: 2,
        trigger: Trigger::Uid,
        file: Some("/bin/id".into()),
        provenance: Provenance {
            loginuid: Some(1000),
            sessionid: None,
            tty: Some("pts/3".into()),
            // What stands behind the first process was never set.
            ancestors: vec![forebear(40, 400), forebear(1, 10)],
        },
    };
    let record = stray_record(Trigger::Uid as u32);
    assert_eq!(decode(bytes_of(&record)).unwrap().body, Body::Stray(expected));
}

#[test]
fn malformed_records_are_named() {
    assert_eq!(decode(&[0; 79]), Err(DecodeError::NoHeader { len: 79 }));
    assert_eq!(decode(&[0; 96]), Err(DecodeError::UnknownKind { number: 0, len: 96 }));
    assert_eq!(
        decode(bytes_of(&stray_record(6))),
        Err(DecodeError::UnknownTrigger { kind: Kind::Stray, number: 6 })
    );
    let mut longer = valid(Kind::Fork);
    longer.push(0);
    assert_eq!(decode(&longer), Err(DecodeError::Length { kind: Kind::Fork, len: 97, expected: 96 }));
    let mut level = level_record(Kind::LevelCrossed, b"", 0);
    level.argv_len = 257;
    let claims_too_much = DecodeError::Argv { kind: Kind::LevelCrossed, argv_len: 257, max: 256 };
    assert_eq!(decode(bytes_of(&level)), Err(claims_too_much));
    assert_eq!(
        claims_too_much.to_string(),
        "a record of kind LevelCrossed claims 257 bytes of argv, more than the 256 it can hold"
    );
}

#[test]
fn exec_that_lies_about_its_argv_is_refused() {
    let length = |len, expected| Err(DecodeError::Length { kind: Kind::Exec, len, expected });
    let mut bytes = exec_bytes(&exec_record(b"ls\0", 3));
    bytes.push(0);
    assert_eq!(decode(&bytes), length(356, 355));
    assert_eq!(decode(&bytes[..353]), length(353, 355));
    assert_eq!(decode(&bytes[..351]), length(351, 352));
    bytes.resize(size_of::<wire::Exec>() + 1, 0);
    assert_eq!(decode(&bytes), length(2401, 2400));
    let mut record = exec_record(b"", 0);
    record.argv_len = 2049;
    let claims_too_much = DecodeError::Argv { kind: Kind::Exec, argv_len: 2049, max: 2048 };
    assert_eq!(decode(bytes_of(&record)), Err(claims_too_much));
}

fn any_kind() -> impl Strategy<Value = Kind> {
    proptest::sample::select(&Kind::ALL[..])
}

proptest! {
    #[test]
    fn any_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2600)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn any_bytes_behind_a_known_kind_do_not_panic(
        kind in any_kind(),
        mut bytes in proptest::collection::vec(any::<u8>(), size_of::<Header>()..2600),
    ) {
        let offset = std::mem::offset_of!(Header, kind);
        bytes[offset..offset + 4].copy_from_slice(&(kind as u32).to_ne_bytes());
        let _ = decode(&bytes);
    }

    #[test]
    fn damaged_records_do_not_panic(
        kind in any_kind(),
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = valid(kind);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = decode(&bytes);
    }

    #[test]
    fn a_truncated_record_is_refused(kind in any_kind(), at in any::<proptest::sample::Index>()) {
        let bytes = valid(kind);
        prop_assert!(decode(&bytes[..at.index(bytes.len())]).is_err());
    }

    #[test]
    fn arguments_come_back(
        args in proptest::collection::vec(proptest::collection::vec(1_u8.., 0..40), 0..20),
    ) {
        let bytes: Vec<u8> = args.iter().flat_map(|arg| arg.iter().copied().chain([0])).collect();
        let exec = exec_of(&exec_bytes(&exec_record(&bytes, bytes.len() as u32)));
        let args = args.into_iter().map(Text::new).collect();
        prop_assert_eq!(exec.argv, Some(Argv { args, cut_bytes: 0 }));
    }
}
