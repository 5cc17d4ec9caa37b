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
use super::turns::{LEVELS, Who};
use crate::ports::Dispatch;
use crate::quarantine::{Pattern, ProbeGuard};
use crate::wire::AttemptId;
use crate::worker::Slot;

/// Where the next task of a capability may go.
enum Room {
    /// For these tenants.
    Slot(Slot, Who, Option<ProbeGuard>),
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
    /// There is room, and nobody of this priority may use it.
    NotHere,
    /// There is no room.
    Nothing,
}

/// A capability that is looked at for tasks.
struct Open {
    class: Class,
    /// At which levels it may have some.
    levels: [bool; LEVELS],
}

impl Open {
    fn waits(&self) -> bool {
        self.levels.contains(&true)
    }
}

impl Owner {
    /// Dispatches ready tasks as far as there is room for them.
    ///
    /// Priorities take turns over all capabilities, and capabilities of one priority take turns, so that
    /// neither a flood of low tasks nor the order of first use decides who gets a slot.
    pub(super) fn dispatch(&mut self) {
        self.held_until = None;
        self.unblock_tenants();
        let open = self.classes.all().map(|class| Open {
            class,
            levels: std::array::from_fn(|level| self.classes.get(class).ready.has(level)),
        });
        let mut open: VecDeque<Open> = open.filter(Open::waits).collect();
        while !open.is_empty() {
            let waiting = std::array::from_fn(|level| open.iter().any(|one| one.levels[level]));
            // Only what is dispatched takes a turn: spent on what has no room, those of the rare ones might never
            // come when there is some.
            let mut turns = self.turns.clone();
            let Some(level) = turns.next(waiting).map(Priority::index) else {
                return;
            };
            let next = open.iter().position(|one| one.levels[level]);
            // One of them waits at the level that was chosen among those that wait.
            let Some(mut one) = next.and_then(|index| open.remove(index)) else {
                return;
            };
            if !self.admits_class(one.class) {
                continue;
            }
            let room = self.room(one.class, level);
            let dispatched = self.dispatch_one(one.class, level, room);
            let ready = &self.classes.get(one.class).ready;
            match dispatched {
                Dispatched::One => self.turns = turns,
                Dispatched::Again => {}
                // What cannot go now keeps nothing from the levels below.
                Dispatched::NotHere => one.levels[level] = false,
                Dispatched::Nothing => continue,
            }
            if dispatched != Dispatched::NotHere {
                // What was looked at may have turned out to be of another priority.
                one.levels = std::array::from_fn(|level| ready.has(level));
            }
            if one.waits() {
                open.push_back(one);
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

    fn room(&mut self, class: Class, level: usize) -> Room {
        let held = self
            .shared
            .quarantines
            .held_for(&self.classes.get(class).requirement);
        if !held.is_empty() {
            return self.room_beside(class, &held);
        }
        let state = self.classes.get(class);
        let mode = self.shared.ports.settings.dispatch;
        if mode != Dispatch::Bus
            && let Some((slot, who)) = self.slot(class, level)
        {
            return Room::Slot(slot, who, None);
        }
        let stays = mode == Dispatch::LocalOnly && state.has_local();
        if stays || self.outbox.is_full() {
            return Room::None;
        }
        match self.way(state) {
            Some(Way::Instance(routed)) => Room::Instance(routed),
            Some(Way::Shared) | None => match &state.queue {
                Some(queue) if self.outbox.has_room(queue) => Room::Bus(None),
                _ => Room::None,
            },
            _ => Room::None,
        }
    }

    /// Takes a slot of this process for a task of a level, and says whose task that may be.
    ///
    /// What is on the bus waits for the same slots, and takes no turns with what is here. So while tasks of several tenants
    /// are there, and one may wait for this agent, whoever has some there sends what else he has after them.
    fn slot(&self, class: Class, level: usize) -> Option<(Slot, Who)> {
        let state = self.classes.get(class);
        let mut wanted = Vec::new();
        for offer in &state.local {
            let who = match state.ready.is_crowded() && !offer.has_lull(&self.wake) {
                false => Who::All,
                true if state.ready.has_of(level, Who::New) => Who::New,
                // The agent's consumer has the next slot.
                true => continue,
            };
            if let Some(slot) = offer.try_slot() {
                return Some((slot, who));
            }
            wanted.push(offer);
        }
        for offer in wanted {
            offer.notify_free(&self.wake);
        }
        None
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
            Beside::Slot(slot, probe) => Room::Slot(slot, Who::All, probe),
            Beside::Bus(probe) => Room::Bus(probe),
            Beside::None => Room::None,
        }
    }

    /// Dispatches the task of a level whose turn it is.
    fn dispatch_one(&mut self, class: Class, level: usize, room: Room) -> Dispatched {
        let who = match room {
            Room::None => return Dispatched::Nothing,
            Room::Bus(_) => Who::Open,
            Room::Slot(_, who, _) => who,
            // Bounded by slots.
            Room::Instance(_) => Who::All,
        };
        let (run, task) = match self.next(class, level, who) {
            Next::Task(run, task) => (run, task),
            Next::Cleared => return Dispatched::Again,
            Next::None => return Dispatched::NotHere,
        };
        let Some(active) = self.runs.get(&run) else {
            return Dispatched::Again;
        };
        let attempt = active.machine.scheduler().attempt(task).next();
        let irreversible = match &room {
            Room::Slot(slot, ..) => self.is_irreversible(run, task, slot),
            _ => false,
        };
        let publish = Deferred::Publish { run, task, attempt };
        let mut tries = None;
        let (place, deferred) = match room {
            Room::Slot(slot, _, probe) => {
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
                state.ready.departed(&active.tenant);
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
        self.took_off(run, class);
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
    fn next(&mut self, class: Class, level: usize, who: Who) -> Next {
        let draining = self.shared.drain.is_cancelled();
        let mut none = Next::None;
        loop {
            let ready = &mut self.classes.get_mut(class).ready;
            let Some(turn) = ready.next(level, who) else {
                return none;
            };
            if self.gates.are_any() && !self.gates.admits_tenant(&turn.tenant, self.now) {
                // It stands in the queues again once there is room.
                ready.block(&turn.tenant);
                self.gates.block(&turn.tenant, class);
                none = Next::Cleared;
                continue;
            }
            // Whatever comes of this run: others may wait at other levels, and nothing might call for them later.
            none = Next::Cleared;
            let Some(active) = self.runs.get_mut(&turn.run) else {
                ready.discard(&turn);
                continue;
            };
            let next = active.machine.scheduler().peek(class);
            // While this process drains it stays in the journal. Only what handlers of this process wait for still begins.
            let next = next.filter(|_| !draining || active.scope.fields().depth > 0);
            // At its limit it queues again when one of its attempts ends.
            let next = next.filter(|_| !active.is_at_limit());
            let queued = next.map(|(_, priority)| usize::from(priority).min(LEVELS - 1));
            if queued == Some(level)
                && let Some((task, _)) = next
            {
                let stays = active.machine.scheduler().ready_len(class) > 1;
                let ticket = ready.pass(&turn, stays);
                *active.ticket(class, level) = ticket.unwrap_or_default();
                return Next::Task(turn.run, task);
            }
            ready.discard(&turn);
            *active.ticket(class, level) = 0;
            if next.is_some() {
                self.queue(turn.run, class);
            }
        }
    }

    /// Has a run queue for a capability, if it has tasks ready for it that may be dispatched.
    fn queue(&mut self, run: RunId, class: Class) {
        let active = self.runs.get_mut(&run);
        let Some(active) = active.filter(|active| !active.is_at_limit()) else {
            return;
        };
        if let Some((_, priority)) = active.machine.scheduler().peek(class) {
            let level = usize::from(priority).min(LEVELS - 1);
            if *active.ticket(class, level) == 0 {
                let ready = &mut self.classes.get_mut(class).ready;
                *active.ticket(class, level) = ready.push(level, &active.tenant.clone(), run);
            }
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
        if active.machine.is_unclear(task) {
            return self.park_again(run, task);
        }
        let class = active.machine.class(task);
        self.queue(run, class);
        if self.classes.get(class).is_unserved() {
            self.tell_unserved(run, task);
        }
    }

    /// An attempt is under way no longer.
    pub(super) fn land(&mut self, run: RunId, task: TaskId) -> Option<Flight> {
        let active = self.runs.get_mut(&run)?;
        let was_at_limit = active.is_at_limit();
        let flight = active.flights.remove(&task)?;
        let is_free = was_at_limit && !active.is_at_limit();
        if self.gates.are_used() {
            self.came_down(run, task, flight.class);
        }
        if is_free {
            let ready = self
                .runs
                .get(&run)?
                .machine
                .scheduler()
                .classes_with_ready();
            let ready: Vec<_> = ready.collect();
            for class in ready {
                self.queue(run, class);
            }
        }
        if matches!(flight.place, Place::Bus(_)) {
            let tenant = &self.runs.get(&run)?.tenant;
            self.classes.get_mut(flight.class).ready.landed(tenant);
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
