//! A tournament tree of loads: the least of them, and a fair draw among equals, in O(log n).

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::scale;

/// Shares a tree between the candidates of one pool, which report to it, and the pool, which asks it.
///
/// It costs nothing until it is asked for the first time.
#[derive(Debug, Default)]
pub(super) struct LeastLoaded {
    /// Set before the tree is filled. Both this and the counters of candidates are sequentially consistent, so either a
    /// candidate that changes sees that it must report, or filling the tree sees the change.
    active: AtomicBool,
    tree: Mutex<Tree>,
}

impl LeastLoaded {
    /// Returns the position of a least score; `scores` fills the tree if this is the first time.
    pub(super) fn find(
        &self,
        random: u64,
        scores: impl ExactSizeIterator<Item = u64>,
    ) -> Option<usize> {
        let mut tree = self.tree.lock();
        if !self.active.swap(true, Ordering::SeqCst) {
            tree.fill(scores);
        }
        tree.least(random)
    }

    /// Sets the score at a position; `score` is read under the lock, so that the last report is the newest.
    pub(super) fn report(&self, position: usize, score: impl FnOnce() -> u64) {
        if self.active.load(Ordering::SeqCst) {
            self.tree.lock().set(position, score());
        }
    }

    /// Takes a position out.
    pub(super) fn clear(&self, position: usize) {
        if self.active.load(Ordering::SeqCst) {
            self.tree.lock().put(position, Node::EMPTY);
        }
    }
}

/// The least score below a node, and how many leaves have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Node {
    score: u64,
    ties: u32,
}

impl Node {
    const EMPTY: Self = Self {
        score: u64::MAX,
        ties: 0,
    };

    fn over(left: Self, right: Self) -> Self {
        match left.score.cmp(&right.score) {
            std::cmp::Ordering::Less => left,
            std::cmp::Ordering::Greater => right,
            std::cmp::Ordering::Equal => Self {
                score: left.score,
                ties: left.ties + right.ties,
            },
        }
    }
}

/// A complete binary tree: the root is 1, the children of `i` are `2 i` and `2 i + 1`, the second half are leaves.
#[derive(Debug, Default)]
struct Tree {
    nodes: Vec<Node>,
}

impl Tree {
    fn leaves(&self) -> usize {
        self.nodes.len() / 2
    }

    fn fill(&mut self, scores: impl ExactSizeIterator<Item = u64>) {
        let leaves = scores.len().max(1).next_power_of_two();
        self.nodes = vec![Node::EMPTY; 2 * leaves];
        for (position, score) in scores.enumerate() {
            self.nodes[leaves + position] = Node { score, ties: 1 };
        }
        self.play_all();
    }

    fn play_all(&mut self) {
        for at in (1..self.leaves()).rev() {
            self.nodes[at] = Node::over(self.nodes[2 * at], self.nodes[2 * at + 1]);
        }
    }

    fn set(&mut self, position: usize, score: u64) {
        if position >= self.leaves() {
            self.grow(position + 1);
        }
        self.put(position, Node { score, ties: 1 });
    }

    fn put(&mut self, position: usize, node: Node) {
        let mut at = self.leaves() + position;
        if position >= self.leaves() || self.nodes[at] == node {
            return;
        }
        self.nodes[at] = node;
        while at > 1 {
            at /= 2;
            let winner = Node::over(self.nodes[2 * at], self.nodes[2 * at + 1]);
            if self.nodes[at] == winner {
                return;
            }
            self.nodes[at] = winner;
        }
    }

    fn grow(&mut self, positions: usize) {
        let old = self.leaves();
        let leaves = positions.next_power_of_two();
        let mut nodes = vec![Node::EMPTY; 2 * leaves];
        nodes[leaves..leaves + old].copy_from_slice(&self.nodes[old..]);
        self.nodes = nodes;
        self.play_all();
    }

    fn least(&self, random: u64) -> Option<usize> {
        let root = *self.nodes.get(1)?;
        if root.ties == 0 {
            return None;
        }
        let mut rank = scale(random, u64::from(root.ties)) as u32;
        let mut at = 1;
        while at < self.leaves() {
            at *= 2;
            let left = self.nodes[at];
            let ties = if left.score == root.score {
                left.ties
            } else {
                0
            };
            if rank >= ties {
                rank -= ties;
                at += 1;
            }
        }
        Some(at - self.leaves())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn positions_of_least(scores: &[Option<u64>]) -> Vec<usize> {
        let least = scores.iter().flatten().min();
        (0..scores.len())
            .filter(|&i| scores[i].is_some() && scores[i].as_ref() == least)
            .collect()
    }

    proptest! {
        #[test]
        fn the_draw_is_uniform_among_the_least_after_any_changes(
            steps in prop::collection::vec((0..40usize, prop::option::of(0..5u64)), 1..80),
        ) {
            let least_loaded = LeastLoaded::default();
            prop_assert_eq!(least_loaded.find(0, [].into_iter()), None);
            let mut model = vec![None; 40];
            for (position, score) in steps {
                model[position] = score;
                match score {
                    Some(score) => least_loaded.report(position, || score),
                    None => least_loaded.clear(position),
                }
                let expected = positions_of_least(&model);
                // Evenly spaced random numbers, one in the middle of each equal share.
                let drawn: Vec<usize> = (0..expected.len() as u64)
                    .filter_map(|i| {
                        let share = u64::MAX / expected.len() as u64;
                        least_loaded.find(share * i + share / 2, [].into_iter())
                    })
                    .collect();
                prop_assert_eq!(drawn, expected);
            }
        }

        #[test]
        fn filling_is_the_same_as_reporting_each(scores in prop::collection::vec(0..5u64, 1..40), random: u64) {
            let (filled, reported) = (LeastLoaded::default(), LeastLoaded::default());
            reported.find(0, [].into_iter());
            for (position, &score) in scores.iter().enumerate() {
                reported.report(position, || score);
            }
            prop_assert_eq!(filled.find(random, scores.iter().copied()), reported.find(random, [].into_iter()));
        }
    }
}
