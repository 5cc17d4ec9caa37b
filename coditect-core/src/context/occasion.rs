//! What a task's run is for, where a schedule has submitted it.

use super::TaskContext;
use crate::run::Occasion;

impl TaskContext {
    /// The occurrence of a [schedule](crate::Submit::on_schedule) for which the run was submitted, if one has.
    #[must_use]
    pub fn occasion(&self) -> Option<&Occasion> {
        self.inner.scope.fields().occasion.as_ref()
    }
}
