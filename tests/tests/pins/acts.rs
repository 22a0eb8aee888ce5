//! What is done to processes, when the agent that does it comes late or cannot end as it should.

use super::*;

/// What a pool is called. It has run its program when it answers, and not before.
fn comm_of(pool: &mut Pool) -> String {
    pool.threads(1);
    fs::read_to_string(format!("/proc/{}/comm", pool.pid())).unwrap()
}

/// A rule for one process alone: nobody else on this machine is to be frozen.
fn freezing(comm: &str, levels: &str) -> String {
    let rule = &rule(levels)[12..];
    format!(
        "mode = \"enforce\"\n[[threads]]\ncomm = \"{}\"\n{rule}[threads.actions]\nnotice = [\"freeze\"]\n",
        comm.trim()
    )
}

#[test]
fn nothing_is_done_about_an_alert_that_is_over() {
    needs!(Root, Bpf);
    let mut pool = Pool::raw_clone();
    let pid = pool.pid();
    let comm = comm_of(&mut pool);
    let alone = Alone::new(&freezing(&comm, "[80]"));
    alone.run().kill();
    pool.threads(90);
    pool.threads(1);
    let next = alone.run();
    next.wait_for_event("cleared", pid);
    assert!(next.records().iter().all(|record| record["kind"] != "action"), "{:?}", next.records());
    // Now it lasts.
    pool.threads(90);
    let act = next.wait_for_event("action", pid);
    assert_eq!((text(&act["action"]), text(&act["occasion"])), ("freeze", "notice"), "{act}");
    let ended = next.finish();
    assert_eq!(told(&ended.records, pid)[..3], [("alert", 80), ("cleared", 80), ("alert", 80)]);
    let acts = ended.records.iter().filter(|it| it["kind"] == "action" && it["undo"] == false);
    assert_eq!(acts.count(), 1);
}

#[test]
fn what_crossed_an_old_bound_climbs_no_ladder_of_a_new_one() {
    needs!(Root, Bpf);
    let mut pool = Pool::raw_clone();
    let pid = pool.pid();
    let comm = comm_of(&mut pool);
    let alone = Alone::new(&freezing(&comm, "[60]"));
    alone.run().kill();
    pool.threads(70);
    alone.change(&freezing(&comm, "[100]"));
    let next = alone.run();
    next.wait_for_event("alert", pid);
    pool.threads(1);
    let ended = next.finish();
    assert_eq!(told(&ended.records, pid), [("alert", 60)]);
    assert!(ended.records.iter().all(|record| record["kind"] != "action"), "{:?}", ended.records);
}

#[test]
fn nobody_is_stopped_whom_nobody_could_be_told_of() {
    needs!(Root, Bpf);
    let mut pool = Pool::raw_clone();
    let pid = pool.pid();
    let comm = comm_of(&mut pool);
    let rule = &rule("[33, 34, 35, 36]")[12..];
    let alone = Alone::new(&format!(
        "mode = \"enforce\"\n[[threads]]\ncomm = \"{}\"\n{rule}stop-at = 60\n",
        comm.trim()
    ));
    alone.run().kill();
    for _ in 0..450 {
        pool.threads(40);
        pool.threads(1);
    }
    // The ring is full: it goes on, and answers.
    pool.threads(70);
    let next = alone.run();
    next.wait_for("the loss", |record| record["kind"] == "loss");
    // Now somebody is told, and lets it go on in the end.
    pool.order(71);
    let act = next.wait_for_event("action", pid);
    assert_eq!((text(&act["action"]), text(&act["result"])), ("stop", "verified"), "{act}");
    let ended = next.finish();
    assert!(ended.records.iter().any(|it| it["bound"] == "stop" && it["stopped"] == true));
    assert_eq!(pool.answer(), 71);
}

#[test]
fn nobody_stays_frozen_because_the_folder_cannot_be_removed() {
    needs!(Root, Bpf);
    let mut pool = Pool::raw_clone();
    let pid = pool.pid();
    let comm = comm_of(&mut pool);
    let alone = Alone::new(&freezing(&comm, "[80]"));
    let mut agent = alone.run();
    pool.threads(90);
    let act = agent.wait_for_event("action", pid);
    assert_eq!(act["result"], "verified", "{act}");
    let foreign = Path::new(FOLDER).join("foreign");
    fs::create_dir(&foreign).unwrap();
    agent.signal(Signal::SIGTERM);
    let ended = agent.wait();
    fs::remove_dir(&foreign).unwrap();
    assert!(!ended.status.success() && ended.stderr.contains("foreign"), "{ended:?}");
    let undone = ended.records.iter().find(|record| record["undo"] == true).unwrap();
    assert_eq!((text(&undone["action"]), text(&undone["result"])), ("freeze", "verified"), "{undone}");
    pool.threads(1);
}
