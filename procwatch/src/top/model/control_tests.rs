//! What the person's orders change.

use super::*;
use crate::{
    status::ProcessRow,
    top::{
        model::{SortBy, Viewer},
        samples::{model, picture, processes, viewer},
    },
};

fn shown(model: &Model) -> Vec<u32> {
    model.shown().map(|row| row.process.pid).collect()
}

fn typed(model: &mut Model, text: &str) {
    model.apply(Command::Filter);
    for letter in text.chars() {
        model.apply(Command::Type(letter));
    }
}

/// The cursor on the process of this pid.
fn on(model: &mut Model, pid: u32) {
    model.apply(Command::Move(Motion::First));
    while model.cursor().key().is_some_and(|key| key.pid != pid) {
        model.apply(Command::Move(Motion::Down));
    }
}

#[test]
fn the_cursor_stays_on_its_process_through_pictures_orders_and_filters() {
    let mut model = model();
    assert_eq!(shown(&model)[..2], [4242, 2000]);
    on(&mut model, 2003);
    let key = model.cursor().key();
    model.look(picture(1, processes(2)));
    assert_eq!(shown(&model)[0], 2000, "the leak has ended");
    model.apply(Command::Sort(SortBy::Pid));
    typed(&mut model, "worker");
    model.apply(Command::Accept);
    assert_eq!((model.cursor().key(), shown(&model).len()), (key, 20));
    typed(&mut model, "@7");
    assert_eq!(shown(&model), [2007], "it is typed on");
    assert_eq!(model.cursor().key().map(|key| key.pid), Some(2007));
    model.apply(Command::Cancel);
    assert_eq!(shown(&model).len(), 27);
    model.apply(Command::Back);
    assert_eq!(model.cursor().key(), None);
}

#[test]
fn esc_leads_back_step_by_step() {
    let mut model = model();
    typed(&mut model, "python3");
    model.apply(Command::Accept);
    model.apply(Command::Move(Motion::Down));
    model.apply(Command::Open);
    model.apply(Command::Show(Page::Help));
    model.apply(Command::Back);
    assert_eq!(model.page(), Page::Details);
    model.apply(Command::Back);
    assert_eq!((model.page(), model.filter().text()), (Page::Processes, "python3"));
    model.apply(Command::Back);
    assert!(model.filter().is_empty() && model.cursor().key().is_some());
    model.apply(Command::Back);
    assert_eq!(model.cursor().key(), None);
    for page in [Page::Alerts, Page::Placements, Page::Slices, Page::Processes] {
        model.apply(Command::NextPage);
        assert_eq!(model.page(), page);
    }
}

#[test]
fn an_open_process_is_looked_at_once_at_a_time() {
    let mut model = model();
    assert_eq!(model.apply(Command::Open), None);
    assert!(model.notice().unwrap().contains("no process is chosen"));
    on(&mut model, 4242);
    let key = model.cursor().key().unwrap();
    assert_eq!(model.apply(Command::Open), Some(Effect::Diagnose(key)));
    assert_eq!(model.apply(Command::Diagnose), None, "it is under way");
    let other = ProcessKey { pid: 1, ..key };
    model.found(other, Findings::Failed("not this one".to_owned()));
    assert_eq!(model.details().unwrap().findings(), &Findings::Running);
    model.found(key, Findings::Lines(vec!["here".to_owned()]));
    assert_eq!(model.details().unwrap().findings(), &Findings::Lines(vec!["here".to_owned()]));
    assert_eq!(model.apply(Command::Diagnose), Some(Effect::Diagnose(key)));
    model.look(picture(1, Vec::new()));
    let details = model.details().unwrap();
    assert!(details.has_ended() && details.row().process.threads == 30);
}

#[test]
fn nothing_is_done_to_a_process_before_yes() {
    let mut model = model();
    on(&mut model, 4242);
    let key = model.cursor().key().unwrap();
    for deed in [Deed::Freeze, Deed::Thaw] {
        assert_eq!(model.apply(Command::Ask(deed)), None);
        let question = model.question().unwrap();
        let words = format!("{} 4242 python3 of aimgr, 30 threads?", deed.name());
        assert_eq!((question.key, &question.words), (key, &words));
        assert_eq!(model.apply(Command::Answer(false)), None);
        assert_eq!((model.question(), model.notice()), (None, Some("4242: left as it is")));
        model.apply(Command::Ask(deed));
        assert_eq!(model.apply(Command::Answer(true)), Some(Effect::Contain(key, deed)));
        assert_eq!(model.apply(Command::Answer(true)), None, "one yes is one deed");
    }
}

#[test]
fn who_is_not_root_is_told_so() {
    let mut model = Model::new(Viewer { is_root: false, ..viewer() });
    model.look(picture(0, processes(30)));
    on(&mut model, 4242);
    model.apply(Command::Ask(Deed::Freeze));
    assert!(model.question().is_none() && model.notice().unwrap().contains("sudo procwatch top"));
    assert_eq!(model.apply(Command::Open), None);
    assert_eq!(model.details().unwrap().findings(), &Findings::NotAllowed);
}

#[test]
fn nobody_freezes_the_terminal_that_top_runs_in() {
    let mut model = model();
    for pid in [960, 951, 950, 1] {
        on(&mut model, pid);
        model.apply(Command::Ask(Deed::Freeze));
        assert!(model.question().is_none(), "{pid}");
        assert!(model.notice().unwrap().ends_with("is not frozen: this top runs below it"));
        model.apply(Command::Ask(Deed::Thaw));
        assert!(model.apply(Command::Answer(false)).is_none() && model.question().is_none());
    }
    // Two that are each other's parents are no reason to think for ever.
    let ring = |pid, ppid| ProcessRow { ppid, ..processes(30).swap_remove(pid) };
    let mut rows = vec![ring(0, 950), ring(2, 1)];
    rows[0].pid = 1;
    model.look(picture(1, rows));
    assert!(!model.runs_below(77));
}

#[test]
fn an_agent_that_comes_back_is_compared_with_nothing() {
    let mut model = model();
    model.lose("it was killed".to_owned());
    assert_eq!(shown(&model).len(), 27, "the last picture is still shown");
    model.look(picture(60, processes(500)));
    let row = model.shown().next().unwrap();
    assert_eq!((row.process.threads, row.growth), (500, 0));
    assert_eq!(model.link(), &crate::top::model::Link::Live);
}
