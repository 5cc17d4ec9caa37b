//! Which ready task goes where: into a free slot of this process, or onto the bus within its window.

use std::collections::VecDeque;

use coditect_bus::Priority;
use coditect_dag::journal::RecordKind;
use coditect_dag::{Class, RunId, TaskId};

use super::active::{Flight, Place};
use super::commit::Deferred;
use super::owner::Owner;
use super::quarantine::Beside;
use super::route::{Routed, Way};
use crate::ports::Dispatch;
use crate::quarantine::{Pattern, ProbeGuard};
use crate::wire::AttemptId;
use crate::worker::{Offer, Slot};

/// Where the next task of a capability may go.
enum Room {
    Slot(Slot, Option<ProbeGuard>),
    Instance(Box<Routed>),
    Bus(Option<ProbeGuard>),
    None,
}

/// What a level of a capability's queue has.
enum Next {
    Task(RunId, TaskId),
    /// Nothing, but the look has cleared away what was in the way of others.
    Cleared,
    None,
}

/// What came of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dispatched {
    One,
    /// Nothing, and it is worth looking again.
    Again,
    Nothing,
}

impl Owner {
    /// Dispatches ready tasks as far as there is room for them.
    ///
    /// Priorities take turns over all capabilities, and capabilities of one priority take turns, so that
    /// neither a flood of low tasks nor the order of first use decides who gets a slot.
    pub(super) fn dispatch(&mut self) {
        self.held_until = None;
        let ready = |class: &Class| !self.classes.get(*class).ready.is_empty();
        let mut open: VecDeque<Class> = self.classes.all().filter(ready).collect();
        while !open.is_empty() {
            let waits = |level: usize| {
                let waits = |class: &Class| self.classes.get(*class).ready.has(level);
                open.iter().any(waits)
            };
            let waiting = [waits(0), waits(1), waits(2)];
            // Only what is dispatched takes a turn: spent on what has no room, those of the rare ones might never
            // come when there is some.
            let mut turns = self.turns.clone();
            let Some(level) = turns.next(waiting).map(Priority::index) else {
                return;
            };
            let next = open
                .iter()
                .position(|class| self.classes.get(*class).ready.has(level));
            // One of them waits at the level that was chosen among those that wait.
            let Some(class) = next.and_then(|index| open.remove(index)) else {
                return;
            };
            let room = self.room(class);
            let dispatched = self.dispatch_one(class, level, room);
            if dispatched == Dispatched::One {
                self.turns = turns;
            }
            if dispatched != Dispatched::Nothing && !self.classes.get(class).ready.is_empty() {
                open.push_back(class);
            }
        }
    }

    /// Gives the wakes on that brought no dispatch.
    pub(super) fn pass_wake_on(&self) {
        for class in self.classes.all() {
            for offer in &self.classes.get(class).local {
                offer.hosted.pass_wake_on();
            }
        }
    }

    fn room(&mut self, class: Class) -> Room {
        let held = self
            .shared
            .quarantines
            .held_for(&self.classes.get(class).requirement);
        if !held.is_empty() {
            return self.room_beside(class, &held);
        }
        let state = self.classes.get(class);
        let mode = self.shared.ports.settings.dispatch;
        if mode != Dispatch::Bus {
            if let Some(slot) = state.local.iter().find_map(Offer::try_slot) {
                return Room::Slot(slot, None);
            }
            for offer in &state.local {
                offer.notify_free(&self.wake);
            }
        }
        let stays = mode == Dispatch::LocalOnly && state.has_local();
        if stays || self.outbox.is_full() {
            return Room::None;
        }
        match self.way(&state.requirement) {
            Some(Way::Instance(routed)) => Room::Instance(routed),
            Some(Way::Shared) | None => match &state.queue {
                Some(queue) if self.outbox.has_room(queue) => Room::Bus(None),
                _ => Room::None,
            },
            _ => Room::None,
        }
    }

    /// Where the next task of a capability may go, some of whose agents are held.
    fn room_beside(&mut self, class: Class, held: &[Pattern]) -> Room {
        let state = self.classes.get(class);
        let mode = self.shared.ports.settings.dispatch;
        let stays = mode == Dispatch::LocalOnly && state.has_local();
        let queue = state.queue.as_ref();
        let on_bus = !stays
            && !self.outbox.is_full()
            && queue.is_some_and(|queue| self.outbox.has_room(queue));
        match self.beside(class, held, on_bus) {
            Beside::Slot(slot, probe) => Room::Slot(slot, probe),
            Beside::Bus(probe) => Room::Bus(probe),
            Beside::None => Room::None,
        }
    }

    /// Dispatches the task of a level whose turn it is.
    fn dispatch_one(&mut self, class: Class, level: usize, room: Room) -> Dispatched {
        let windowed = match room {
            Room::None => return Dispatched::Nothing,
            Room::Bus(_) => true,
            // Bounded by slots.
            Room::Slot(..) | Room::Instance(_) => false,
        };
        let (run, task) = match self.next(class, level, windowed) {
            Next::Task(run, task) => (run, task),
            Next::Cleared => return Dispatched::Again,
            Next::None => return Dispatched::Nothing,
        };
        let Some(active) = self.runs.get(&run) else {
            return Dispatched::Again;
        };
        let attempt = active.machine.scheduler().attempt(task).next();
        let irreversible = match &room {
            Room::Slot(slot, _) => self.is_irreversible(run, task, slot),
            _ => false,
        };
        let publish = Deferred::Publish { run, task, attempt };
        let mut tries = None;
        let (place, deferred) = match room {
            Room::Slot(slot, probe) => {
                tries = probe;
                let token = self.token(irreversible);
                let deferred = Deferred::Launch {
                    run,
                    task,
                    attempt,
                    token: token.clone(),
                    slot,
                };
                (Place::Local(token), deferred)
            }
            Room::Instance(routed) => (Place::Instance(routed), publish),
            Room::None => return Dispatched::Nothing,
            Room::Bus(probe) => {
                tries = probe;
                let state = self.classes.get_mut(class);
                let Some(queue) = state.queue.clone() else {
                    return Dispatched::Nothing;
                };
                state.departed(&active.tenant);
                (Place::Bus(queue), publish)
            }
        };
        let incarnation = match &place {
            Place::Local(_) => Some(self.shared.name.clone()),
            Place::Instance(routed) => Some(routed.incarnation()),
            Place::Bus(_) | Place::Claimed(_) => None,
        };
        if let Some(probe) = &mut tries {
            probe.begin();
        }
        let flight = Flight {
            attempt,
            class,
            place,
            since: self.now,
            is_recorded: true,
            probe: tries,
        };
        if let Some(active) = self.runs.get_mut(&run) {
            active.flights.insert(task, flight);
        }
        self.deferred.push(deferred);
        self.must(
            run,
            RecordKind::Dispatched {
                task,
                attempt,
                incarnation,
            },
        );
        if irreversible {
            self.grant_here(run, task, attempt);
        }
        Dispatched::One
    }

    /// Finds the task whose turn it is, and lets its run queue again if it has more.
    fn next(&mut self, class: Class, level: usize, windowed: bool) -> Next {
        let window = self.shared.ports.settings.dispatch_window;
        let draining = self.shared.drain.is_cancelled();
        let mut none = Next::None;
        loop {
            let state = self.classes.get_mut(class);
            let mut ready = std::mem::take(&mut state.ready);
            let popped = ready.pop(level, |tenant| !windowed || state.on_bus(tenant) < window);
            state.ready = ready;
            let Some(run) = popped else {
                return none;
            };
            // Whatever comes of this run: others may wait at other levels, and nothing might call for them later.
            none = Next::Cleared;
            let Some(active) = self.runs.get_mut(&run) else {
                continue;
            };
            active.dequeue(class, level);
            if draining && active.scope.fields().depth == 0 {
                // It stays in the journal. Only what handlers of this process wait for still begins.
                continue;
            }
            let Some((task, priority)) = active.machine.scheduler().peek(class) else {
                continue;
            };
            let queued = usize::from(priority).min(2);
            let more = active.machine.scheduler().ready_len(class) > 1 || queued != level;
            if more && active.enqueue(class, queued) {
                let tenant = active.tenant.clone();
                self.classes.get_mut(class).ready.push(queued, &tenant, run);
            }
            if queued != level {
                continue;
            }
            return Next::Task(run, task);
        }
    }

    /// A task waits for a slot from now on, or for a signal.
    pub(super) fn ready(&mut self, run: RunId, task: TaskId) {
        let Some(active) = self.runs.get_mut(&run) else {
            return;
        };
        if active.machine.wait_spec(task).is_some() {
            return self.begin_to_wait(run, task);
        }
        let class = active.machine.class(task);
        if let Some((_, priority)) = active.machine.scheduler().peek(class) {
            let level = usize::from(priority).min(2);
            if active.enqueue(class, level) {
                let tenant = active.tenant.clone();
                self.classes.get_mut(class).ready.push(level, &tenant, run);
            }
        }
        if self.classes.get(class).is_unserved() {
            self.tell_unserved(run, task);
        }
    }

    /// An attempt is under way no longer.
    pub(super) fn land(&mut self, run: RunId, task: TaskId) -> Option<Flight> {
        let active = self.runs.get_mut(&run)?;
        let flight = active.flights.remove(&task)?;
        if matches!(flight.place, Place::Bus(_)) {
            let tenant = active.tenant.clone();
            self.classes.get_mut(flight.class).landed(&tenant);
        }
        Some(flight)
    }

    /// An attempt is to stop.
    pub(super) fn stop(&mut self, run: RunId, task: TaskId) {
        let Some(flight) = self.land(run, task) else {
            return self.stop_parked(run, task);
        };
        self.deferred.push(match flight.place {
            Place::Local(token) => Deferred::StopLocal(token),
            Place::Bus(_) | Place::Instance(_) | Place::Claimed(_) => {
                Deferred::StopRemote(AttemptId {
                    run,
                    task,
                    attempt: flight.attempt,
                })
            }
        });
    }
}
