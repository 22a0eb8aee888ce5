//! Exact counts of stacks that frame pointers tell apart, shared out over those that unwinding tells apart.

use std::collections::HashMap;

use crate::creators::CreatorStack;

/// Creations by one whole stack.
#[derive(Clone, Debug, PartialEq, Eq)]
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
/// `unwound` has the stack of each sample by the number of its [`CreatorStack`].
pub(super) fn merge(stacks: &[CreatorStack], unwound: &HashMap<u64, Vec<Vec<u64>>>) -> Vec<Merged> {
    let mut all: Vec<Merged> = Vec::new();
    let mut add = |part: Merged| match all.iter_mut().find(|it| it.frames == part.frames) {
        Some(same) => {
            same.count += part.count;
            same.refused += part.refused;
            same.estimated |= part.estimated;
        }
        None => all.push(part),
    };
    for stack in stacks {
        let parts = parts(stack, unwound.get(&stack.hash).map_or(&[][..], Vec::as_slice));
        parts.into_iter().for_each(&mut add);
    }
    all.sort_by(|a, b| (b.count, b.refused).cmp(&(a.count, a.refused)).then_with(|| a.frames.cmp(&b.frames)));
    all
}

fn parts(stack: &CreatorStack, samples: &[Vec<u64>]) -> Vec<Merged> {
    let mut distinct: Vec<(&Vec<u64>, u64)> = Vec::new();
    // A walk that came no further than its first address knows less than the frame pointers.
    for frames in samples.iter().filter(|frames| frames.len() > 1) {
        match distinct.iter_mut().find(|(it, _)| *it == frames) {
            Some((_, times)) => *times += 1,
            None => distinct.push((frames, 1)),
        }
    }
    if distinct.is_empty() {
        let frames = by_return_address(&stack.frames);
        return vec![Merged { frames, count: stack.count, refused: stack.refused, estimated: false }];
    }
    let weights: Vec<u64> = distinct.iter().map(|(_, times)| *times).collect();
    let (counts, refused) = (shares(stack.count, &weights), shares(stack.refused, &weights));
    let estimated = distinct.len() > 1;
    let numbers = counts.into_iter().zip(refused);
    let merged = |((frames, _), (count, refused)): ((&Vec<u64>, u64), (u64, u64))| Merged {
        frames: frames.clone(),
        count,
        refused,
        estimated,
    };
    distinct.into_iter().zip(numbers).map(merged).collect()
}

/// All but the innermost are return addresses: the call stands before them.
fn by_return_address(frames: &[u64]) -> Vec<u64> {
    let address = |(index, frame): (usize, &u64)| frame.saturating_sub(u64::from(index > 0));
    frames.iter().enumerate().map(address).collect()
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
        merge(stacks, &unwound).into_iter().map(|it| (it.frames, it.count, it.estimated)).collect()
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

    proptest! {
        #[test]
        fn shares_add_up(number in any::<u32>(), weights in proptest::collection::vec(1_u64..100, 1..20)) {
            let parts = shares(u64::from(number), &weights);
            prop_assert_eq!(parts.iter().sum::<u64>(), u64::from(number));
        }
    }
}
