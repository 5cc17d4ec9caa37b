//! Who waits until when.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use crate::Timestamp;

/// The tasks in backoff, by the end of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Backoffs {
    order: BTreeSet<(Timestamp, u32)>,
    until: FxHashMap<u32, Timestamp>,
}

impl Backoffs {
    pub(super) fn insert(&mut self, task: u32, until: Timestamp) {
        self.order.insert((until, task));
        self.until.insert(task, until);
    }

    pub(super) fn remove(&mut self, task: u32) {
        if let Some(until) = self.until.remove(&task) {
            self.order.remove(&(until, task));
        }
    }

    /// Takes out the task whose backoff ends first, if that is not after `now`.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<u32> {
        let &(until, task) = self.order.first()?;
        if until > now {
            return None;
        }
        self.remove(task);
        Some(task)
    }

    /// The tasks whose backoff ends by `now`, the first to end first.
    pub(super) fn due(&self, now: Timestamp) -> impl Iterator<Item = u32> {
        let due = self.order.range(..=(now, u32::MAX));
        due.map(|&(_, task)| task)
    }

    pub(super) fn first(&self) -> Option<Timestamp> {
        self.order.first().map(|&(until, _)| until)
    }

    pub(super) fn until(&self, task: u32) -> Option<Timestamp> {
        self.until.get(&task).copied()
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let entry = size_of::<(Timestamp, u32)>();
        (self.order.len() + self.until.capacity()) * entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_out_first_and_only_when_due() {
        let at = Timestamp::from_millis;
        let mut backoffs = Backoffs::default();
        backoffs.insert(1, at(30));
        backoffs.insert(2, at(10));
        backoffs.insert(3, at(20));
        backoffs.insert(4, at(15));
        backoffs.remove(4);
        backoffs.remove(4);
        assert_eq!(backoffs.first(), Some(at(10)));
        assert_eq!(backoffs.due(at(9)).count(), 0);
        assert_eq!(backoffs.due(at(20)).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(backoffs.pop_due(at(9)), None);
        assert_eq!(backoffs.pop_due(at(20)), Some(2));
        assert_eq!(backoffs.pop_due(at(20)), Some(3));
        assert_eq!(backoffs.pop_due(at(20)), None);
        assert_eq!(backoffs.until(1), Some(at(30)));
    }
}
