//! Tasks that nobody serves: noticed, told, and dispatched once somebody does.

use coditect_dag::journal::RecordKind;
use coditect_dag::{RunId, TaskId};
use coditect_registry::View;

use super::owner::Owner;

impl Owner {
    /// Looks anew at who offers what: tasks that nobody served may be served now.
    pub(super) fn look(&mut self, view: &View) {
        self.classes.look(view);
        let waiting: Vec<_> = self
            .classes
            .all()
            .filter(|class| {
                let class = self.classes.get(*class);
                !class.is_served() && !class.ready.is_empty()
            })
            .collect();
        let mut unserved = Vec::new();
        for (run, active) in &self.runs {
            for class in &waiting {
                let next = active.machine.scheduler().peek(*class);
                unserved.extend(next.map(|(task, _)| (*run, task)));
            }
        }
        for (run, task) in unserved {
            self.tell_unserved(run, task);
        }
    }

    /// Puts on record that nobody offers what a task needs.
    pub(super) fn tell_unserved(&mut self, run: RunId, task: TaskId) {
        let Some(active) = self.runs.get(&run) else {
            return;
        };
        if active.machine.is_unserved(task) {
            return;
        }
        tracing::warn!(
            %run,
            task = active.machine.path(task),
            capability = %active.machine.requirement(task),
            "no agent offers what the task needs; it waits for one, or for its deadline"
        );
        self.must(run, RecordKind::Unserved { task });
    }
}
