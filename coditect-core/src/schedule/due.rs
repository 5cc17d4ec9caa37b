//! What a schedule does at an instant: pure.

use coditect_dag::{RunId, Timestamp};
use rustc_hash::FxHashSet;

use super::calendar::Calendar;
use super::policy::{Missed, Overlap};
use super::row::{Definition, Occurrence, State};

/// How late an occurrence may be that is not missed yet: a takeover takes a third of it.
const IN_TIME_MS: u64 = 30_000;
/// How far missed occurrences are counted.
const COUNTED: usize = 1_000;

impl Definition {
    /// Takes what is due by `now` into the state; `ended` are runs of it that have ended. Says whether anything changed.
    pub(crate) fn decide(
        &self,
        calendar: &Calendar,
        state: &mut State,
        now: Timestamp,
        ended: &FxHashSet<RunId>,
        mint: &mut dyn FnMut() -> RunId,
    ) -> bool {
        let before = state.clone();
        state.open.retain(|run| !ended.contains(run));
        if state.paused.is_none() {
            self.take_due(calendar, state, now, mint);
            // What waits comes one after the other.
            if !state.is_busy() && !state.waiting.is_empty() {
                let nominal = state.waiting.remove(0);
                state.occur(nominal, Vec::new(), mint());
            }
        }
        *state != before
    }

    fn take_due(
        &self,
        calendar: &Calendar,
        state: &mut State,
        now: Timestamp,
        mint: &mut dyn FnMut() -> RunId,
    ) {
        if self.is_exhausted(state) {
            return;
        }
        let due = calendar.newest(state.cursor, now, COUNTED);
        let Some(last) = due.last().copied() else {
            return;
        };
        state.cursor = last;
        let late = |at: Timestamp| now.as_millis().saturating_sub(at.as_millis());
        let in_time = late(calendar.fires_at(last)) <= IN_TIME_MS;
        let wanted = match self.missed {
            Missed::Skip => usize::from(in_time),
            Missed::Last => 1,
            Missed::All(limit) => limit.max(1) as usize,
        };
        let mut run = due[due.len().saturating_sub(wanted)..].to_vec();
        run.retain(|at| late(*at) <= self.catch_up_ms || (in_time && *at == last));
        if let Some(left) = self.left(state) {
            run.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        }
        state.missed += (due.len() - run.len()) as u64;
        if self.overlap == Overlap::CancelPrevious && run.len() > 1 {
            // Each would end the one before it at once.
            let rest = run.split_off(run.len() - 1);
            state.overlapped += run.len() as u64;
            run = rest;
        }
        for nominal in run {
            self.occur(state, nominal, mint);
        }
    }

    fn occur(&self, state: &mut State, nominal: Timestamp, mint: &mut dyn FnMut() -> RunId) {
        match self.overlap {
            Overlap::Skip if state.is_busy() => state.overlapped += 1,
            Overlap::Buffer(limit) if state.is_busy() || !state.waiting.is_empty() => {
                if state.waiting.len() < limit as usize {
                    state.waiting.push(nominal);
                } else {
                    state.overlapped += 1;
                }
            }
            Overlap::CancelPrevious => {
                let pending = state.pending.iter().map(|it| it.run);
                let replaces = state.open.iter().copied().chain(pending).collect();
                state.occur(nominal, replaces, mint());
            }
            _ => state.occur(nominal, Vec::new(), mint()),
        }
    }

    /// How many occurrences may still come.
    fn left(&self, state: &State) -> Option<u64> {
        let taken = state.taken + state.waiting.len() as u64;
        Some(self.timing.at_most?.saturating_sub(taken))
    }

    fn is_exhausted(&self, state: &State) -> bool {
        self.left(state) == Some(0)
    }

    /// The next occurrence, apart from those that wait.
    pub(crate) fn next(&self, calendar: &Calendar, state: &State) -> Option<Timestamp> {
        if self.is_exhausted(state) {
            return None;
        }
        calendar.next(state.cursor)
    }
}

impl State {
    pub(crate) fn is_busy(&self) -> bool {
        !self.open.is_empty() || !self.pending.is_empty()
    }

    fn occur(&mut self, nominal: Timestamp, replaces: Vec<RunId>, run: RunId) {
        self.fired += 1;
        self.taken += 1;
        self.pending.push(Occurrence {
            nominal,
            run,
            triggered: false,
            replaces,
        });
    }
}

#[cfg(test)]
mod tests;
