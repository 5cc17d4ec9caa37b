//! What the journal of one run may hold.

use std::collections::{BTreeMap, BTreeSet};

use coditect_core::RunId;
use coditect_core::dag::journal::{Record, RecordKind};

use super::handlers::Handlers;
use super::task::TaskModel;
use super::wait;
use crate::meddle::PatchScript;
use crate::workload::RunScript;

#[derive(Debug, Default)]
pub(super) struct RunModel {
    started: bool,
    cancelled: bool,
    settled: bool,
    paused: bool,
    /// How often it was opened again after it had ended.
    openings: u32,
    /// The first that came by each name.
    signals: BTreeMap<String, u64>,
    /// The patches that were applied.
    patches: BTreeSet<String>,
    tasks: BTreeMap<u32, TaskModel>,
}

impl RunModel {
    pub(super) fn attempt_of(&self, task: u32) -> u32 {
        self.tasks.get(&task).map_or(0, |task| task.attempt)
    }

    /// Whether this is the attempt of the task, and has not ended.
    pub(super) fn is_open(&self, task: u32, attempt: u32) -> bool {
        let task = self.tasks.get(&task);
        task.is_some_and(|task| task.open && task.attempt == attempt)
    }

    pub(super) fn output_of(&self, task: u32) -> Option<u64> {
        self.tasks.get(&task).and_then(|task| task.output)
    }

    pub(super) fn was_granted(&self, task: u32, attempt: u32) -> bool {
        let task = self.tasks.get(&task);
        task.is_some_and(|task| task.granted.contains_key(&attempt))
    }

    pub(super) fn was_ruled(&self, task: u32, attempt: u32) -> bool {
        let task = self.tasks.get(&task);
        task.is_some_and(|task| task.was_ruled(attempt))
    }

    /// The tasks that wait for a ruling.
    pub(super) fn parked(&self) -> impl Iterator<Item = u32> {
        let open = !self.settled && !self.cancelled;
        let parked = self
            .tasks
            .iter()
            .filter(move |(_, task)| open && task.parked);
        parked.map(|(number, _)| *number)
    }

    /// The signals that tasks wait for.
    pub(super) fn waiting(&self, script: &RunScript) -> BTreeSet<u32> {
        let open = !self.settled && !self.cancelled;
        let waiting = self.tasks.iter().filter(|(_, task)| open && task.waiting);
        let wait = |number: u32| script.tasks.get(number as usize)?.wait;
        waiting
            .filter_map(|(number, _)| Some(wait(*number)?.signal))
            .collect()
    }

    pub(super) const fn is_settled(&self) -> bool {
        self.settled
    }

    pub(super) const fn openings(&self) -> u32 {
        self.openings
    }

    pub(super) fn has_ended(&self, task: u32) -> bool {
        let task = self.tasks.get(&task);
        task.is_some_and(|task| task.ended.is_some())
    }

    /// Whether an approval is waited for.
    pub(super) fn is_undecided(&self, script: &RunScript) -> bool {
        let open = !self.settled && !self.cancelled;
        let gate = script
            .gate
            .and_then(|_| self.tasks.get(&script.gate_task()));
        open && gate.is_some_and(|gate| gate.waiting)
    }

    /// Checks that no more attempts are under way than may be.
    pub(super) fn check_limit(&self, script: Option<&RunScript>) -> Result<(), String> {
        let limit = script.and_then(|script| Some((script.planned(), script.max_concurrency?)));
        let Some((planned, limit)) = limit else {
            return Ok(());
        };
        // Those of an expanded task end unsaid when their plan fails.
        let tasks = self.tasks.range(..planned);
        let under_way = tasks.filter(|(_, task)| task.is_under_way()).count();
        match under_way > limit as usize {
            true => Err(format!("{under_way} attempts are under way")),
            false => Ok(()),
        }
    }

    /// The patches that were applied, but for those of which the next has taken out again what they added.
    pub(super) fn patches_of<'a>(
        &self,
        script: &'a RunScript,
    ) -> impl Iterator<Item = &'a PatchScript> {
        let patches = script.meddling.iter().filter_map(|one| one.patch());
        let applied = patches.filter(|patch| self.was_patched(&PatchScript::id(patch.number)));
        let applied: Vec<_> = applied.collect();
        let removed: BTreeSet<_> = applied
            .iter()
            .filter(|patch| patch.removes)
            .map(|patch| patch.number - 1)
            .collect();
        let stays = move |patch: &&PatchScript| !removed.contains(&patch.number);
        applied.into_iter().filter(stays)
    }

    /// Checks that what a task was made to wait for besides, while the run was under way or by an approval, has succeeded.
    fn check_upstream(
        &self,
        run: RunId,
        number: u32,
        script: &RunScript,
        handlers: &Handlers,
    ) -> Result<(), String> {
        let task = script.tasks.get(number as usize);
        if task.is_none_or(|task| task.after_failure) {
            return Ok(());
        }
        let succeeded = |task: u32| {
            let task = self.tasks.get(&task);
            task.is_some_and(|task| task.ended == Some("succeeded"))
        };
        let is_gated = script.gate.is_some_and(|gate| gate.before == number);
        if is_gated && !succeeded(script.gate_task()) {
            return Err("it was not approved".to_owned());
        }
        let before = |patch: &&PatchScript| script.is_call(number) && patch.before == Some(number);
        for patch in self.patches_of(script).filter(before) {
            let key = PatchScript::key(patch.number);
            let extra = handlers.position_of(run, &key);
            if !extra.is_some_and(succeeded) {
                return Err(format!("it comes after `{key}`, which has not succeeded"));
            }
        }
        Ok(())
    }

    pub(super) fn was_patched(&self, patch: &str) -> bool {
        self.patches.contains(patch)
    }

    pub(super) fn completions(&self) -> u64 {
        let succeeded = |task: &&TaskModel| task.output.is_some();
        self.tasks.values().filter(succeeded).count() as u64
    }

    /// Takes in a record; says what is wrong with it.
    pub(super) fn apply(
        &mut self,
        record: &Record,
        run: RunId,
        script: Option<&RunScript>,
        handlers: &Handlers,
    ) -> Result<(), String> {
        match &record.kind {
            RecordKind::Redriven { task, .. } => {
                return self.open_again(Some(task.get()), script);
            }
            RecordKind::Retried => return self.open_again(None, script),
            _ if self.settled => return Err("the run had ended before".to_owned()),
            RecordKind::Dispatched { .. } | RecordKind::Waiting { .. } if self.paused => {
                return Err("the run is paused".to_owned());
            }
            _ => {}
        }
        let number = record.kind.task().map_or(u32::MAX, |task| task.get());
        if let (RecordKind::Dispatched { .. }, Some(script)) = (&record.kind, script) {
            self.check_upstream(run, number, script, handlers)?;
        }
        let is_gate = script.is_some_and(|script| script.is_gate(number));
        let task = match record.kind.task() {
            Some(task) => self.tasks.entry(task.get()).or_default(),
            None => return self.apply_to_run(&record.kind),
        };
        match &record.kind {
            RecordKind::Dispatched { attempt, .. } => {
                task.begin(attempt.get())?;
            }
            RecordKind::Waiting { attempt, .. } => {
                task.begin(attempt.get())?;
                task.waiting = true;
            }
            RecordKind::Claimed { attempt, .. } => {
                task.living()?;
                if attempt.get() != task.attempt || !task.open {
                    return Err("the attempt that is claimed is not open".to_owned());
                }
            }
            RecordKind::Granted {
                attempt,
                incarnation,
                claim,
                ..
            } => {
                task.living()?;
                if attempt.get() != task.attempt || !task.open {
                    return Err("the attempt that is granted is not open".to_owned());
                }
                let grant = (incarnation.to_string(), *claim);
                let kept = task.granted.entry(attempt.get()).or_insert(grant.clone());
                if *kept != grant {
                    return Err(format!("it was granted before, to {kept:?}"));
                }
                task.parked = false;
            }
            RecordKind::Parked { attempt, .. } => {
                task.living()?;
                // One that was cancelled in the middle is parked when its run is opened again.
                let was_granted = task.granted.contains_key(&attempt.get());
                if !task.open || !(was_granted || task.has_begun()) {
                    return Err("the attempt that is parked was not granted".to_owned());
                }
                task.parked = true;
            }
            RecordKind::Succeeded {
                attempt, output, ..
            } => {
                let waited = task.waiting;
                task.close(attempt.get())?;
                task.end("succeeded");
                if is_gate {
                    task.output = Some(1);
                    return wait::check_approved(script, &self.signals);
                }
                let value = serde_json::from_slice(output).map_err(|error| error.to_string())?;
                task.output = Some(value);
                if waited {
                    return wait::check_given(script, number, &self.signals, value);
                }
                let ruled = task.ruled.get(&attempt.get()).copied().flatten();
                let answered = handlers.has_answered(run, number, attempt.get(), value);
                if !answered && ruled != Some(value) {
                    return Err(format!("no handler of this attempt has answered {value}"));
                }
            }
            RecordKind::Failed {
                attempt, retry_at, ..
            } => {
                let waited = task.waiting;
                task.close(attempt.get())?;
                if retry_at.is_none() {
                    task.end("failed");
                }
                if is_gate {
                    return wait::check_rejected(script, &self.signals);
                }
                let ruled = task.ruled.contains_key(&attempt.get());
                if !waited && !ruled && !handlers.has_begun(run, number, attempt.get()) {
                    return Err("no handler has begun this attempt".to_owned());
                }
            }
            RecordKind::Lost { attempt, .. } | RecordKind::Snoozed { attempt, .. } => {
                task.close(attempt.get())?;
            }
            RecordKind::Expanded { attempt, .. } => {
                task.close(attempt.get())?;
                task.expanded = true;
                task.last_expanded = attempt.get();
            }
            RecordKind::Resolved { output, .. } => {
                task.living()?;
                if !std::mem::take(&mut task.expanded) {
                    return Err("the task has answered with no plan".to_owned());
                }
                task.end("resolved");
                let value = serde_json::from_slice(output).map_err(|error| error.to_string())?;
                task.output = Some(value);
            }
            RecordKind::ScopeFailed { .. } => {
                task.living()?;
                if !std::mem::take(&mut task.expanded) {
                    return Err("the task has answered with no plan".to_owned());
                }
                task.end("its plan failed");
            }
            RecordKind::Expired { .. } => {
                task.living()?;
                task.end("expired");
            }
            RecordKind::Cancelled { .. } => {
                task.living()?;
                task.end("cancelled");
            }
            _ => {}
        }
        Ok(())
    }

    fn apply_to_run(&mut self, kind: &RecordKind) -> Result<(), String> {
        match kind {
            RecordKind::Started if self.started => return Err("it had begun before".to_owned()),
            RecordKind::Started => self.started = true,
            RecordKind::RunCancelled { .. } => self.cancelled = true,
            RecordKind::Signalled { name, payload } if name.starts_with("signal-") => {
                let value = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
                if self.signals.insert(name.to_string(), value).is_some() {
                    return Err("it had come before".to_owned());
                }
            }
            RecordKind::Signalled { name, payload } if name.starts_with("approval:") => {
                let approved = wait::approves(payload)?;
                let name = name.to_string();
                if self.signals.insert(name, approved.into()).is_some() {
                    return Err("it had come before".to_owned());
                }
            }
            RecordKind::Signalled { name, payload } => self.ruled(name, payload)?,
            RecordKind::Paused { .. } => self.paused = true,
            RecordKind::Resumed => self.paused = false,
            RecordKind::Patched { patch } => self.patched(patch)?,
            RecordKind::Settled(_) => {
                self.settled = true;
                self.paused = false;
            }
            _ => {}
        }
        Ok(())
    }

    /// The graph has changed.
    fn patched(&mut self, patch: &[u8]) -> Result<(), String> {
        let patch: serde_json::Value =
            serde_json::from_slice(patch).map_err(|error| error.to_string())?;
        let id = patch["id"].as_str().ok_or("it has no name")?;
        match self.patches.insert(id.to_owned()) {
            true => Ok(()),
            false => Err("it was applied before".to_owned()),
        }
    }

    /// Somebody gives what has not succeeded another chance: one task that has failed, or all.
    fn open_again(&mut self, only: Option<u32>, script: Option<&RunScript>) -> Result<(), String> {
        let planned = script.map_or(0, RunScript::planned);
        let was_settled = std::mem::take(&mut self.settled);
        if !was_settled && only.is_none() {
            return Err("the run goes on".to_owned());
        }
        self.openings += u32::from(was_settled);
        (self.cancelled, self.paused) = (false, false);
        for (number, task) in &mut self.tasks {
            let is_meant = only.is_none_or(|only| only == *number);
            let has_failed = matches!(task.ended, Some("failed" | "expired" | "its plan failed"));
            // Others that have failed stay as they are, and so does everything else in a run that goes on.
            let stays = !is_meant && (!was_settled || (has_failed && *number < planned));
            if task.output.is_none() && !stays {
                if script.is_some_and(|script| script.is_gate(*number)) {
                    // It is asked again, unless it was approved.
                    self.signals
                        .retain(|name, value| *value == 1 || !name.starts_with("approval:"));
                }
                task.open_again(is_meant, only == Some(*number));
            }
        }
        Ok(())
    }

    /// Takes in what somebody has ruled about an attempt.
    fn ruled(&mut self, name: &str, payload: &[u8]) -> Result<(), String> {
        let mut parts = name
            .split([':', '.', '-'])
            .filter_map(|part| part.parse().ok());
        // The attempt, how often it was parked, and the task.
        let (Some(attempt), Some(task)) = (parts.next(), parts.nth(1)) else {
            return Err("it was signalled what nobody signals".to_owned());
        };
        let ruling: serde_json::Value =
            serde_json::from_slice(payload).map_err(|error| error.to_string())?;
        let completes = ruling["verdict"]["complete"].as_u64();
        let task: &mut TaskModel = self.tasks.entry(task).or_default();
        task.ruled.insert(attempt, completes);
        Ok(())
    }
}
