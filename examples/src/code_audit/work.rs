//! Who did the work: each analysis says so, and the run adds it up.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::code_audit::model::FileReport;
use crate::code_audit::report::{duration, percent, thousands};

/// Who analysed a file, and how long that took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Work {
    /// The process: `host:pid`.
    pub(crate) worker: Arc<str>,
    /// How many files it analyses at once.
    pub(crate) slots: usize,
    /// How long it had one of its slots, in microseconds.
    pub(crate) busy_us: u64,
}

/// What one process did for a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct WorkerFigures {
    /// The process: `host:pid`.
    pub(crate) worker: Arc<str>,
    /// How many files it analyses at once.
    pub(crate) slots: usize,
    /// How many files it analysed.
    pub(crate) tasks: u64,
    /// How long its slots had work, in all, in microseconds.
    pub(crate) busy_us: u64,
}

impl WorkerFigures {
    /// Starts with nothing done.
    pub(crate) fn new(worker: Arc<str>, slots: usize) -> Self {
        Self {
            worker,
            slots,
            tasks: 0,
            busy_us: 0,
        }
    }

    /// Adds one analysis.
    pub(crate) fn add(&mut self, busy_us: u64) {
        self.tasks += 1;
        self.busy_us += busy_us;
    }

    /// Adds up who did what, in the order of their names.
    pub(crate) fn of(files: &[FileReport]) -> Vec<Self> {
        let mut workers: BTreeMap<Arc<str>, Self> = BTreeMap::new();
        for work in files.iter().filter_map(|file| file.work.as_ref()) {
            workers
                .entry(Arc::clone(&work.worker))
                .or_insert_with(|| Self::new(Arc::clone(&work.worker), work.slots))
                .add(work.busy_us);
        }
        workers.into_values().collect()
    }

    /// The share of the slots of all `workers` that had work while `wall` passed, from 0 to 1.
    pub(crate) fn utilisation(workers: &[Self], wall: Duration) -> f64 {
        let busy: u64 = workers.iter().map(|worker| worker.busy_us).sum();
        // More slots than there are tasks cannot be used by anybody.
        let usable = |worker: &Self| {
            worker
                .slots
                .min(usize::try_from(worker.tasks).unwrap_or(usize::MAX))
        };
        let slots: usize = workers.iter().map(usable).sum();
        let whole = wall.as_secs_f64() * 1e6 * slots as f64;
        if whole > 0.0 {
            (busy as f64 / whole).min(1.0)
        } else {
            0.0
        }
    }

    /// Says it in one line, of a span in which the process was there.
    pub(crate) fn line(&self, wall: Duration) -> String {
        format!(
            "{}: {} files, {} slots, {} of their time busy in {}",
            self.worker,
            thousands(self.tasks),
            self.slots,
            percent(Self::utilisation(std::slice::from_ref(self), wall)),
            duration(u64::try_from(wall.as_micros()).unwrap_or(u64::MAX))
        )
    }
}

/// The name of this process among others, on this and other machines.
pub(crate) fn process_name() -> Arc<str> {
    let host = fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .or_else(|| std::env::var("COMPUTERNAME").ok());
    let host = host.as_deref().map_or("worker", str::trim);
    format!("{host}:{}", std::process::id()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_slots_that_could_be_used() {
        let worker = |slots, tasks, busy_us| WorkerFigures {
            worker: "w".into(),
            slots,
            tasks,
            busy_us,
        };
        let share =
            |workers: &[WorkerFigures]| WorkerFigures::utilisation(workers, Duration::from_secs(1));
        assert_eq!(share(&[worker(2, 10, 1_000_000)]), 0.5);
        assert_eq!(share(&[worker(8, 2, 1_000_000)]), 0.5);
        assert_eq!(share(&[worker(1, 10, 1_000_000), worker(3, 10, 0)]), 0.25);
        assert_eq!(share(&[]), 0.0);
    }

    #[test]
    fn processes_have_names_of_their_own() {
        let name = process_name();
        assert!(
            name.ends_with(&format!(":{}", std::process::id())),
            "{name}"
        );
    }
}
