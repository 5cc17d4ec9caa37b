//! Which keys were changed lately: what commits are checked against.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use bytes::Bytes;

use crate::draft::ReadSet;
use crate::error::{Error, Result};
use crate::version::CommitVersion;

/// Is what one transaction has changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) keys: Vec<Bytes>,
    /// Ranges that were cleared and held too many keys to name them.
    pub(super) ranges: Vec<(Bytes, Bytes)>,
}

/// Remembers by which commit a key was last changed, as far back as somebody reads.
#[derive(Debug)]
pub(super) struct Conflicts {
    keys: BTreeMap<Bytes, CommitVersion>,
    ranges: VecDeque<(CommitVersion, Bytes, Bytes)>,
    /// In the order of commits, so that the oldest can be forgotten.
    log: VecDeque<(CommitVersion, Vec<Bytes>)>,
    /// Transactions that read an older state than this cannot be judged any more.
    floor: CommitVersion,
    history: usize,
}

impl Conflicts {
    pub(super) fn new(history: usize, floor: CommitVersion) -> Self {
        Self {
            keys: BTreeMap::new(),
            ranges: VecDeque::new(),
            log: VecDeque::new(),
            floor,
            history,
        }
    }

    pub(super) fn floor(&self) -> CommitVersion {
        self.floor
    }

    /// Fails if something that was read at `version` has changed since.
    pub(super) fn check(&self, reads: &ReadSet, version: CommitVersion) -> Result<()> {
        if version < self.floor {
            return Err(Error::conflict(
                "transaction has fallen behind the history that is kept",
            ));
        }
        let key = |key: &Bytes| {
            self.keys.get(key).is_some_and(|at| *at > version)
                || self.cleared_since(version, |begin, end| begin <= key && key < end)
        };
        let range = |(from, to): &(Bytes, Bytes)| {
            if from >= to {
                return false;
            }
            let mut inside = self
                .keys
                .range::<[u8], _>((Bound::Included(&**from), Bound::Excluded(&**to)));
            inside.any(|(_, at)| *at > version)
                || self.cleared_since(version, |begin, end| begin < to && from < end)
        };
        if reads.keys.iter().any(key) || reads.ranges.iter().any(range) {
            return Err(Error::conflict(
                "what was read has changed before the commit",
            ));
        }
        Ok(())
    }

    fn cleared_since(
        &self,
        version: CommitVersion,
        meets: impl Fn(&Bytes, &Bytes) -> bool,
    ) -> bool {
        let ranges = self.ranges.iter().rev();
        ranges
            .take_while(|(at, _, _)| *at > version)
            .any(|(_, begin, end)| meets(begin, end))
    }

    /// Takes note of what a commit has changed.
    pub(super) fn note(&mut self, version: CommitVersion, changes: &Changes) {
        for key in &changes.keys {
            self.keys.insert(key.clone(), version);
        }
        for (begin, end) in &changes.ranges {
            let range = (version, begin.clone(), end.clone());
            self.ranges.push_back(range);
        }
        self.log.push_back((version, changes.keys.clone()));
    }

    /// Forgets commits that are too many, and returns from which state on transactions can be judged.
    pub(super) fn bound(&mut self) -> CommitVersion {
        while self.log.len() > self.history {
            if let Some((version, _)) = self.log.front() {
                self.forget_until(*version);
            }
        }
        self.floor
    }

    /// Forgets commits that everybody who reads has seen.
    pub(super) fn forget_until(&mut self, seen: CommitVersion) {
        self.floor = self.floor.max(seen);
        while self.log.front().is_some_and(|(at, _)| *at <= seen) {
            let Some((at, keys)) = self.log.pop_front() else {
                return;
            };
            for key in keys {
                if self.keys.get(&key) == Some(&at) {
                    self.keys.remove(&key);
                }
            }
        }
        while self.ranges.front().is_some_and(|(at, _, _)| *at <= seen) {
            self.ranges.pop_front();
        }
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.keys.len() + self.ranges.len() + self.log.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(batch: u64) -> CommitVersion {
        CommitVersion::new(batch, 0)
    }

    fn changes(keys: &[&'static str], ranges: &[(&'static str, &'static str)]) -> Changes {
        let range = |(begin, end): &(&'static str, &'static str)| ((*begin).into(), (*end).into());
        Changes {
            keys: keys.iter().map(|key| (*key).into()).collect(),
            ranges: ranges.iter().map(range).collect(),
        }
    }

    fn reads(keys: &[&'static str], ranges: &[(&'static str, &'static str)]) -> ReadSet {
        let Changes { keys, ranges } = changes(keys, ranges);
        ReadSet { keys, ranges }
    }

    #[test]
    fn what_changed_after_it_was_read_conflicts() {
        let mut conflicts = Conflicts::new(10, at(0));
        conflicts.note(at(1), &changes(&["b"], &[]));
        conflicts.note(at(2), &changes(&[], &[("m", "p")]));
        for (reads, read_at, fine) in [
            (reads(&["b"], &[]), 0, false),
            (reads(&["b"], &[]), 1, true),
            (reads(&["a"], &[("c", "m")]), 0, true),
            (reads(&[], &[("a", "c")]), 0, false),
            (reads(&[], &[("a", "b")]), 0, true),
            (reads(&["o"], &[]), 1, false),
            (reads(&["p"], &[("p", "z")]), 1, true),
            (reads(&[], &[("o", "z")]), 1, false),
            (reads(&[], &[("z", "a")]), 0, true),
        ] {
            assert_eq!(
                conflicts.check(&reads, at(read_at)).is_ok(),
                fine,
                "{reads:?} at {read_at}"
            );
        }
    }

    #[test]
    fn what_nobody_reads_is_forgotten() {
        let mut conflicts = Conflicts::new(3, at(0));
        for batch in 1..=10 {
            conflicts.note(at(batch), &changes(&["a", "b"], &[("x", "y")]));
        }
        assert_eq!(conflicts.bound(), at(7));
        assert!(conflicts.check(&reads(&["z"], &[]), at(6)).is_err());
        assert!(conflicts.check(&reads(&["z"], &[]), at(7)).is_ok());
        conflicts.forget_until(at(10));
        assert_eq!(conflicts.remembered(), 0);
    }
}
