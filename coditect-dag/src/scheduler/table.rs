//! What the scheduler keeps of each task, and who waits for whom.

use std::ops::Range;

use super::transition::StateCell;

/// Stands for no task, no neighbour in a queue.
pub(super) const NONE: u32 = u32::MAX;

/// One task; everything that is alike for many tasks lives in their common profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) state: StateCell,
    /// The task is running and its subtasks are its outcome to be.
    pub(super) expanded: bool,
    /// What the task's spec says.
    pub(super) profile: u32,
    /// The scope in which the task is.
    pub(super) scope: u32,
    /// The current or last attempt, 0 before the first.
    pub(super) attempt: u32,
    pub(super) failures: u32,
    pub(super) losses: u32,
    /// How many upstreams are final and did not succeed.
    pub(super) broken: u32,
    /// The task before this one in its queue.
    pub(super) previous: u32,
    /// The task behind this one in its queue.
    pub(super) next: u32,
}

impl Record {
    pub(super) const fn new(profile: u32, scope: u32) -> Self {
        Self {
            state: StateCell::new(),
            expanded: false,
            profile,
            scope,
            attempt: 0,
            failures: 0,
            losses: 0,
            broken: 0,
            previous: NONE,
            next: NONE,
        }
    }
}

/// Who waits for whom, in compressed sparse rows: the row of a task lists its downstreams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Downstreams {
    /// Where each row begins in `targets`; one more entry says where the last one ends.
    first: Vec<u32>,
    targets: Vec<u32>,
}

impl Downstreams {
    pub(super) fn with_capacity(tasks: usize, edges: usize) -> Self {
        let mut first = Vec::with_capacity(tasks + 1);
        first.push(0);
        Self {
            first,
            targets: Vec::with_capacity(edges),
        }
    }

    /// Tells whether that many more edges can be numbered.
    pub(super) fn has_room_for(&self, edges: usize) -> bool {
        self.targets.len() + edges < u32::MAX as usize
    }

    #[inline]
    pub(super) fn of(&self, task: u32) -> Range<usize> {
        self.first[task as usize] as usize..self.first[task as usize + 1] as usize
    }

    #[inline]
    pub(super) fn target(&self, edge: usize) -> u32 {
        self.targets[edge]
    }

    /// Tells whether nothing waits for a task.
    #[inline]
    pub(super) fn is_sink(&self, task: u32) -> bool {
        self.of(task).is_empty()
    }

    /// Adds rows for `count` tasks, whose edges count positions from the first of them.
    pub(super) fn append<E>(&mut self, count: usize, edges: E)
    where
        E: DoubleEndedIterator<Item = (u32, u32)> + Clone,
    {
        let base = self.first.len() - 1;
        self.first.resize(base + count + 1, 0);
        let (mut end, rows) = (self.targets.len() as u32, &mut self.first[base..]);
        rows[0] = 0;
        for (upstream, _) in edges.clone() {
            rows[upstream as usize] += 1;
        }
        for row in rows.iter_mut() {
            end += *row;
            *row = end;
        }
        // Each row now says where it ends; filling it from behind leaves where it begins.
        self.targets.resize(end as usize, 0);
        for (upstream, task) in edges.rev() {
            let row = &mut rows[upstream as usize];
            *row -= 1;
            self.targets[*row as usize] = base as u32 + task;
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        (self.first.capacity() + self.targets.capacity()) * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(table: &Downstreams) -> Vec<Vec<u32>> {
        (0..table.first.len() as u32 - 1)
            .map(|task| table.of(task).map(|edge| table.target(edge)).collect())
            .collect()
    }

    #[test]
    fn rows_keep_the_order_of_the_edges() {
        let mut table = Downstreams::with_capacity(3, 3);
        table.append(3, [(0, 2), (1, 2), (0, 1)].into_iter());
        assert_eq!(rows(&table), [vec![2, 1], vec![2], vec![]]);
        assert!(table.is_sink(2));
        assert!(!table.is_sink(0));
    }

    #[test]
    fn appended_rows_point_behind_the_first_ones() {
        let mut table = Downstreams::with_capacity(0, 0);
        table.append(2, [(0, 1)].into_iter());
        table.append(0, std::iter::empty());
        table.append(3, [(2, 1), (0, 1)].into_iter());
        assert_eq!(rows(&table), [vec![1], vec![], vec![3], vec![], vec![3]]);
    }
}
