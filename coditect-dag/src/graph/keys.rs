//! The keys of a graph: one text for all, and a table of positions to find them by.

use std::hash::{BuildHasher, RandomState};

/// Marks a free slot of the table.
const FREE: u32 = u32::MAX;

/// Numbers distinct texts in the order in which they come.
///
/// A key costs its bytes plus about 16: there is one allocation for all texts, not one each.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    text: String,
    /// Where each key ends in `text`.
    ends: Vec<usize>,
    /// Open addressing with linear probing; the length is a power of two, at most 3/4 in use.
    slots: Vec<u32>,
    /// Keys may come from outside, so their hashes must not be foreseeable.
    hasher: RandomState,
}

impl Keys {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.text.capacity()
            + self.ends.capacity() * size_of::<usize>()
            + self.slots.capacity() * size_of::<u32>()
    }

    pub(super) fn get(&self, position: usize) -> Option<&str> {
        let end = *self.ends.get(position)?;
        let start = position
            .checked_sub(1)
            .map_or(0, |before| self.ends[before]);
        Some(&self.text[start..end])
    }

    pub(super) fn find(&self, key: &str) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        match self.slots[self.slot(key)] {
            FREE => None,
            position => Some(position),
        }
    }

    /// Adds a key, or tells the position of the one that is already there.
    pub(super) fn insert(&mut self, key: &str) -> Result<(), u32> {
        if (self.len() + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        let slot = self.slot(key);
        if self.slots[slot] != FREE {
            return Err(self.slots[slot]);
        }
        self.slots[slot] = self.len() as u32;
        self.text.push_str(key);
        self.ends.push(self.text.len());
        Ok(())
    }

    /// Returns the slot of a key, or the free one where it belongs.
    fn slot(&self, key: &str) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = self.hasher.hash_one(key) as usize & mask;
        while self.slots[slot] != FREE && self.get(self.slots[slot] as usize) != Some(key) {
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn grow(&mut self) {
        let capacity = (self.slots.len() * 2).max(8);
        self.slots.clear();
        self.slots.resize(capacity, FREE);
        let mask = capacity - 1;
        for position in 0..self.len() {
            let hash = self.hasher.hash_one(self.get(position).unwrap_or_default());
            let mut slot = hash as usize & mask;
            while self.slots[slot] != FREE {
                slot = (slot + 1) & mask;
            }
            self.slots[slot] = position as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_at_their_positions() {
        let mut keys = Keys::default();
        assert_eq!(keys.find("0"), None);
        for position in 0..1000_u32 {
            assert_eq!(keys.insert(&position.to_string()), Ok(()));
        }
        for position in 0..1000_u32 {
            let key = position.to_string();
            assert_eq!(keys.find(&key), Some(position));
            assert_eq!(keys.get(position as usize), Some(key.as_str()));
            assert_eq!(keys.insert(&key), Err(position));
        }
        assert_eq!(keys.find("1000"), None);
        assert_eq!(keys.get(1000), None);
        assert_eq!(keys.len(), 1000);
    }

    #[test]
    fn the_empty_text_is_a_key_too() {
        let mut keys = Keys::default();
        assert_eq!(keys.insert(""), Ok(()));
        assert_eq!(keys.insert("a"), Ok(()));
        assert_eq!(keys.get(0), Some(""));
        assert_eq!(keys.find(""), Some(0));
    }
}
