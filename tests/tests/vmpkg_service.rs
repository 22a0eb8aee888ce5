//! The packaged service through its life, under a real systemd.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, process::Command, thread, time::Duration};

use nix::sys::signal::{Signal, kill};
use procwatch_tests::{
    Pool, Talk,
    guest::{self, SHELL, done, is_inside, keep_slice, pid_of, session},
    has_bpf_lsm, needs, resident_kib,
    service::{
        CONFIG, Installed, PACKAGE, PROGRAM, UNIT, call, entries, entries_of_all, entry, field, main_pid,
        record, show,
    },
    start, status_of, text, until, wake_ups,
};

/// Alerts at 80 threads and nothing else.
const PLAIN: &str = "mode = \"observe\"\n[[threads]]\nlevels = [80]\nburst = false\nleak = false\n";

/// A Python program that makes as many threads as it is told, in a file of a user's own home.
const LEAK: &str = "import sys, threading, time

print('in', __import__('os').getpid(), flush=True)
for line in sys.stdin:
    for _ in range(int(line)):
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    print('done', flush=True)
";

fn nix_pid(pid: u32) -> nix::unistd::Pid {
    nix::unistd::Pid::from_raw(pid as i32)
}

/// Another run of the service than that of `pid`, and ready.
fn another_run(pid: u32) -> u32 {
    until("the service runs anew", || {
        (show("ActiveState") == "active").then(main_pid).filter(|new| ![0, pid].contains(new))
    })
}

fn drop_in(text: &str) {
    let folder = Path::new("/etc/systemd/system/procwatch.service.d");
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("test.conf"), text).unwrap();
    done("systemctl", &["daemon-reload"]);
}

#[test]
fn a_package_is_installed_and_waits_to_be_enabled() {
    needs!(Vm);
    let installed = Installed::new();
    assert_eq!(String::from_utf8_lossy(&call("systemctl", &["is-enabled", UNIT]).stdout).trim(), "disabled");
    assert_eq!(show("ActiveState"), "inactive");
    assert!(done("getent", &["group", "procwatch"]).starts_with("procwatch:x:"));
    let verified = call("systemd-analyze", &["verify", "--man=no", UNIT]);
    assert_eq!((verified.status.code(), String::from_utf8_lossy(&verified.stderr).as_ref()), (Some(0), ""));
    assert!(done("procwatch", &["check", "--only-config"]).is_empty(), "the shipped configuration is good");
    for file in [
        "/usr/share/man/man1/procwatch-run.1.gz",
        "/usr/share/man/man5/procwatch.toml.5.gz",
        "/usr/share/bash-completion/completions/procwatch",
        "/usr/share/zsh/vendor-completions/_procwatch",
        "/usr/share/fish/vendor_completions.d/procwatch.fish",
    ] {
        let metadata = fs::metadata(file).unwrap();
        assert_eq!((metadata.uid(), metadata.mode() & 0o777), (0, 0o644), "{file}");
    }
    installed.enable();
    assert_eq!(show("UnitFileState"), "enabled");
}

#[test]
fn ready_means_armed_and_systemd_is_told_what_is_done() {
    needs!(Vm);
    let _installed = Installed::running(PLAIN);
    let armed = record(&entry(&["PROCWATCH_KIND=health"]));
    assert_eq!(armed["topic"], "armed", "{armed}");
    // The machine never slept, so the boot clock is the monotonic one.
    let armed_at = armed["boot_ns"].as_u64().unwrap() / 1000;
    let active_at: u64 = show("ActiveEnterTimestampMonotonic").parse().unwrap();
    assert!(armed_at <= active_at, "armed at {armed_at}, ready at {active_at}");
    assert!(show("StatusText").starts_with("armed in "), "{}", show("StatusText"));
    assert!(show("StatusText").contains("thread levels 80;"), "{}", show("StatusText"));
    assert_eq!(
        entries(&["_TRANSPORT=stdout"]),
        Vec::<serde_json::Value>::new(),
        "all goes by the journal's protocol"
    );
}

#[test]
fn an_alert_is_asked_for_by_its_fields() {
    needs!(Vm);
    let _installed = Installed::running(PLAIN);
    let mut pool = Pool::raw_clone();
    pool.threads(100);
    let pid = format!("PROCWATCH_PID={}", pool.pid());
    let alert = entry(&["PROCWATCH_KIND=alert", &pid]);
    for (name, value) in [
        ("PRIORITY", "5"),
        ("SYSLOG_IDENTIFIER", "procwatch"),
        ("_SYSTEMD_UNIT", UNIT),
        ("PROCWATCH_UID", "0"),
        ("PROCWATCH_USER", "root"),
        ("PROCWATCH_COMM", "rawclone"),
        ("PROCWATCH_SEVERITY", "notice"),
        ("PROCWATCH_BOUND", "level"),
        ("PROCWATCH_RULE", "threads[1]"),
        ("PROCWATCH_CGROUP", "/system.slice/procwatch-job.service"),
    ] {
        assert_eq!(field(&alert, name), value, "{name} in {alert}");
    }
    let told = record(&alert);
    assert_eq!((&told["kind"], &told["threads"], &told["level"]), (&"alert".into(), &80.into(), &80.into()));
    let message = field(&alert, "MESSAGE");
    assert!(
        message.starts_with("alert ") && message.contains("NOTICE 80 threads (level 80, threads[1])"),
        "{message}"
    );
    assert_eq!(entries(&["PROCWATCH_KIND=alert", &pid]).len(), 1, "once");
    assert!(entries(&["PROCWATCH_KIND=alert", &pid, "PROCWATCH_USER=aimgr"]).is_empty());
    pool.end();
    let cleared = entry(&["PROCWATCH_KIND=cleared", &pid]);
    assert_eq!((field(&cleared, "PRIORITY"), &record(&cleared)["ended"]), ("6", &true.into()));
}

#[test]
fn a_hostile_name_is_one_value() {
    needs!(Vm);
    let _installed = Installed::running(PLAIN);
    let program = "import os, sys, threading, time
open('/proc/self/comm', 'w').write('a\\nPRIORITY=0')
for _ in range(90):
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
print(os.getpid(), flush=True)
sys.stdin.readline()
";
    let mut hostile = start("python3", &["-c", program]);
    let pid = hostile.hear();
    let alert = entry(&["PROCWATCH_KIND=alert", &format!("PROCWATCH_PID={pid}")]);
    // The name of the thread that made it, which is the one that was changed.
    assert_eq!((field(&alert, "PRIORITY"), field(&alert, "PROCWATCH_COMM")), ("5", "a\\nPRIORITY=0"));
}

#[test]
fn a_reload_takes_a_good_configuration_and_refuses_a_bad_one() {
    needs!(Vm);
    let _installed = Installed::running(PLAIN);
    let pid = main_pid();
    fs::write(CONFIG, PLAIN.replace("[80]", "[60, 90]")).unwrap();
    done("systemctl", &["reload", UNIT]);
    until("the new configuration", || show("StatusText").contains("thread levels 60 90;").then_some(()));
    let mut pool = Pool::raw_clone();
    pool.threads(70);
    entry(&["PROCWATCH_KIND=alert", &format!("PROCWATCH_PID={}", pool.pid())]);

    fs::write(CONFIG, "mode = \"enforce\"\nlevles = [1]\n").unwrap();
    let reload = call("systemctl", &["reload", UNIT]);
    assert!(!reload.status.success(), "it says that it failed");
    let why = until("the reason", || {
        let said = entries(&["PRIORITY=3"]);
        said.iter().map(|entry| field(entry, "MESSAGE").to_owned()).find(|line| line.contains("levles"))
    });
    assert!(why.contains("procwatch.toml:2: levles: unknown key"), "{why}");
    assert_eq!((show("ActiveState").as_str(), main_pid()), ("active", pid));

    // Whoever sends the signal by hand is told by the agent itself.
    kill(nix_pid(pid), Signal::SIGHUP).unwrap();
    until("the refusal", || show("StatusText").starts_with("reload refused: ").then_some(()));
    assert!(show("StatusText").contains("procwatch.toml:2"), "{}", show("StatusText"));
    assert_eq!((show("ActiveState").as_str(), main_pid()), ("active", pid));
    pool.threads(100);
    let alerts = || entries(&["PROCWATCH_KIND=alert", &format!("PROCWATCH_PID={}", pool.pid())]);
    until("the old configuration holds", || (alerts().len() == 2).then_some(()));
}

#[test]
fn a_killed_agent_is_started_again() {
    needs!(Vm);
    let _installed = Installed::running(PLAIN);
    let pid = main_pid();
    kill(nix_pid(pid), Signal::SIGKILL).unwrap();
    another_run(pid);
    assert_eq!(show("NRestarts"), "1");
    entry(&["PROCWATCH_KIND=health", &format!("_PID={}", main_pid())]);
    let mut pool = Pool::raw_clone();
    pool.threads(100);
    entry(&["PROCWATCH_KIND=alert", &format!("PROCWATCH_PID={}", pool.pid())]);
}

#[test]
fn an_agent_that_hangs_is_ended_and_started_again() {
    needs!(Vm);
    let installed = Installed::new();
    drop_in("[Service]\nWatchdogSec=10\n");
    fs::write(CONFIG, PLAIN).unwrap();
    installed.enable();
    let pid = main_pid();
    // It lives for longer than it may be silent.
    let beat = || show("WatchdogTimestampMonotonic").parse::<u64>().unwrap();
    let first = beat();
    until("its loop goes round", || (beat() > first + 11_000_000).then_some(()));
    assert_eq!((main_pid(), show("NRestarts").as_str()), (pid, "0"));

    kill(nix_pid(pid), Signal::SIGSTOP).unwrap();
    another_run(pid);
    let watchdog = entries_of_all(&["UNIT=procwatch.service", "_PID=1"]);
    let said = |entry: &serde_json::Value| {
        entry["MESSAGE"].as_str().is_some_and(|it| it.contains("Watchdog timeout"))
    };
    assert!(watchdog.iter().any(said), "{watchdog:?}");
}

#[test]
fn it_may_do_what_it_needs_and_no_more() {
    needs!(Vm);
    let _installed = Installed::running(PLAIN);
    let of = |name: &str| status_of(main_pid(), name);
    let bits = |set: String| {
        let set = u64::from_str_radix(&set, 16).unwrap();
        (0..64).filter(|bit| set >> bit & 1 == 1).collect::<Vec<_>>()
    };
    // CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, KILL, SETGID, SETUID, SYS_PTRACE, SYS_ADMIN, SYS_NICE, SYS_RESOURCE,
    // PERFMON, BPF.
    let needed = [0, 1, 2, 5, 6, 7, 19, 21, 23, 24, 38, 39];
    assert_eq!((bits(of("CapBnd")), bits(of("CapEff"))), (needed.to_vec(), needed.to_vec()));
    assert_eq!((of("NoNewPrivs").as_str(), of("Seccomp").as_str()), ("1", "2"));
    assert_eq!(show("MemoryMax"), (150 << 20).to_string());
    let analysis = done("systemd-analyze", &["security", "--no-pager", UNIT]);
    let last = analysis.lines().last().unwrap();
    let exposure: f32 = last.split_whitespace().find_map(|word| word.parse().ok()).unwrap();
    assert!(exposure < 5.0, "{last}");
}

#[test]
fn with_everything_enabled_it_sleeps() {
    needs!(Vm);
    /// In it the watchdog hears of us once at most: every half of `WatchdogSec=60`.
    const WATCHED: Duration = Duration::from_secs(20);
    let config = "mode = \"enforce\"\n[[threads]]\ncomm = \"nobody\"\nlevels = [80]\n\
        [[place]]\nuser = \"aimgr\"\nslice = \"user-1003.slice\"\nfrom = [\"user.slice\"]\n\
        [log]\npath = \"/var/log/procwatch/events.jsonl\"\n[metrics]\nlisten = \"127.0.0.1:9464\"\n\
        [[outlet]]\nname = \"nobody\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:9/\"\nseverity = \"emergency\"\n";
    let _slice = keep_slice();
    let _installed = Installed::running(config);
    let pid = main_pid();
    let mut windows = Vec::new();
    // What follows a start, such as the first records on disk, falls into the first one; what comes again and again into all.
    let is_asleep = (0..3).any(|_| {
        let before = wake_ups(pid);
        // Not to let something happen, but to see that nothing does.
        thread::sleep(WATCHED);
        windows.push(wake_ups(pid) - before);
        windows.last() <= Some(&2)
    });
    assert!(is_asleep, "{windows:?} wake-ups in {WATCHED:?} each");
    assert!(resident_kib(pid) < 20 << 10, "{} KiB resident", resident_kib(pid));
}

/// The uid of the guest's desktop user.
const DESK: u32 = 1000;

#[test]
fn every_function_works_within_its_bounds() {
    needs!(Vm);
    let home = Path::new("/home/desk/leak.py");
    fs::write(home, LEAK).unwrap();
    fs::set_permissions(home, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    std::os::unix::fs::chown(home, Some(DESK), Some(DESK)).unwrap();
    let config = "mode = \"enforce\"\nfavordynmods = true\n\
        [[threads]]\nargv = \"*leak.py*\"\nlevels = [40, 60, 80, 100]\nburst = false\nleak = false\n\
        [threads.actions]\nnotice = [\"diagnose\"]\nwarning = [{ do = \"throttle\", cpu = \"50%\" }]\n\
        critical = [\"freeze\"]\n\
        [[threads]]\ncomm = \"rawclone\"\nstop-at = 150\n\
        [[place]]\nuser = \"aimgr\"\nslice = \"user-1003.slice\"\nfrom = [\"user.slice\"]\n";
    let _slice = keep_slice();
    let _installed = Installed::running(config);
    assert!(show("StatusText").contains("favordynmods"), "{}", show("StatusText"));

    // Placement; with fast moves a process may be inside before its exec, and then nothing has to be held.
    let mut shell = session("desk", &["su", "aimgr", "-c", SHELL]);
    let pid = pid_of(&mut shell);
    let moved = record(&entry(&["PROCWATCH_KIND=outcome", &format!("PROCWATCH_PID={pid}")]));
    assert_eq!(text(&moved["result"]), "verified", "{moved}");
    assert!(is_inside(&guest::cgroup_of(pid).unwrap()));
    if has_bpf_lsm() {
        let status = done("procwatch", &["status", "--json"]);
        assert!(status.contains("\"unavailable\":[]"), "holds and caps can be had: {status}");
    }
    shell.say("end");
    assert!(shell.end().success());

    // A diagnosis of a Python program that only its user may read; then throttled; then frozen.
    let mut leaking = session("desk", &["python3", "/home/desk/leak.py"]);
    let pid = pid_of(&mut leaking);
    let field_pid = format!("PROCWATCH_PID={pid}");
    Talk::greeted().wait_for_rule(pid, "threads[1] argv=*leak.py*");
    leaking.say("45");
    leaking.hear();
    let diagnosis = record(&entry(&["PROCWATCH_KIND=diagnosis", &field_pid]));
    assert_eq!(text(&diagnosis["result"]), "cause", "{diagnosis}");
    assert!(text(&diagnosis["headline"]).contains("/home/desk/leak.py:6 in <module>"), "{diagnosis}");
    let action = |name: &str| {
        let entry = entry(&["PROCWATCH_KIND=action", &field_pid, &format!("PROCWATCH_ACTION={name}")]);
        assert_eq!(field(&entry, "PROCWATCH_RESULT"), "verified", "{entry}");
    };
    leaking.say("20");
    leaking.hear();
    action("throttle");
    leaking.say("20");
    action("freeze");

    // The kernel stops a process by itself.
    let mut pool = Pool::raw_clone();
    Talk::greeted().wait_for_rule(pool.pid(), "threads[2] comm=rawclone");
    pool.order(200);
    let stopped = entry(&["PROCWATCH_BOUND=stop", &format!("PROCWATCH_PID={}", pool.pid())]);
    assert_eq!((&record(&stopped)["threads"], field(&stopped, "PRIORITY")), (&150.into(), "2"));

    // It lets go of all of them when it ends.
    let agent = format!("_PID={}", main_pid());
    done("systemctl", &["stop", UNIT]);
    leaking.hear();
    assert_eq!(show("Result"), "success");
    let errors = entries_of_all(&[&agent, "PRIORITY=3"]);
    assert!(errors.is_empty(), "{errors:?}");
    done("kill", &["-KILL", &pid.to_string(), &pool.pid().to_string()]);
    fs::remove_file(home).unwrap();
}

#[test]
fn what_a_dead_agent_held_is_let_go_even_if_none_follows() {
    needs!(Vm);
    let config = "mode = \"enforce\"\n[[threads]]\ncomm = \"rawclone\"\nlevels = [40]\nburst = false\nleak = false\n\
        [threads.actions]\nnotice = [\"freeze\"]\n";
    let installed = Installed::new();
    drop_in("[Service]\nRestart=no\n");
    fs::write(CONFIG, config).unwrap();
    installed.enable();
    let mut pool = Pool::raw_clone();
    Talk::greeted().wait_for_rule(pool.pid(), "threads[1] comm=rawclone");
    pool.order(50);
    let frozen = ["PROCWATCH_ACTION=freeze", &format!("PROCWATCH_PID={}", pool.pid())].map(str::to_owned);
    entry(&frozen.each_ref().map(String::as_str));
    kill(nix_pid(main_pid()), Signal::SIGKILL).unwrap();
    until("the service has failed", || (show("ActiveState") == "failed").then_some(()));
    // It answers again.
    assert_eq!(pool.answer(), 50);
    pool.threads(60);
    pool.end();
}

#[test]
fn an_upgrade_starts_the_new_one_and_keeps_what_is_yours() {
    needs!(Vm);
    let _installed = Installed::running(PLAIN);
    let pid = main_pid();
    done("dpkg-deb", &["--raw-extract", PACKAGE, "/job/newer"]);
    let control = fs::read_to_string("/job/newer/DEBIAN/control").unwrap();
    let newer = control.lines().map(|line| {
        line.strip_prefix("Version: ").map_or(line.to_owned(), |version| format!("Version: {version}+1"))
    });
    fs::write("/job/newer/DEBIAN/control", newer.collect::<Vec<_>>().join("\n") + "\n").unwrap();
    done("dpkg-deb", &["-Zgzip", "-z1", "--build", "/job/newer", "/job/newer.deb"]);
    done("dpkg", &["--install", "/job/newer.deb"]);
    assert_ne!(another_run(pid), 0);
    assert_eq!(fs::read_to_string(CONFIG).unwrap(), PLAIN);
    assert!(done("dpkg-query", &["-W", "-f", "${Version}", "procwatch"]).ends_with("+1"));
    assert_eq!(show("UnitFileState"), "enabled");
}

#[test]
fn what_is_removed_is_gone_and_what_is_purged_leaves_nothing() {
    needs!(Vm);
    let installed = Installed::running(PLAIN);
    let pid = main_pid();
    let held = procwatch_tests::KernelObjects::of_process(pid);
    assert!(!held.programs.is_empty());
    let mut pool = Pool::raw_clone();
    pool.threads(2);
    done(PROGRAM, &["contain", &pool.pid().to_string(), "freeze"]);
    done("dpkg", &["--remove", "procwatch"]);
    pool.threads(3);
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "it was stopped");
    assert!(!Path::new(PROGRAM).exists());
    assert_eq!(fs::read_to_string(CONFIG).unwrap(), PLAIN, "the configuration stays");
    until("nothing is left in the kernel", || (held.left() == 0).then_some(()));

    drop(installed);
    let left = Command::new("find")
        .args([
            "/etc",
            "/usr",
            "/var",
            "/run",
            "/sys/fs/bpf",
            "/sys/fs/cgroup",
            "-xdev",
            "-iname",
            "*procwatch*",
        ])
        .output()
        .unwrap();
    let ours =
        |line: &&str| !["procwatch-job", "procwatch-vm", "sudoers.d"].iter().any(|it| line.contains(it));
    let left = String::from_utf8(left.stdout).unwrap();
    assert_eq!(left.lines().filter(ours).collect::<Vec<_>>(), Vec::<&str>::new());
    let units = done("systemctl", &["list-units", "--all", "--no-legend", "--plain", "procwatch*"]);
    assert_eq!(units.lines().filter(ours).collect::<Vec<_>>(), Vec::<&str>::new());
    pool.end();
}

#[test]
fn a_binary_installs_itself_and_takes_itself_away() {
    needs!(Vm);
    let agent = procwatch_tests::binary();
    let agent = agent.to_str().unwrap();
    let before = files();
    let plan = done(agent, &["install", "--dry-run"]);
    assert!(plan.contains("write   /etc/systemd/system/procwatch.service\n"), "{plan}");
    assert!(plan.contains("run     systemctl restart procwatch.service\n"), "{plan}");
    assert_eq!(files(), before, "nothing was changed");
    done(agent, &["install"]);
    assert_eq!((show("ActiveState").as_str(), show("UnitFileState").as_str()), ("active", "enabled"));
    let program = fs::read_link(format!("/proc/{}/exe", main_pid())).unwrap();
    assert_eq!(program, Path::new("/usr/local/bin/procwatch"));
    assert_eq!(call("systemd-analyze", &["verify", "--man=no", UNIT]).status.code(), Some(0));
    let again = done("/usr/local/bin/procwatch", &["install", "--no-enable"]);
    assert!(
        !again.contains("write   ") && again.contains("keep    /etc/procwatch/procwatch.toml"),
        "{again}"
    );

    done("/usr/local/bin/procwatch", &["uninstall"]);
    assert_eq!(show("LoadState"), "not-found");
    assert!(Path::new(CONFIG).exists(), "the configuration stays");
    done(agent, &["install", "--no-enable"]);
    assert_eq!(show("ActiveState"), "inactive");
    done("/usr/local/bin/procwatch", &["uninstall", "--purge"]);
    assert_eq!(files(), before);
}

/// All that a machine is made of, but for what changes by itself.
fn files() -> Vec<String> {
    let found = done("find", &["/etc", "/usr", "/var/lib", "/var/log", "-xdev"]);
    let mut found: Vec<String> = found.lines().map(str::to_owned).collect();
    let changing = ["/var/lib/systemd", "/var/log/journal", "gshadow", "/group-"];
    found.retain(|path| !changing.iter().any(|part| path.contains(part)));
    found.sort();
    found
}

#[test]
fn a_binary_is_not_installed_over_a_package() {
    needs!(Vm);
    let _installed = Installed::new();
    let refused = call(procwatch_tests::binary().to_str().unwrap(), &["install"]);
    let why = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(why.contains("is installed as a Debian package"), "{why}");
    assert!(!Path::new("/usr/local/bin/procwatch").exists());
}

#[test]
#[ignore = "the end of a guest's first boot; cargo xtask vm runs it then"]
fn before_the_reboot_the_service_is_enabled() {
    needs!(Vm);
    let installed = Installed::running(PLAIN);
    fs::write("/var/lib/procwatch/boot", fs::read("/proc/sys/kernel/random/boot_id").unwrap()).unwrap();
    installed.leave();
}

#[test]
#[ignore = "the beginning of a guest's second boot; cargo xtask vm runs it then"]
fn after_the_reboot_it_runs_by_itself() {
    needs!(Vm);
    let _installed = Installed::found();
    let before = fs::read("/var/lib/procwatch/boot").unwrap();
    assert_ne!(before, fs::read("/proc/sys/kernel/random/boot_id").unwrap(), "it is another boot");
    until("the service runs", || (show("ActiveState") == "active").then_some(()));
    assert_eq!((show("NRestarts").as_str(), show("Result").as_str()), ("0", "success"));
    let mut pool = Pool::raw_clone();
    pool.threads(100);
    let alert = entry(&["PROCWATCH_KIND=alert", &format!("PROCWATCH_PID={}", pool.pid())]);
    assert_eq!(record(&alert)["threads"], 80);
    pool.end();
}
