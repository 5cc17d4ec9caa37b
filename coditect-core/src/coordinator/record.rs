//! Records: a run is moved by one, and by everything that follows from it.

use bytes::Bytes;
use coditect_dag::journal::RecordKind;
use coditect_dag::{Action, RunId, TaskState};

use super::machine::Effect;
use super::owner::Owner;
use super::timer::Due;
use crate::agent::encode_output;
use crate::failure::Failure;

impl Owner {
    /// Moves a run by one record, and everything that follows from it. A record that changes nothing
    /// is not kept.
    pub(super) fn record(&mut self, run: RunId, kind: RecordKind) -> Result<bool, Failure> {
        let Some(active) = self.runs.get_mut(&run) else {
            return Ok(false);
        };
        if active.machine.is_settled() && !kind.reopens() {
            return Ok(false);
        }
        let record = kind.at(self.now);
        let mut effects = std::mem::take(&mut self.effects);
        let shared = &self.shared;
        let classes = &mut self.classes;
        let mut intern =
            |requirement: &_, agent: Option<&_>| classes.intern(requirement, agent, shared);
        let applied =
            active
                .machine
                .apply(&record, &mut intern, Some(&shared.catalogue), &mut effects);
        let changed = applied.inspect_err(|_| effects.clear())?;
        if changed {
            self.batch.push(run, record);
        }
        self.carry_out(run, effects);
        Ok(changed)
    }

    /// Moves a run by a record that cannot be wrong.
    pub(super) fn must(&mut self, run: RunId, kind: RecordKind) {
        if let Err(failure) = self.record(run, kind) {
            tracing::error!(%run, %failure, "a record did not fit its run; this is a defect");
        }
    }

    /// Carries out what a record led to.
    pub(super) fn carry_out(&mut self, run: RunId, mut effects: Vec<Effect>) {
        for effect in effects.drain(..) {
            match effect {
                Effect::Act(Action::Ready { task }) => self.ready(run, task),
                Effect::Act(Action::Reopened { task }) => self.set_deadline(run, task),
                Effect::Act(Action::Stop { task, .. }) => self.stop(run, task),
                Effect::Act(Action::WakeAt { at, .. }) => self.timers.push(at, run, Due::Backoff),
                Effect::Act(Action::Settled { task, state, .. }) => {
                    if state != TaskState::Succeeded {
                        self.land(run, task);
                    }
                }
                Effect::Act(Action::ScopeSettled { task, .. }) => self.conclude(run, Some(task)),
                Effect::Act(Action::RunSettled { .. }) => self.run_settled(run),
                Effect::Enough(scope) => self.conclude(run, scope),
                Effect::Act(_) => {}
            }
        }
        // The vector goes back unless a nested record has put one there.
        if self.effects.capacity() == 0 {
            self.effects = effects;
        }
    }
}

pub(super) fn encode_failure(failure: &Failure) -> Bytes {
    // A failure is strings only.
    encode_output(failure).unwrap_or_else(|_| Bytes::from_static(b"null"))
}
