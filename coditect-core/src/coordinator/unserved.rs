//! Tasks that nobody serves: noticed, told, and dispatched once somebody does.

use coditect_dag::journal::RecordKind;
use coditect_dag::{RunId, TaskId};

use super::active::Place;
use super::commit::Deferred;
use super::owner::Owner;

impl Owner {
    /// Looks anew at who offers what: tasks that nobody served may be served now.
    pub(super) fn look(&mut self) {
        self.classes.look(&self.shared);
        self.look_for_lost();
        let waiting: Vec<_> = self
            .classes
            .all()
            .filter(|class| {
                let class = self.classes.get(*class);
                class.is_unserved() && !class.ready.is_empty()
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
        self.move_stranded();
    }

    /// Publishes attempts anew, as the same attempts, that wait where nobody takes tasks any more: the
    /// agents of their version have gone, and those of another serve them.
    fn move_stranded(&mut self) {
        for (run, active) in &mut self.runs {
            for (task, flight) in &mut active.flights {
                let Place::Bus(queue) = &mut flight.place else {
                    continue;
                };
                let Some(moved) = self.classes.get(flight.class).moved(queue) else {
                    continue;
                };
                *queue = moved;
                self.deferred.push(Deferred::Publish {
                    run: *run,
                    task: *task,
                    attempt: flight.attempt,
                });
            }
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
        let class = self.classes.get_mut(active.machine.class(task));
        if !std::mem::replace(&mut class.was_told, true) {
            tracing::warn!(
                %run,
                task = active.machine.path(task),
                capability = active.machine.wanted(task),
                "no agent offers what tasks need; they wait for one, or for their deadlines"
            );
        }
        self.must(run, RecordKind::Unserved { task });
    }
}
