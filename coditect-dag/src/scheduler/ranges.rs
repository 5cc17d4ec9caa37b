//! Where the tasks of one graph stand among those of its run.

use std::iter::FusedIterator;
use std::ops::Range;

use crate::TaskId;

/// Maps the positions of a graph's tasks to their ids in the run, and back.
///
/// The tasks of a graph stand together, but for those that a [`Patch`](super::Patch) has added: these come behind
/// everything that was there at the time. Positions and ids both ascend, and neither ever changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRanges {
    first: u32,
    /// How many stand together from there on.
    head: u32,
    /// What was added, with the position of the first of each; empty for nearly every graph.
    more: Vec<(u32, Range<u32>)>,
    /// Of all of them.
    total: u32,
}

impl TaskRanges {
    /// Says that the graph has so many tasks, from this one on.
    #[must_use]
    pub const fn new(first: u32, len: u32) -> Self {
        Self {
            first,
            head: len,
            more: Vec::new(),
            total: len,
        }
    }

    /// Adds tasks that stand from this one on, behind all that are there.
    pub fn extend(&mut self, first: u32, len: u32) {
        if len > 0 {
            self.more.push((self.total, first..first + len));
            self.total += len;
        }
    }

    /// Returns how many tasks the graph has.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.total
    }

    /// Tells whether the graph has no task.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Returns the id of the task at a position.
    #[inline]
    #[must_use]
    pub fn task(&self, position: u32) -> Option<TaskId> {
        if position < self.head {
            return Some(TaskId::new(self.first + position));
        }
        let index = self.more.partition_point(|(begin, _)| *begin <= position);
        let (begin, range) = &self.more[index.checked_sub(1)?];
        let task = range.start + (position - begin);
        (task < range.end).then(|| TaskId::new(task))
    }

    /// Returns the position of a task, if it belongs to the graph.
    #[inline]
    #[must_use]
    pub fn position(&self, task: TaskId) -> Option<u32> {
        let task = task.get();
        if (self.first..self.first + self.head).contains(&task) {
            return Some(task - self.first);
        }
        let index = self.more.partition_point(|(_, range)| range.start <= task);
        let (begin, range) = &self.more[index.checked_sub(1)?];
        (task < range.end).then(|| begin + (task - range.start))
    }

    /// Iterates over the ids, in the order of the positions.
    pub fn iter(
        &self,
    ) -> impl DoubleEndedIterator<Item = TaskId> + FusedIterator + Clone + use<'_> {
        self.ranges().flatten().map(TaskId::new)
    }

    /// Returns what stands together.
    pub(super) fn ranges(
        &self,
    ) -> impl DoubleEndedIterator<Item = Range<u32>> + FusedIterator + Clone + use<'_> {
        let more = self.more.iter().map(|(_, range)| range.clone());
        std::iter::once(self.first..self.first + self.head).chain(more)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.more.capacity() * size_of::<(u32, Range<u32>)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_and_ids_lead_to_each_other() {
        let mut ranges = TaskRanges::new(3, 2);
        ranges.extend(9, 0);
        ranges.extend(9, 1);
        ranges.extend(20, 3);
        let ids = [3, 4, 9, 20, 21, 22];
        assert_eq!(ranges.len(), 6);
        assert!(ranges.iter().map(TaskId::get).eq(ids));
        for (position, id) in ids.into_iter().enumerate() {
            let (position, id) = (position as u32, TaskId::new(id));
            assert_eq!(ranges.task(position), Some(id));
            assert_eq!(ranges.position(id), Some(position));
        }
        assert_eq!(ranges.task(6), None);
        for id in [0, 2, 5, 8, 10, 19, 23] {
            assert_eq!(ranges.position(TaskId::new(id)), None, "{id}");
        }
    }

    #[test]
    fn what_begins_empty_can_grow() {
        let mut ranges = TaskRanges::new(7, 0);
        assert!(ranges.is_empty() && ranges.task(0).is_none());
        ranges.extend(7, 1);
        assert_eq!(ranges.position(TaskId::new(7)), Some(0));
        assert_eq!(ranges.position(TaskId::new(6)), None);
    }
}
