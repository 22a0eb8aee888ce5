//! Names and lines for addresses.

use std::{
    collections::{HashMap, HashSet},
    sync::mpsc,
    thread,
    time::Duration,
};

use blazesym::{
    Pid,
    symbolize::{
        CodeInfo, Input, Sym, Symbolized, Symbolizer,
        source::{Process, Source},
    },
};

use crate::{
    diagnose::{maps::Mapping, report::StackFrame, runtime::file_name},
    text::Text,
};

/// Names of addresses: for each its frames, innermost first, inlined functions among them.
pub(super) type Names = HashMap<u64, Vec<StackFrame>>;

/// Looks names up, for at most `limit`. What has none is told by file and offset.
pub(super) fn names(pid: u32, addresses: HashSet<u64>, mappings: &[Mapping], limit: Duration) -> Names {
    let mut names = look_up(pid, addresses.iter().copied().collect(), limit);
    for address in addresses {
        let frames = names.entry(address).or_default();
        if frames.is_empty() {
            frames.push(unnamed());
        }
        if let Some(mapping) = mappings.iter().find(|it| (it.start..it.end).contains(&address)) {
            for frame in frames {
                frame.module =
                    Some(Text::from(mapping.path.as_str())).filter(|path| !path.as_bytes().is_empty());
                frame.offset = Some(address - mapping.start + mapping.offset);
            }
        }
    }
    names
}

/// Symbol tables and debug information are the process' own: who reads them may fail, and is then left behind.
fn look_up(pid: u32, addresses: Vec<u64>, limit: Duration) -> Names {
    let (sender, receiver) = mpsc::channel();
    let reader = thread::Builder::new().name("symbols".to_owned()).spawn(move || {
        let _ = sender.send(look_up_all(pid, &addresses));
    });
    match reader {
        Ok(_) => receiver.recv_timeout(limit).unwrap_or_default(),
        Err(_) => Names::new(),
    }
}

fn look_up_all(pid: u32, addresses: &[u64]) -> Names {
    let symbolizer = Symbolizer::builder().enable_code_info(true).enable_inlined_fns(true).build();
    let source = Source::Process(Process::new(Pid::from(pid)));
    // All at once is quick; when that fails, one bad file must not take the names of the others.
    if let Ok(found) = symbolizer.symbolize(&source, Input::AbsAddr(addresses)) {
        return addresses.iter().copied().zip(found.iter().map(frames)).collect();
    }
    let one = |address: &u64| {
        let found = symbolizer.symbolize_single(&source, Input::AbsAddr(*address));
        (*address, found.map(|found| frames(&found)).unwrap_or_default())
    };
    addresses.iter().map(one).collect()
}

fn frames(symbolized: &Symbolized<'_>) -> Vec<StackFrame> {
    let Symbolized::Sym(sym) = symbolized else {
        return Vec::new();
    };
    let inlined = sym.inlined.iter().rev().map(|inner| named(&inner.name, inner.code_info.as_ref()));
    inlined.chain([outer(sym)]).collect()
}

fn outer(sym: &Sym<'_>) -> StackFrame {
    named(&sym.name, sym.code_info.as_deref())
}

fn named(name: &str, code: Option<&CodeInfo<'_>>) -> StackFrame {
    let path = code.map(CodeInfo::to_path);
    StackFrame {
        function: Text::from(name),
        file: path.map(|path| Text::new(path.as_os_str().as_encoded_bytes())),
        line: code.and_then(|code| code.line),
        ..unnamed()
    }
}

fn unnamed() -> StackFrame {
    StackFrame {
        function: Text::default(),
        file: None,
        line: None,
        module: None,
        offset: None,
        build_id: None,
    }
}

/// The function of a frame, or where it is when that has no name.
pub(super) fn name(frame: &StackFrame) -> Text {
    if !frame.function.as_bytes().is_empty() {
        return frame.function.clone();
    }
    let module = frame.module.as_ref().map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned());
    let file = module.as_deref().map_or("?", file_name);
    Text::from(format!("{file}+{:#x}", frame.offset.unwrap_or(0)).as_str())
}
