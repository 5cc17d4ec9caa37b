//! What one partition has of one limit: how much it may use, what it asks for, and what it gives back.

#[cfg(test)]
mod tests;

use std::time::Duration;

use coditect_dag::Timestamp;

use crate::limit::board::Given;

/// How long what is idle is kept while nobody else waits for it.
const LINGER: Duration = Duration::from_secs(1);
/// For how long what was given may be used for one attempt after the other though others wait, at least.
const TURN: Duration = Duration::from_millis(50);
/// How many times longer than an answer takes that is: handing on costs some of them.
const ANSWERS: u32 = 4;
/// After how long it is asked again, should nobody have called.
const AGAIN: Duration = Duration::from_secs(5);
/// After how long it is asked again where the store knows of no limit, and this process does.
const UNKNOWN: Duration = Duration::from_secs(1);

/// A partition's share of a limit.
///
/// Attempts begin only within what was given, and what is to be given back is used no more from before the board is told.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// How many attempts are open that count.
    in_use: u32,
    /// For how many that counted before room is kept, as they would go on.
    reserved: u32,
    held: u32,
    /// What was last said of others.
    given: Given,
    /// Until when what was given may be used whoever waits.
    turn_ends: Timestamp,
    asked_at: Timestamp,
    /// Since when less is needed than is held.
    idle_since: Option<Timestamp>,
    /// Whether an answer is awaited, and what was to be kept meanwhile.
    asking: Option<u32>,
    /// Somebody has called, or nobody knows what the board says.
    is_called: bool,
    /// Before that the board is left alone.
    not_before: Timestamp,
}

/// What is to be done about a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    Ask {
        in_use: u32,
        keeps: u32,
        wants: u32,
    },
    /// Look again at that time.
    Later(Timestamp),
    Nothing,
    /// There is nothing to keep of it.
    Forget,
}

impl Gate {
    /// Says whether an attempt may go on that counted before.
    pub(super) fn has_room(&self, now: Timestamp) -> bool {
        self.in_use < self.usable(now)
    }

    /// Says whether one more attempt may begin; those come first for which room is kept.
    pub(super) fn has_room_for_new(&self, now: Timestamp) -> bool {
        self.in_use.saturating_add(self.reserved) < self.usable(now)
    }

    /// Says whether anything of it may be used here now.
    pub(super) fn is_usable(&self, now: Timestamp) -> bool {
        self.usable(now) > 0
    }

    /// An attempt counts from now on, whether or not there is room.
    pub(super) fn enter(&mut self) {
        self.in_use += 1;
    }

    /// An attempt counts no longer.
    pub(super) fn leave(&mut self) {
        self.in_use = self.in_use.saturating_sub(1);
    }

    /// Room is kept for one more.
    pub(super) fn reserve(&mut self) {
        self.reserved += 1;
    }

    /// Room is kept for one less.
    pub(super) fn release(&mut self) {
        self.reserved = self.reserved.saturating_sub(1);
    }

    /// Begins to count anew.
    pub(super) fn recount(&mut self) {
        (self.in_use, self.reserved) = (0, 0);
    }

    /// Takes over what the former owner had.
    pub(super) fn adopt(&mut self, held: u32) {
        self.held = held;
        self.is_called = true;
    }

    /// Somebody waits, or has left something, or the limit is another one.
    pub(super) fn call(&mut self) {
        self.is_called = true;
    }

    /// How many more would be of use than it has asked for lately, so that no more need be counted.
    pub(super) fn enough(&self) -> u32 {
        self.given.wants.saturating_mul(2).saturating_add(self.held)
    }

    fn usable(&self, now: Timestamp) -> u32 {
        if self.given.is_over {
            // Whoever has done something does nothing in its place.
            return self.in_use;
        }
        match self.yields(now) {
            true => self.held.min(self.given.part),
            false => self.held,
        }
    }

    fn yields(&self, now: Timestamp) -> bool {
        self.given.is_contested && now >= self.turn_ends
    }

    /// Decides what to do, where so many tasks wait that could begin but for this limit.
    pub(super) fn plan(&mut self, wanted: u32, limit: u32, now: Timestamp) -> Plan {
        if self.asking.is_some() {
            return Plan::Nothing;
        }
        if now < self.not_before {
            return Plan::Later(self.not_before);
        }
        let counted = self.in_use.saturating_add(self.reserved);
        let need = counted.saturating_add(wanted);
        let mut later = None;
        let mut keeps = self.held;
        if self.held <= need {
            self.idle_since = None;
        } else {
            let since = *self.idle_since.get_or_insert(now);
            let until = since.saturating_add(LINGER);
            let lingers = !self.given.is_contested && !self.given.is_over && !self.is_called;
            match lingers && now < until {
                true => later = Some(until),
                false => keeps = need,
            }
        }
        if self.given.is_over {
            keeps = self.in_use;
        } else if self.yields(now) {
            keeps = keeps.min(self.given.part);
        } else if self.given.is_contested && self.held > self.given.part {
            later = Some(self.turn_ends);
        }
        keeps = keeps.max(self.in_use);
        let wants = need.saturating_sub(keeps).min(limit);
        let told = self.given.wants;
        let again = self.asked_at.saturating_add(AGAIN);
        let follows = told > 0 || self.given.is_contested || self.given.is_over;
        let asks = self.is_called
            || keeps != self.held
            || (wants > 0 && wants >= told.saturating_mul(2).max(1))
            || (wants == 0 && told > 0)
            || (follows && now >= again);
        if asks {
            // What is about to be given back is not used meanwhile.
            self.held = self.held.min(keeps);
            (self.asking, self.asked_at, self.is_called) = (Some(keeps), now, false);
            let in_use = self.in_use;
            return Plan::Ask {
                in_use,
                keeps,
                wants,
            };
        }
        if need == 0 && self.held == 0 {
            return Plan::Forget;
        }
        let later = later.into_iter().chain(follows.then_some(again)).min();
        later.map_or(Plan::Nothing, Plan::Later)
    }

    /// Takes in what the board has given.
    pub(super) fn told(&mut self, given: Given, now: Timestamp) {
        let kept = self.asking.take();
        if kept.is_some_and(|kept| given.held > kept) {
            let answer = now.saturating_since(self.asked_at);
            let turn = answer.saturating_mul(ANSWERS).clamp(TURN, AGAIN);
            self.turn_ends = now.saturating_add(turn);
        }
        self.held = given.held;
        self.given = given;
        self.idle_since = None;
    }

    /// The board could not be asked.
    pub(super) fn not_told(&mut self) {
        self.asking = None;
        self.is_called = true;
    }

    /// The board has nothing for it, as there is no limit.
    pub(super) fn unlimited(&mut self, now: Timestamp) {
        self.not_told();
        (self.held, self.given) = (0, Given::default());
        self.not_before = now.saturating_add(UNKNOWN);
    }
}
