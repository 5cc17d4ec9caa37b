//! What a transaction has written and not yet committed.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::version::Stamped;

/// Is a transaction's writes: later ones replace earlier ones.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    /// Apply after `cleared`, and hide it.
    pub(crate) writes: BTreeMap<Bytes, Write>,
    pub(crate) cleared: RangeSet,
    pub(crate) stamped: Vec<StampedKey>,
    /// Ranges cleared after a stamped key was written; they may hold the key once it is known.
    pub(crate) late_clears: Vec<(Bytes, Bytes)>,
    /// In bytes; grows with every write.
    pub(crate) size: usize,
}

#[derive(Debug, Clone)]
pub(crate) enum Write {
    Set(Bytes),
    Stamped(Stamped),
    Clear,
}

#[derive(Debug)]
pub(crate) struct StampedKey {
    pub(crate) key: Stamped,
    pub(crate) value: Bytes,
    /// The first of `late_clears` that came after this write.
    pub(crate) clears: usize,
}

impl Buffer {
    pub(crate) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.cleared.is_empty() && self.stamped.is_empty()
    }

    /// Returns what the transaction itself has made of a key, or `None` if it is as stored.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Write> {
        let cleared = || self.cleared.contains(key).then_some(Write::Clear);
        self.writes.get(key).cloned().or_else(cleared)
    }

    pub(crate) fn clear_range(&mut self, begin: Bytes, end: Bytes) {
        let hidden = self
            .writes
            .range::<[u8], _>((Bound::Included(&*begin), Bound::Excluded(&*end)));
        for key in hidden.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.writes.remove(&key);
        }
        if !self.stamped.is_empty() {
            self.late_clears.push((begin.clone(), end.clone()));
        }
        self.cleared.insert(begin, end);
    }

    /// Returns whether a stamped key, now known, was cleared again by its own transaction.
    pub(crate) fn cleared_later(&self, stamped: &StampedKey, key: &[u8]) -> bool {
        self.late_clears[stamped.clears..]
            .iter()
            .any(|(begin, end)| **begin <= *key && *key < **end)
    }
}

/// Is a set of keys made of ranges that neither overlap nor touch.
#[derive(Debug, Clone, Default)]
pub(crate) struct RangeSet {
    ends: BTreeMap<Bytes, Bytes>,
}

impl RangeSet {
    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        let before = self
            .ends
            .range::<[u8], _>((Bound::Unbounded, Bound::Included(key)))
            .next_back();
        before.is_some_and(|(_, end)| *key < **end)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.ends.iter()
    }

    fn insert(&mut self, mut begin: Bytes, mut end: Bytes) {
        while let Some((other_begin, other_end)) = self.ends.range::<Bytes, _>(..=&end).next_back()
        {
            if *other_end < begin {
                break;
            }
            let other_begin = other_begin.clone();
            end = end.max(other_end.clone());
            begin = begin.min(other_begin.clone());
            self.ends.remove(&other_begin);
        }
        self.ends.insert(begin, end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_become_one() {
        let mut set = RangeSet::default();
        for (begin, end) in [("a", "c"), ("m", "p"), ("x", "z"), ("c", "d"), ("b", "n")] {
            set.insert(begin.into(), end.into());
        }
        let ranges: Vec<_> = set
            .iter()
            .map(|(begin, end)| (&begin[..], &end[..]))
            .collect();
        assert_eq!(ranges, [(&b"a"[..], &b"p"[..]), (b"x", b"z")]);
        assert!(set.contains(b"a") && set.contains(b"o") && set.contains(b"y"));
        assert!(!set.contains(b"p") && !set.contains(b"z") && !set.contains(b"A"));
    }
}
