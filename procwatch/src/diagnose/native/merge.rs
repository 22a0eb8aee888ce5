//! Exact counts of stacks that frame pointers tell apart, shared out over those that unwinding tells apart.

use std::collections::HashMap;

use crate::creators::CreatorStack;

/// Creations by one whole stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Merged {
    /// Addresses, innermost first.
    pub(super) frames: Vec<u64>,
    /// Threads created.
    pub(super) count: u64,
    /// Threads refused.
    pub(super) refused: u64,
    /// The count was shared out by samples.
    pub(super) estimated: bool,
}

/// Shares each stack's count out over the unwound stacks of its samples, and puts equal ones together; most first.
///
/// `unwound` has the stack of each sample by the number of its [`CreatorStack`]. Code without frame pointers has many
/// stacks that are none, each with a number of its own and most without a sample: those are shared out over the samples
/// that they may be of. `is_code` says whether an address can be of code.
pub(super) fn merge(
    stacks: &[CreatorStack],
    unwound: &HashMap<u64, Vec<Vec<u64>>>,
    is_code: impl Fn(u64) -> bool,
) -> Vec<Merged> {
    // A walk that came no further than its first address knows less than the frame pointers.
    let samples: Vec<&Vec<u64>> = unwound.values().flatten().filter(|frames| frames.len() > 1).collect();
    let mut all: HashMap<Vec<u64>, Merged> = HashMap::new();
    for stack in stacks {
        let own: Vec<&Vec<u64>> =
            unwound.get(&stack.hash).into_iter().flatten().filter(|frames| frames.len() > 1).collect();
        let parts = if own.is_empty() {
            let frames = by_return_address(&stack.frames, &is_code);
            let like = alike(&frames, &samples);
            if like.is_empty() { vec![whole(stack, frames)] } else { shared_out(stack, &like, true) }
        } else {
            shared_out(stack, &own, false)
        };
        for part in parts {
            let same = all
                .entry(part.frames.clone())
                .or_insert_with(|| Merged { frames: part.frames, ..Merged::default() });
            same.count += part.count;
            same.refused += part.refused;
            same.estimated |= part.estimated;
        }
    }
    let mut all: Vec<Merged> = all.into_values().filter(|it| it.count + it.refused > 0).collect();
    all.sort_by(|a, b| (b.count, b.refused).cmp(&(a.count, a.refused)).then_with(|| a.frames.cmp(&b.frames)));
    all
}

fn whole(stack: &CreatorStack, frames: Vec<u64>) -> Merged {
    Merged { frames, count: stack.count, refused: stack.refused, estimated: false }
}

/// The samples that begin at the same address; of those the ones, if any, that pass through all its frames.
fn alike<'a>(frames: &[u64], samples: &[&'a Vec<u64>]) -> Vec<&'a Vec<u64>> {
    let same_start: Vec<&Vec<u64>> =
        samples.iter().copied().filter(|it| it.first() == frames.first()).collect();
    let through = |sample: &&Vec<u64>| frames.iter().all(|frame| sample.contains(frame));
    let best: Vec<&Vec<u64>> = same_start.iter().copied().filter(through).collect();
    if best.is_empty() { same_start } else { best }
}

fn shared_out(stack: &CreatorStack, samples: &[&Vec<u64>], is_guess: bool) -> Vec<Merged> {
    let mut distinct: Vec<(&Vec<u64>, u64)> = Vec::new();
    for frames in samples {
        match distinct.iter_mut().find(|(it, _)| it == frames) {
            Some((_, times)) => *times += 1,
            None => distinct.push((frames, 1)),
        }
    }
    // So that what is left over goes the same way each time.
    distinct.sort_unstable();
    let weights: Vec<u64> = distinct.iter().map(|(_, times)| *times).collect();
    let numbers = shares(stack.count, &weights).into_iter().zip(shares(stack.refused, &weights));
    let estimated = is_guess || distinct.len() > 1;
    let merged = |((frames, _), (count, refused)): ((&Vec<u64>, u64), (u64, u64))| Merged {
        frames: frames.clone(),
        count,
        refused,
        estimated,
    };
    distinct.into_iter().zip(numbers).map(merged).collect()
}

/// The frames up to the first that is none. All but the innermost are return addresses: the call stands before them.
fn by_return_address(frames: &[u64], is_code: &impl Fn(u64) -> bool) -> Vec<u64> {
    let address = |(index, frame): (usize, &u64)| frame.saturating_sub(u64::from(index > 0));
    frames.iter().enumerate().map(address).take_while(|address| is_code(*address)).collect()
}

/// Shares a number out by weights, whole, so that the parts add up to it: the largest remainders get what is left.
fn shares(number: u64, weights: &[u64]) -> Vec<u64> {
    let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    if total == 0 {
        return vec![0; weights.len()];
    }
    let products: Vec<u128> = weights.iter().map(|weight| u128::from(number) * u128::from(*weight)).collect();
    let mut parts: Vec<u64> = products.iter().map(|product| (product / total) as u64).collect();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(products[*index] % total));
    let left = number - parts.iter().sum::<u64>();
    for index in order.into_iter().take(left as usize) {
        parts[index] += 1;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stack(hash: u64, count: u64, frames: &[u64]) -> CreatorStack {
        CreatorStack { hash, count, refused: 0, frames: frames.to_vec() }
    }

    fn merged(stacks: &[CreatorStack], samples: &[(u64, &[u64])]) -> Vec<(Vec<u64>, u64, bool)> {
        let mut unwound: HashMap<u64, Vec<Vec<u64>>> = HashMap::new();
        for (hash, frames) in samples {
            unwound.entry(*hash).or_default().push(frames.to_vec());
        }
        merge(stacks, &unwound, |address| address < 1000)
            .into_iter()
            .map(|it| (it.frames, it.count, it.estimated))
            .collect()
    }

    #[test]
    fn without_samples_frame_pointers_count() {
        let found = merged(&[stack(1, 10, &[5, 100]), stack(2, 20, &[6])], &[]);
        assert_eq!(found, [(vec![6], 20, false), (vec![5, 99], 10, false)]);
    }

    #[test]
    fn equal_unwound_stacks_are_one() {
        let found = merged(&[stack(1, 10, &[5]), stack(2, 7, &[5, 1])], &[(1, &[5, 8]), (2, &[5, 8])]);
        assert_eq!(found, [(vec![5, 8], 17, false)]);
    }

    #[test]
    fn a_stack_that_splits_is_shared_out_and_marked() {
        let found = merged(&[stack(1, 10, &[5])], &[(1, &[5, 8]), (1, &[5, 8]), (1, &[5, 9])]);
        assert_eq!(found, [(vec![5, 8], 7, true), (vec![5, 9], 3, true)]);
    }

    #[test]
    fn a_walk_that_ended_at_once_is_not_believed() {
        assert_eq!(merged(&[stack(1, 3, &[5, 8])], &[(1, &[5])]), [(vec![5, 7], 3, false)]);
    }

    #[test]
    fn what_no_frame_pointer_leads_through_is_shared_out_over_the_samples() {
        let stacks = [stack(1, 10, &[5]), stack(2, 1, &[5, 5000]), stack(3, 1, &[5, 6000, 1])];
        assert_eq!(merged(&stacks, &[(1, &[5, 8])]), [(vec![5, 8], 12, true)]);
        // Frames that hold choose among the samples.
        let stacks = [stack(1, 4, &[5]), stack(2, 4, &[5, 1]), stack(3, 7, &[5, 10])];
        let found = merged(&stacks, &[(1, &[5, 8]), (2, &[5, 9, 8])]);
        assert_eq!(found, [(vec![5, 9, 8], 11, true), (vec![5, 8], 4, false)]);
    }

    proptest! {
        #[test]
        fn shares_add_up(number in any::<u32>(), weights in proptest::collection::vec(1_u64..100, 1..20)) {
            let parts = shares(u64::from(number), &weights);
            prop_assert_eq!(parts.iter().sum::<u64>(), u64::from(number));
        }
    }
}
