//! Tasks that wait for signals: nobody works on them, and no slot is taken.

use bytes::Bytes;
use coditect_dag::journal::RecordKind;
use coditect_dag::{RunId, TaskId};

use super::owner::Owner;
use super::timer::Due;

impl Owner {
    /// Lets a task begin to wait that could run now, unless its run is paused.
    pub(super) fn begin_to_wait(&mut self, run: RunId, task: TaskId) {
        let Some(active) = self.runs.get(&run) else {
            return;
        };
        let scheduler = active.machine.scheduler();
        if scheduler.is_paused() {
            return;
        }
        let attempt = scheduler.attempt(task).next();
        self.must(run, RecordKind::Waiting { task, attempt });
        self.time_wait(run, task);
        // It may have come before.
        self.meet(run, task);
    }

    /// Sets the timer of a task that waits.
    pub(super) fn time_wait(&mut self, run: RunId, task: TaskId) {
        let active = self.runs.get(&run);
        if let Some(at) = active.and_then(|active| active.machine.waiting_until(task)) {
            self.timers.push(at, run, Due::Wait(task));
        }
    }

    /// Ends a task's wait if its signal has come.
    pub(super) fn meet(&mut self, run: RunId, task: TaskId) {
        let Some(active) = self.runs.get(&run) else {
            return;
        };
        let machine = &active.machine;
        if machine.waiting_since(task).is_none() {
            return;
        }
        let name = machine.awaited_signal(task);
        let payload = name.and_then(|name| machine.signal(&name));
        if let Some(kind) = payload.map(|payload| machine.answered(task, payload)) {
            self.must(run, kind);
        }
    }

    /// Ends a task's wait whose time is over: with what its plan says, or by its deadline.
    pub(super) fn wait_is_over(&mut self, run: RunId, task: TaskId) {
        let Some(active) = self.runs.get(&run) else {
            return;
        };
        let machine = &active.machine;
        // One that waits again has more time than this timer knows.
        if machine
            .waiting_until(task)
            .is_none_or(|until| until > self.now)
        {
            return;
        }
        let default = machine
            .wait_spec(task)
            .and_then(|wait| wait.default.as_deref());
        let kind = match default {
            Some(value) => machine.answered(task, &Bytes::copy_from_slice(value.get().as_bytes())),
            None => RecordKind::Expired { task },
        };
        self.must(run, kind);
    }
}
