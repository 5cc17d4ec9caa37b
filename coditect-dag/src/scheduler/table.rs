//! What the scheduler keeps of each task, and who waits for whom.

use std::ops::Range;

use super::transition::StateCell;

/// Stands for no task, no neighbour in a queue.
pub(super) const NONE: u32 = u32::MAX;

/// What most events touch of one task; what is alike for many tasks lives in their profile.
///
/// Half a cache line: in a large graph neighbours lie far apart, so that the lines touched are
/// what an event costs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(align(32))]
pub(super) struct Record {
    pub(super) state: StateCell,
    /// The task is running and its subtasks are its outcome to be.
    pub(super) expanded: bool,
    /// A patch took the task out of its graph.
    pub(super) removed: bool,
    /// What the task's spec says.
    pub(super) profile: u32,
    /// The scope in which the task is.
    pub(super) scope: u32,
    /// The current or last attempt, 0 before the first.
    pub(super) attempt: u32,
    /// The task before this one in its queue.
    pub(super) previous: u32,
    /// The task behind this one in its queue.
    pub(super) next: u32,
    /// Where the task's downstreams begin in the list of all.
    first: u32,
    /// How many downstreams the task has.
    downstreams: u32,
}

/// What only tasks have to do with that meet difficulties.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) failures: u32,
    pub(super) losses: u32,
    /// How many upstreams are final and did not succeed.
    pub(super) broken: u32,
}

impl Record {
    pub(super) const fn new(profile: u32, scope: u32) -> Self {
        Self {
            state: StateCell::new(),
            expanded: false,
            removed: false,
            profile,
            scope,
            attempt: 0,
            previous: NONE,
            next: NONE,
            first: 0,
            downstreams: 0,
        }
    }

    /// Returns where the task's downstreams are in the list of all.
    #[inline]
    pub(super) const fn row(&self) -> Range<usize> {
        self.first as usize..self.first as usize + self.downstreams as usize
    }

    /// Tells whether nothing waits for the task, so that how it ended matters to the whole.
    #[inline]
    pub(super) const fn is_sink(&self) -> bool {
        self.downstreams == 0 && !self.removed
    }

    /// Says where the task's downstreams are from now on.
    pub(super) const fn move_row(&mut self, first: usize, downstreams: usize) {
        self.first = first as u32;
        self.downstreams = downstreams as u32;
    }

    /// Says that the task has so many downstreams from now on, where they were.
    pub(super) const fn keep_first(&mut self, downstreams: usize) {
        self.downstreams = downstreams as u32;
    }
}

/// Writes down who waits for whom, in compressed sparse rows: the records of the tasks from `base`
/// on say where in `targets` their rows are. The edges count positions from `base`.
pub(super) fn append_rows<E>(
    tasks: &mut [Record],
    waiting: &mut [u32],
    targets: &mut Vec<u32>,
    base: u32,
    edges: E,
) where
    E: DoubleEndedIterator<Item = (u32, u32)> + Clone,
{
    let tasks = &mut tasks[base as usize..];
    let waiting = &mut waiting[base as usize..];
    // Edges jump about, so that they should do it in something smaller than the records.
    let mut rows = vec![0_u32; tasks.len()];
    for (upstream, task) in edges.clone() {
        rows[upstream as usize] += 1;
        waiting[task as usize] += 1;
    }
    let mut end = targets.len() as u32;
    for (row, task) in rows.iter_mut().zip(tasks) {
        task.first = end;
        task.downstreams = *row;
        end += *row;
        *row = end;
    }
    // Each row now says where it ends; filling it from behind leaves where it begins.
    targets.resize(end as usize, 0);
    for (upstream, task) in edges.rev() {
        let row = &mut rows[upstream as usize];
        *row -= 1;
        targets[*row as usize] = base + task;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Table {
        tasks: Vec<Record>,
        waiting: Vec<u32>,
        targets: Vec<u32>,
    }

    impl Table {
        fn append(&mut self, count: usize, edges: &[(u32, u32)]) {
            let base = self.tasks.len();
            self.tasks.resize(base + count, Record::new(0, 0));
            self.waiting.resize(base + count, 0);
            append_rows(
                &mut self.tasks,
                &mut self.waiting,
                &mut self.targets,
                base as u32,
                edges.iter().copied(),
            );
        }

        fn rows(&self) -> Vec<&[u32]> {
            let rows = self.tasks.iter().map(Record::row);
            rows.map(|row| &self.targets[row]).collect()
        }
    }

    #[test]
    fn a_record_is_half_a_cache_line() {
        assert_eq!(size_of::<Record>(), 32);
    }

    #[test]
    fn rows_keep_the_order_of_the_edges() {
        let mut table = Table::default();
        table.append(3, &[(0, 2), (1, 2), (0, 1)]);
        assert_eq!(table.rows(), [&[2, 1][..], &[2], &[]]);
        assert_eq!(table.waiting, [0, 1, 2]);
        assert!(table.tasks[2].is_sink());
        assert!(!table.tasks[0].is_sink());
    }

    #[test]
    fn appended_rows_point_behind_the_first_ones() {
        let mut table = Table::default();
        table.append(2, &[(0, 1)]);
        table.append(0, &[]);
        table.append(3, &[(2, 1), (0, 1)]);
        assert_eq!(table.rows(), [&[1][..], &[], &[3], &[], &[3]]);
        assert_eq!(table.waiting, [0, 1, 0, 2, 0]);
    }
}
