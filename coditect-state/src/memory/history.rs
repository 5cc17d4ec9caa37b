//! Keys with their values over time, and who still reads which time.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use bytes::Bytes;

use crate::error::{Error, Result};

/// How many outdated keys are tidied for each one that a commit touches, so that tidying keeps up.
const TIDY_RATE: usize = 4;

/// Is all that the store holds, readable at the version of every registered reader.
pub(super) struct History {
    keys: BTreeMap<Bytes, Chain>,
    version: u64,
    readers: Readers,
    /// Keys that have an older value or a tombstone, with the version that outdated it.
    outdated: VecDeque<(u64, Bytes)>,
    /// How many versions a reader may lie back.
    depth: u64,
}

/// Is one key's values, newest apart; `None` says that the key was cleared.
struct Chain {
    at: u64,
    value: Option<Bytes>,
    /// In ascending order of version; empty unless a reader may need them.
    older: Vec<(u64, Option<Bytes>)>,
}

impl Chain {
    fn at(&self, version: u64) -> Option<&Bytes> {
        if self.at <= version {
            return self.value.as_ref();
        }
        let newest = self.older.iter().rev().find(|(at, _)| *at <= version);
        newest.and_then(|(_, value)| value.as_ref())
    }

    /// Forgets what nobody who reads `oldest` or later can see.
    fn forget(&mut self, oldest: u64) {
        if self.at <= oldest {
            self.older = Vec::new();
        } else if let Some(seen) = self.older.iter().rposition(|(at, _)| *at <= oldest) {
            self.older.drain(..seen);
        }
    }
}

impl History {
    pub(super) fn new(depth: u64) -> Self {
        Self {
            keys: BTreeMap::new(),
            version: 0,
            readers: Readers::default(),
            outdated: VecDeque::new(),
            depth,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Registers a reader of the present state; each must be taken out again with `end_read`.
    pub(super) fn begin_read(&mut self) -> u64 {
        self.readers.add(self.version);
        self.version
    }

    pub(super) fn end_read(&mut self, version: u64) {
        self.readers.remove(version);
        self.tidy(TIDY_RATE);
    }

    /// Fails if a state is no longer kept.
    pub(super) fn check_age(&self, version: u64) -> Result<()> {
        if version < self.readers.floor {
            return Err(Error::conflict(
                "transaction has fallen behind the history that is kept",
            ));
        }
        Ok(())
    }

    pub(super) fn get(&self, key: &[u8], version: u64) -> Option<&Bytes> {
        self.keys.get(key)?.at(version)
    }

    /// Lists what is in `begin..end`, which must not be inverted, at this version.
    pub(super) fn range<'a>(
        &'a self,
        begin: &[u8],
        end: &[u8],
        version: u64,
    ) -> impl DoubleEndedIterator<Item = (&'a Bytes, &'a Bytes)> {
        let chains = self
            .keys
            .range::<[u8], _>((Bound::Included(begin), Bound::Excluded(end)));
        chains.filter_map(move |(key, chain)| Some((key, chain.at(version)?)))
    }

    pub(super) fn changed_since(&self, key: &[u8], version: u64) -> bool {
        self.keys.get(key).is_some_and(|chain| chain.at > version)
    }

    /// Returns whether a key of `begin..end` was set or cleared after this version: cleared keys stay
    /// as tombstones while a reader is registered that could have seen them.
    pub(super) fn range_changed_since(&self, begin: &[u8], end: &[u8], version: u64) -> bool {
        let mut chains = self
            .keys
            .range::<[u8], _>((Bound::Included(begin), Bound::Excluded(end)));
        chains.any(|(_, chain)| chain.at > version)
    }

    /// Starts the next version; the writes that follow belong to it.
    pub(super) fn begin_version(&mut self) -> u64 {
        self.version += 1;
        self.readers
            .drop_before(self.version.saturating_sub(self.depth));
        self.version
    }

    pub(super) fn set(&mut self, key: Bytes, value: Bytes) {
        self.write(key, Some(value));
    }

    pub(super) fn clear(&mut self, key: Bytes) {
        self.write(key, None);
    }

    /// Clears all keys in `begin..end`, telling of each that was there.
    pub(super) fn clear_range(
        &mut self,
        begin: &[u8],
        end: &[u8],
        mut cleared: impl FnMut(&Bytes),
    ) {
        let chains = self
            .keys
            .range::<[u8], _>((Bound::Included(begin), Bound::Excluded(end)));
        let present = chains
            .filter(|(_, chain)| chain.value.is_some())
            .map(|(key, _)| key.clone());
        for key in present.collect::<Vec<_>>() {
            cleared(&key);
            self.write(key, None);
        }
    }

    fn write(&mut self, key: Bytes, value: Option<Bytes>) {
        let at = self.version;
        let oldest = self.readers.oldest().unwrap_or(at);
        match self.keys.entry(key) {
            Entry::Vacant(vacant) => {
                // A key that was not there and is cleared was not there for any reader.
                if value.is_some() {
                    vacant.insert(Chain {
                        at,
                        value,
                        older: Vec::new(),
                    });
                }
            }
            Entry::Occupied(occupied) if oldest >= at && value.is_none() => {
                occupied.remove();
            }
            Entry::Occupied(mut occupied) => {
                let outdated = (at, occupied.key().clone());
                let chain = occupied.get_mut();
                let before = (
                    std::mem::replace(&mut chain.at, at),
                    std::mem::replace(&mut chain.value, value),
                );
                if oldest < at {
                    if before.0 < at {
                        chain.older.push(before);
                    }
                    self.outdated.push_back(outdated);
                }
                chain.forget(oldest);
            }
        }
        self.tidy(TIDY_RATE);
    }

    /// Forgets some of what no reader can see any more.
    fn tidy(&mut self, at_most: usize) {
        let oldest = self.readers.oldest().unwrap_or(self.version);
        for _ in 0..at_most {
            match self.outdated.front() {
                Some((version, _)) if *version <= oldest => {}
                _ => return,
            }
            let Some((_, key)) = self.outdated.pop_front() else {
                return;
            };
            if let Entry::Occupied(mut occupied) = self.keys.entry(key) {
                let chain = occupied.get_mut();
                chain.forget(oldest);
                if chain.value.is_none() && chain.at <= oldest {
                    occupied.remove();
                }
            }
        }
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.keys
            .values()
            .map(|chain| chain.older.len() + usize::from(chain.value.is_none()))
            .sum()
    }
}

/// Counts readers by version, in ascending order.
#[derive(Default)]
struct Readers {
    counts: VecDeque<(u64, usize)>,
    /// Readers of earlier versions have been dropped.
    floor: u64,
}

impl Readers {
    fn add(&mut self, version: u64) {
        match self.counts.back_mut() {
            Some((last, count)) if *last == version => *count += 1,
            _ => self.counts.push_back((version, 1)),
        }
    }

    fn remove(&mut self, version: u64) {
        let Ok(index) = self
            .counts
            .binary_search_by_key(&version, |(version, _)| *version)
        else {
            return;
        };
        self.counts[index].1 -= 1;
        while self.counts.front().is_some_and(|(_, count)| *count == 0) {
            self.counts.pop_front();
        }
    }

    fn drop_before(&mut self, floor: u64) {
        self.floor = floor;
        while self
            .counts
            .front()
            .is_some_and(|(version, count)| *version < floor || *count == 0)
        {
            self.counts.pop_front();
        }
    }

    fn oldest(&self) -> Option<u64> {
        self.counts.front().map(|(version, _)| *version)
    }
}
