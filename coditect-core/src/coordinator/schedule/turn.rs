//! The turn of a schedule: what is due of it is decided upon, submitted, and noted.

use std::time::Duration;

use coditect_dag::journal::{Command, Watch as RunWatch};
use coditect_dag::{RunId, Timestamp};
use rustc_hash::FxHashSet;

use super::{AGAIN, Fenced, Keeper, Kept};
use crate::error::Error;
use crate::schedule::{Definition, Occurrence, Overlap, State, Stepped, submission};

/// How long it leaves a run alone that has changed and not ended.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
/// Why a run is cancelled for the next one.
const REPLACED: &str = "the next occurrence of its schedule has come";

impl Keeper {
    /// Gives each schedule its turn that is due one.
    pub(super) async fn turns(&mut self) -> Result<(), Fenced> {
        if self.kept.is_empty() {
            return Ok(());
        }
        let now = match self.book.now().await {
            Ok(now) => now,
            Err(error) => {
                self.complain(&error);
                return Ok(());
            }
        };
        let is_due = |kept: &Kept| kept.wake.is_some_and(|wake| wake <= now);
        let due = self.kept.iter().filter(|(_, kept)| is_due(kept));
        let due: Vec<_> = due.map(|(name, _)| name.clone()).collect();
        for name in due {
            match self.turn(&name, now).await {
                Ok(true) => {}
                Ok(false) => return Err(Fenced),
                Err(error) => {
                    self.complain(&error);
                    if let Some(kept) = self.kept.get_mut(&name) {
                        kept.is_stale = true;
                        kept.wake = Some(now.saturating_add(AGAIN));
                    }
                }
            }
        }
        Ok(())
    }

    /// Decides what is due of a schedule, and submits it; says whether the partition is still ours.
    async fn turn(&mut self, name: &str, now: Timestamp) -> Result<bool, Error> {
        let stale = self.kept.get(name).filter(|kept| kept.is_stale);
        if let Some(mark) = stale.map(|kept| kept.mark.clone()) {
            self.read(name, mark).await?;
        }
        let Some(kept) = self.kept.get(name) else {
            return Ok(true);
        };
        let ended = &self.ended_of(kept).await?;
        let chance = &self.shared.ports.chance;
        let decide = |definition: &Definition, state: &mut State| {
            definition.decide(&kept.calendar, state, now, ended, &mut || chance.run())
        };
        let mut state = kept.state.clone();
        if decide(&kept.definition, &mut state) || !state.pending.is_empty() {
            state = match self.step(name, &kept.definition, &decide).await? {
                Stepped::Taken(state) => state,
                Stepped::Changed => return self.turn_again(name),
                Stepped::Fenced => return Ok(false),
            };
        }
        let skipped = state.missed.saturating_sub(kept.state.missed);
        if skipped > 0 {
            tracing::warn!(
                schedule = name,
                skipped,
                "occurrences were missed and are left out"
            );
        }
        let done = self.submit(name, &kept.definition, &state.pending).await?;
        if !done.is_empty() {
            let note = |_: &Definition, state: &mut State| {
                state.submitted(&done);
                true
            };
            state = match self.step(name, &kept.definition, &note).await? {
                Stepped::Taken(state) => state,
                Stepped::Changed => return self.turn_again(name),
                Stepped::Fenced => return Ok(false),
            };
        }
        self.settle(name, state, now).await;
        Ok(true)
    }

    /// Lets a schedule have another turn that somebody has changed.
    fn turn_again(&mut self, name: &str) -> Result<bool, Error> {
        if let Some(kept) = self.kept.get_mut(name) {
            kept.is_stale = true;
            kept.wake = Some(Timestamp::EPOCH);
        }
        Ok(true)
    }

    async fn step(
        &self,
        name: &str,
        definition: &Definition,
        step: &(dyn Fn(&Definition, &mut State) -> bool + Send + Sync),
    ) -> Result<Stepped, Error> {
        let token = self.lease.token().get();
        self.book
            .step(name, definition.id, definition.revision, token, step)
            .await
    }

    /// The runs of a schedule that have ended, of those that were not known to have.
    async fn ended_of(&self, kept: &Kept) -> Result<FxHashSet<RunId>, Error> {
        let mut ended = FxHashSet::default();
        if kept.definition.overlap == Overlap::Allow {
            // Nothing depends on it.
            return Ok(ended);
        }
        for run in &kept.state.open {
            let summary = self.shared.ports.journal.run(*run).await?;
            // One that is forgotten has ended as well.
            if summary.is_none_or(|summary| summary.state.is_settled()) {
                ended.insert(*run);
            }
        }
        Ok(ended)
    }

    /// Submits what was decided upon, and tells as which runs. What cannot be submitted now is tried again.
    async fn submit(
        &self,
        name: &str,
        definition: &Definition,
        pending: &[Occurrence],
    ) -> Result<Vec<(Occurrence, RunId)>, Error> {
        let ports = &self.shared.ports;
        let mut done = Vec::new();
        for occurrence in pending {
            for run in &occurrence.replaces {
                let at = ports.clock.now();
                let reason = REPLACED.into();
                let cancel = ports.journal.send(*run, Command::Cancel { reason, at });
                match cancel.await {
                    Err(error) if error.is_retryable() || error.outcome_unknown() => {
                        return Err(error.into());
                    }
                    // It has been forgotten, and needs no end.
                    Err(_) | Ok(()) => {}
                }
            }
            let submission = submission(name, definition, occurrence, ports)?;
            let submitted = ports.journal.submit(submission).await?;
            let run = submitted.run;
            tracing::debug!(schedule = name, %run, nominal = occurrence.nominal.as_millis(), "submitted");
            done.push((occurrence.clone(), run));
        }
        Ok(done)
    }

    /// Keeps what a turn has left, and sets when the next one is.
    async fn settle(&mut self, name: &str, state: State, now: Timestamp) {
        let Some(kept) = self.kept.get_mut(name) else {
            return;
        };
        let next = kept.definition.next(&kept.calendar, &state);
        kept.wake = match (&state.paused, state.pending.is_empty()) {
            // Somebody has triggered it meanwhile.
            (_, false) => Some(Timestamp::EPOCH),
            (Some(_), true) => None,
            (None, true) => next.map(|next| kept.calendar.fires_at(next)),
        };
        let waits = !state.waiting.is_empty() && state.paused.is_none();
        kept.state = state;
        if !waits {
            return;
        }
        for run in kept.state.open.clone() {
            if self.watched.insert(run) {
                match self.shared.ports.journal.watch(run).await {
                    // Looked at once more, as it may have ended before.
                    Ok(watch) => self.look_at(run, watch).await,
                    Err(_) => {
                        self.watched.remove(&run);
                        self.wake_those_behind(run, now.saturating_add(AGAIN));
                    }
                }
            }
        }
    }

    /// Lets those have a turn that wait for a run, if it has ended; goes on watching it otherwise.
    pub(super) async fn look_at(&mut self, run: RunId, mut watch: RunWatch) {
        let summary = self.shared.ports.journal.run(run).await;
        let is_known = summary.is_ok();
        if summary.is_ok_and(|summary| summary.is_none_or(|it| it.state.is_settled())) {
            self.watched.remove(&run);
            return self.wake_those_behind(run, Timestamp::EPOCH);
        }
        self.changed.spawn(async move {
            tokio::time::sleep(BETWEEN_LOOKS).await;
            if is_known {
                watch.changed().await;
            }
            (run, watch)
        });
    }

    fn wake_those_behind(&mut self, run: RunId, at: Timestamp) {
        for kept in self.kept.values_mut() {
            if kept.state.open.contains(&run) {
                kept.wake = Some(kept.wake.map_or(at, |wake| wake.min(at)));
            }
        }
    }
}
