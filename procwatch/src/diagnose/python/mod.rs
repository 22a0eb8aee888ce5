//! Who creates the threads of a Python program.

mod choose;
mod frames;
mod look;
mod reach;
#[cfg(test)]
pub(crate) mod testing;

use std::{collections::HashMap, time::Duration};

pub use self::{
    choose::{Known, Site, dominant, sites},
    frames::{Frame, Origin, Role, Start, Thread},
    look::{Looks, look},
};
use super::report::{StackFrame, StackGroup};
use crate::text::Text;

/// How long all looks may take.
pub const LOOK_LIMIT: Duration = Duration::from_secs(3);
/// Most frames of a group that are told.
const MAX_FRAMES: usize = 12;

/// The threads of a look by their frames, most first.
pub fn groups(threads: &[Thread]) -> Vec<StackGroup> {
    let mut counts: HashMap<&[Frame], u32> = HashMap::new();
    for thread in threads {
        *counts.entry(&thread.frames).or_default() += 1;
    }
    let mut groups: Vec<(&[Frame], u32)> = counts.into_iter().collect();
    groups.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| shown(a.0).cmp(&shown(b.0))));
    groups.into_iter().map(|(frames, count)| StackGroup { count, frames: told(frames) }).collect()
}

fn shown(frames: &[Frame]) -> Option<(&str, u32, &str)> {
    frames.first().map(|frame| (frame.file.as_str(), frame.line, frame.function.as_str()))
}

fn told(frames: &[Frame]) -> Vec<StackFrame> {
    let frame = |frame: &Frame| StackFrame {
        function: Text::from(frame.function.as_str()),
        file: Some(Text::from(frame.file.as_str())),
        line: Some(frame.line).filter(|line| *line > 0),
        module: None,
        offset: None,
        build_id: None,
    };
    frames.iter().take(MAX_FRAMES).map(frame).collect()
}

#[cfg(test)]
mod tests {
    use super::{testing::thread, *};

    #[test]
    fn threads_with_the_same_frames_are_one_group() {
        let a = [("f", "/a.py", 1), ("<module>", "/a.py", 9)];
        let threads = [thread(1, &[("g", "/a.py", 2)]), thread(2, &a), thread(3, &a)];
        let groups = groups(&threads);
        assert_eq!(groups.iter().map(|it| it.count).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(groups[0].frames.len(), 2);
        assert_eq!(groups[0].frames[1].line, Some(9));
    }
}
