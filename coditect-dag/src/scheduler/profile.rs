//! The distinct specs of a run: few, however many tasks there are.

use std::collections::BTreeMap;

use super::spec::TaskSpec;

/// What many tasks have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Profile<P> {
    /// Where ready tasks of this profile wait.
    pub(super) bucket: u32,
    pub(super) spec: TaskSpec<P>,
}

/// Numbers distinct specs, so that a task keeps four bytes in place of its spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Profiles<P> {
    list: Vec<Profile<P>>,
    numbers: BTreeMap<TaskSpec<P>, u32>,
    /// Neighbours in a graph are often alike.
    last: Option<(TaskSpec<P>, u32)>,
}

impl<P: Ord + Copy> Profiles<P> {
    pub(super) const fn new() -> Self {
        Self {
            list: Vec::new(),
            numbers: BTreeMap::new(),
            last: None,
        }
    }

    #[inline]
    pub(super) fn get(&self, number: u32) -> &Profile<P> {
        &self.list[number as usize]
    }

    /// Returns the number of a spec; a new one gets the bucket that `bucket` finds.
    pub(super) fn number(
        &mut self,
        spec: TaskSpec<P>,
        bucket: impl FnOnce(&TaskSpec<P>) -> u32,
    ) -> u32 {
        if let Some((last, number)) = self.last
            && last == spec
        {
            return number;
        }
        let number = *self.numbers.entry(spec).or_insert_with(|| {
            self.list.push(Profile {
                bucket: bucket(&spec),
                spec,
            });
            // There are at most as many profiles as tasks.
            self.list.len() as u32 - 1
        });
        self.last = Some((spec, number));
        number
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.list.capacity() * size_of::<Profile<P>>()
            + self.numbers.len() * size_of::<(TaskSpec<P>, u32)>()
    }
}
