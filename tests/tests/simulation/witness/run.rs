//! What the journal of one run may hold.

use std::collections::BTreeMap;

use coditect_core::dag::journal::{Record, RecordKind, Settlement};

use crate::workload::{Ending, RunScript};

#[derive(Debug, Default)]
pub(super) struct RunModel {
    started: bool,
    cancelled: bool,
    settled: bool,
    tasks: BTreeMap<u32, TaskModel>,
}

#[derive(Debug, Default)]
struct TaskModel {
    attempt: u32,
    /// Whether the attempt was handed out and has not ended.
    open: bool,
    /// Whether the attempt has answered with a plan whose end is awaited.
    expanded: bool,
    /// How it has ended for good.
    ended: Option<&'static str>,
    output: Option<u64>,
    /// To which claim of which process each attempt was granted.
    granted: BTreeMap<u32, (String, u64)>,
    parked: bool,
    /// What was ruled about attempts; none for what completes nothing.
    ruled: BTreeMap<u32, Option<u64>>,
}

impl TaskModel {
    /// The attempt ends.
    fn close(&mut self, attempt: u32) -> Result<(), String> {
        self.living()?;
        if attempt != self.attempt || !self.open {
            let (current, open) = (self.attempt, self.open);
            return Err(format!(
                "attempt {attempt} is no longer open (the last is {current}, open: {open})"
            ));
        }
        self.open = false;
        self.parked = false;
        Ok(())
    }

    fn living(&self) -> Result<(), String> {
        match self.ended {
            Some(ended) => Err(format!("the task had ended before: {ended}")),
            None => Ok(()),
        }
    }

    fn end(&mut self, how: &'static str) {
        self.ended = Some(how);
        self.open = false;
        self.parked = false;
    }
}

impl RunModel {
    pub(super) fn attempt_of(&self, task: u32) -> u32 {
        self.tasks.get(&task).map_or(0, |task| task.attempt)
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
        task.is_some_and(|task| task.ruled.contains_key(&attempt))
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

    pub(super) fn completions(&self) -> u64 {
        let succeeded = |task: &&TaskModel| task.output.is_some();
        self.tasks.values().filter(succeeded).count() as u64
    }

    /// Takes in a record; says what is wrong with it.
    pub(super) fn apply(
        &mut self,
        record: &Record,
        answered: impl Fn(u32, u32, u64) -> bool,
    ) -> Result<(), String> {
        if self.settled {
            return Err("the run had ended before".to_owned());
        }
        let number = record.kind.task().map_or(u32::MAX, |task| task.get());
        let task = match record.kind.task() {
            Some(task) => self.tasks.entry(task.get()).or_default(),
            None => return self.apply_to_run(&record.kind),
        };
        match &record.kind {
            RecordKind::Dispatched { attempt, .. } => {
                task.living()?;
                let next = task.attempt + 1;
                if attempt.get() != next || task.open {
                    return Err(format!("attempt {next} should have been next"));
                }
                (task.attempt, task.open) = (next, true);
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
                if !task.open || !task.granted.contains_key(&attempt.get()) {
                    return Err("the attempt that is parked was not granted".to_owned());
                }
                task.parked = true;
            }
            RecordKind::Succeeded {
                attempt, output, ..
            } => {
                task.close(attempt.get())?;
                task.end("succeeded");
                let value = serde_json::from_slice(output).map_err(|error| error.to_string())?;
                task.output = Some(value);
                let ruled = task.ruled.get(&attempt.get()).copied().flatten();
                if !answered(number, attempt.get(), value) && ruled != Some(value) {
                    return Err(format!("no handler of this attempt has answered {value}"));
                }
            }
            RecordKind::Failed {
                attempt, retry_at, ..
            } => {
                task.close(attempt.get())?;
                if retry_at.is_none() {
                    task.end("failed");
                }
            }
            RecordKind::Lost { attempt, .. } | RecordKind::Snoozed { attempt, .. } => {
                task.close(attempt.get())?;
            }
            RecordKind::Expanded { attempt, .. } => {
                task.close(attempt.get())?;
                task.expanded = true;
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
            RecordKind::Signalled { name, payload } => self.ruled(name, payload)?,
            RecordKind::Settled(_) => self.settled = true,
            _ => {}
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

    /// Compares how the run has ended with what its tasks have answered.
    pub(super) fn check_end(
        &self,
        settlement: Option<&Settlement>,
        script: Option<&RunScript>,
    ) -> Result<(), String> {
        if !self.settled {
            return Err("it has ended, and no record says so".to_owned());
        }
        let Some(script) = script else {
            // One that a handler has asked for.
            return Ok(());
        };
        match settlement {
            None => Err("it has ended without a settlement".to_owned()),
            Some(Settlement::Failed { .. }) => Ok(()),
            Some(Settlement::Cancelled { .. }) if script.cancel_after.is_none() => {
                Err("nobody has cancelled it".to_owned())
            }
            Some(Settlement::Cancelled { .. }) => Ok(()),
            Some(Settlement::Succeeded { result }) => {
                let roots = 0..script.tasks.len() as u32;
                let outputs: Vec<_> = roots.filter_map(|task| self.output_of(task)).collect();
                let text = String::from_utf8_lossy(result);
                let wrong = |error: serde_json::Error| format!("{error}: {text}");
                let right = match script.ending {
                    Ending::All => {
                        let result: Vec<u64> = serde_json::from_slice(result).map_err(wrong)?;
                        result == outputs
                    }
                    Ending::First => {
                        let result: u64 = serde_json::from_slice(result).map_err(wrong)?;
                        outputs.contains(&result)
                    }
                    Ending::Quorum(needed) => {
                        let result: Vec<u64> = serde_json::from_slice(result).map_err(wrong)?;
                        let known = result.iter().all(|value| outputs.contains(value));
                        result.len() == needed && known
                    }
                };
                match right {
                    true => Ok(()),
                    false => Err(format!(
                        "its result is {text}, and its tasks answered {outputs:?}"
                    )),
                }
            }
        }
    }
}

/// What a record is called in the record of events.
pub(super) fn name_of(kind: &RecordKind) -> &'static str {
    match kind {
        RecordKind::Started => "+ started",
        RecordKind::Dispatched { .. } => "+ dispatched",
        RecordKind::Claimed { .. } => "+ claimed",
        RecordKind::Granted { .. } => "+ granted",
        RecordKind::Parked { .. } => "+ parked",
        RecordKind::Signalled { .. } => "+ signalled",
        RecordKind::Succeeded { .. } => "+ succeeded",
        RecordKind::Failed { .. } => "+ failed",
        RecordKind::Lost { .. } => "+ lost",
        RecordKind::Snoozed { .. } => "+ snoozed",
        RecordKind::Aimed { .. } => "+ aimed",
        RecordKind::Expanded { .. } => "+ expanded",
        RecordKind::Resolved { .. } => "+ resolved",
        RecordKind::ScopeFailed { .. } => "+ scope failed",
        RecordKind::Expired { .. } => "+ expired",
        RecordKind::Cancelled { .. } => "+ cancelled",
        RecordKind::RunCancelled { .. } => "+ run cancelled",
        RecordKind::Settled(_) => "+ settled",
        RecordKind::Unserved { .. } => "+ unserved",
        _ => "+ other",
    }
}
