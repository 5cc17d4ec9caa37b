//! What a patch needs of a builder: tasks that are named instead of added, and a look at what was said.

use std::sync::Arc;

use super::PlanBuilder;
use crate::error::Error;
use crate::plan::reference::{IntoInput, TaskRef};
use crate::plan::spec::{Binding, PlanSpec};

impl PlanBuilder {
    /// Names a task that is elsewhere.
    pub(in crate::plan) fn name<O>(&mut self, key: Arc<str>, requirement: &str) -> TaskRef<O> {
        self.add(key, requirement, Binding::Null, None)
    }

    /// The position of a task that was added or named.
    pub(in crate::plan) fn find(&self, key: &str) -> Option<u32> {
        self.keys.get(key).copied()
    }

    pub(in crate::plan) fn reference<O>(&self, position: u32) -> TaskRef<O> {
        TaskRef::of_task(self.id, position)
    }

    pub(in crate::plan) fn set_input<I>(&mut self, position: u32, input: impl IntoInput<I>) {
        let key = Arc::clone(&self.spec.tasks[position as usize].key);
        let input = self.input(&key, input);
        self.spec.tasks[position as usize].input = input;
    }

    /// The positions of two tasks.
    pub(in crate::plan) fn positions<T, U>(
        &mut self,
        place: &str,
        one: &TaskRef<T>,
        other: &TaskRef<U>,
    ) -> Option<(u32, u32)> {
        self.position(one, place).zip(self.position(other, place))
    }

    pub(in crate::plan) fn spec(&self) -> &PlanSpec {
        &self.spec
    }

    pub(in crate::plan) fn mistake_made(&self) -> Option<&Error> {
        self.mistake.as_ref()
    }
}
