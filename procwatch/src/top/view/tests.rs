//! Pictures of every page, as text beside this file. `PROCWATCH_BLESS=1 cargo test` takes them anew.

use std::{fs, path::Path};

use ratatui::{
    buffer::{Buffer, Cell},
    style::{Color, Modifier},
};

use super::*;
use crate::{
    record::Deed,
    status::Health,
    top::{
        keys::{Command, Motion},
        model::{Effect, Findings, Picture},
        samples::{exploding, model, picture, processes, records, status},
    },
};

const COLOUR: Theme = Theme { colour: true };
const NO_COLOUR: Theme = Theme { colour: false };

fn drawn(model: &mut Model, theme: Theme, width: u16, height: u16) -> Buffer {
    let screen = Rect::new(0, 0, width, height);
    fit(model, theme, screen);
    let mut buffer = Buffer::empty(screen);
    render(model, theme, &mut buffer);
    buffer
}

/// Its lines, without the spaces at their ends. Behind a wide character stands no cell of its own.
fn text(buffer: &Buffer) -> String {
    let mut text = String::new();
    for row in buffer.area().rows() {
        let mut line = String::new();
        let mut covered = 0;
        for x in row.left()..row.right() {
            if covered > 0 {
                covered -= 1;
                continue;
            }
            let symbol = buffer[(x, row.y)].symbol();
            covered = text::width(symbol).saturating_sub(1);
            line.push_str(symbol);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn assert_snapshot(name: &str, model: &mut Model, width: u16, height: u16) {
    let seen = text(&drawn(model, COLOUR, width, height));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/top/view/snapshots");
    let file = folder.join(format!("{name}-{width}x{height}.txt"));
    if std::env::var_os("PROCWATCH_BLESS").is_some() {
        fs::create_dir_all(folder).unwrap();
        fs::write(&file, &seen).unwrap();
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    assert!(seen == expected, "{}:\n{seen}", file.display());
    let plain = drawn(model, NO_COLOUR, width, height);
    assert_eq!(text(&plain), seen, "without colour it says the same");
    assert!(plain.content().iter().all(|cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset)));
}

fn on_leak(model: &mut Model) {
    model.apply(Command::Move(Motion::First));
    assert_eq!(model.cursor().key().unwrap().pid, 4242);
}

#[test]
fn an_explosion() {
    for (width, height) in [(80, 24), (120, 40), (200, 60), (40, 12), (20, 5), (1, 1)] {
        let mut model = exploding();
        on_leak(&mut model);
        assert_snapshot("explosion", &mut model, width, height);
    }
}

#[test]
fn before_there_is_an_answer() {
    let mut model = Model::new(crate::top::samples::viewer());
    assert_snapshot("connecting", &mut model, 80, 24);
    model.lose("no agent listens at /run/procwatch/procwatch.sock: No such file".to_owned());
    assert_snapshot("nobody", &mut model, 80, 24);
}

#[test]
fn an_agent_that_is_gone() {
    let mut model = exploding();
    model.lose("the agent closed the connection".to_owned());
    assert_snapshot("gone", &mut model, 80, 24);
}

#[test]
fn an_agent_that_is_not_well() {
    let mut model = model();
    let processes = processes(30);
    let mut status = status(1, &processes);
    status.health = Health::Degraded;
    status.reasons = vec!["stream ring: 12 records lost".to_owned(), "log: \u{1b}[2J".to_owned()];
    status.rings[0].lost = 12;
    status.place_rules[0].cpus = None;
    model.look(Picture { status: Box::new(status), processes });
    assert_snapshot("degraded", &mut model, 80, 24);
}

#[test]
fn a_filter() {
    let mut model = exploding();
    model.apply(Command::Filter);
    for letter in "worker @1".chars() {
        model.apply(Command::Type(letter));
    }
    assert_snapshot("typing", &mut model, 80, 24);
    model.apply(Command::Accept);
    model.apply(Command::Sort(crate::top::model::SortBy::Pid));
    model.apply(Command::Reverse);
    assert_snapshot("filtered", &mut model, 80, 24);
    model.apply(Command::Filter);
    model.apply(Command::Type('!'));
    assert_snapshot("nobody-fits", &mut model, 80, 24);
}

#[test]
fn a_question() {
    let mut model = exploding();
    on_leak(&mut model);
    model.apply(Command::Ask(Deed::Freeze));
    for (width, height) in [(80, 24), (20, 5), (20, 1)] {
        assert_snapshot("question", &mut model, width, height);
    }
    let effect = model.apply(Command::Answer(true));
    assert!(matches!(effect, Some(Effect::Contain(_, Deed::Freeze))));
    model.notify("4242 python3  freeze: verified, frozen after 1.20ms".to_owned());
    assert_snapshot("done", &mut model, 80, 24);
}

#[test]
fn one_process() {
    let mut model = exploding();
    on_leak(&mut model);
    let Some(Effect::Diagnose(key)) = model.apply(Command::Open) else { panic!("it is not looked at") };
    assert_snapshot("looking", &mut model, 80, 24);
    let lines = [
        "/opt/app/leak.py:12: creates the 412 threads of python3 (4242), counted by the kernel, 98 % of them",
        "process  python3 leak.py, user aimgr, up 3m",
        "cause    def scan(self): threading.Thread(target=self.look, args=(path,), daemon=True).start()",
        "hint     a thread for each event, and none of them ends",
    ];
    model.found(key, Findings::Lines(lines.map(str::to_owned).to_vec()));
    model.look(picture(4, processes(700)));
    assert_snapshot("details", &mut model, 80, 24);
    assert_snapshot("details", &mut model, 30, 10);
    model.apply(Command::Move(Motion::Last));
    assert_snapshot("details-end", &mut model, 30, 10);
    model.look(picture(5, Vec::new()));
    model.apply(Command::Move(Motion::First));
    model.found(key, Findings::Failed("process 4242 has ended".to_owned()));
    assert_snapshot("ended", &mut model, 80, 24);
}

#[test]
fn pages_of_text() {
    let mut model = exploding();
    for (page, name) in [
        (Page::Alerts, "alerts"),
        (Page::Placements, "placements"),
        (Page::Slices, "slices"),
        (Page::Help, "help"),
    ] {
        model.apply(Command::Show(page));
        assert_snapshot(name, &mut model, 80, 24);
        assert_snapshot(name, &mut model, 40, 12);
    }
}

#[test]
fn what_is_grave_is_seen_by_its_look() {
    let mut model = exploding();
    on_leak(&mut model);
    let buffer = drawn(&mut model, COLOUR, 120, 40);
    let find = |word: &str| -> Cell {
        let rows = text(&buffer);
        let (y, line) = rows.lines().enumerate().find(|(_, line)| line.contains(word)).unwrap();
        let x = line[..line.find(word).unwrap()].chars().count();
        buffer[(x as u16, y as u16)].clone()
    };
    assert_eq!(find("ok").fg, Color::Green);
    assert!(find("4242").modifier.contains(Modifier::REVERSED), "the cursor");
    assert_eq!(find("WARNING").fg, Color::Yellow);
    let plain = drawn(&mut model, NO_COLOUR, 120, 40);
    assert!(plain.content().iter().any(|cell| cell.modifier.contains(Modifier::BOLD)));
}

#[test]
fn foreign_text_does_no_harm() {
    let mut model = exploding();
    for record in records() {
        model.tell(&record);
    }
    for page in [Page::Processes, Page::Alerts, Page::Slices] {
        model.apply(Command::Show(page));
        let seen = text(&drawn(&mut model, COLOUR, 200, 60));
        assert!(!seen.contains(|c: char| c.is_control() && c != '\n'), "{seen}");
    }
    model.apply(Command::Show(Page::Alerts));
    let seen = text(&drawn(&mut model, COLOUR, 200, 60));
    assert!(seen.contains("disk is full\\x1b[2J"), "{seen}");
}

/// Every page at every size, with all that may stand in the last line.
#[test]
fn no_screen_is_too_small() {
    let states: [fn(&mut Model); 6] = [
        |_| {},
        |model| {
            model.apply(Command::Filter);
            model.apply(Command::Type('日'));
        },
        |model| {
            on_leak(model);
            model.apply(Command::Open);
            model.apply(Command::Move(Motion::Last));
        },
        |model| {
            on_leak(model);
            model.apply(Command::Ask(Deed::Freeze));
        },
        |model| model.lose("gone".to_owned()),
        |model| model.notify("done".to_owned()),
    ];
    for state in states {
        let mut model = exploding();
        state(&mut model);
        let open = model.page();
        for page in [open, Page::Alerts, Page::Help] {
            if page != open {
                model.apply(Command::Show(page));
                model.apply(Command::Move(Motion::Last));
            }
            for width in (0..12).chain([19, 20, 30, 49, 80]) {
                for height in (0..13).chain([30]) {
                    drawn(&mut model, COLOUR, width, height);
                }
            }
        }
    }
}
