//! What a run waits for from outside, now.

use std::sync::Arc;

use coditect_dag::{RunId, Timestamp};

use super::event::{EventStream, TaskInfo};
use crate::error::Error;
use crate::plan::Awaited;
use crate::ports::Ports;

/// A task that waits for a signal, an approval or a ruling; told by [`RunHandle::waiting`](crate::RunHandle::waiting).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Waiting {
    /// The task.
    pub task: TaskInfo,
    /// What it waits for.
    pub awaited: Awaited,
    /// Since when.
    pub since: Timestamp,
    /// Until when; none for a wait without end.
    pub until: Option<Timestamp>,
    /// What is to be [approved](crate::Approval::about), or what a task was given that is to be ruled about, as JSON;
    /// `null` where nothing is shown.
    pub subject: String,
}

impl Waiting {
    pub(super) async fn read(run: RunId, ports: &Arc<Ports>) -> Result<Vec<Self>, Error> {
        let mut stream = EventStream::open(run, Arc::clone(ports)).await?;
        while stream.next_kept().await?.is_some() {}
        let machine = stream.machine();
        let mut waiting = Vec::new();
        for task in machine.waiting() {
            let (Some(spec), Some(since)) = (machine.wait_spec(task), machine.waiting_since(task))
            else {
                continue;
            };
            let subject = machine.input(task, ports.settings.max_payload);
            let subject = subject.map_err(Error::of_run)?;
            waiting.push(Self {
                task: stream.info(task),
                awaited: spec.awaited(),
                since,
                until: machine.waiting_until(task),
                subject: String::from_utf8_lossy(&subject).into_owned(),
            });
        }
        for task in machine.all_parked() {
            let Some(parked) = machine.parked(task) else {
                continue;
            };
            let subject = machine.input(task, ports.settings.max_payload);
            let subject = subject.map_err(Error::of_run)?;
            waiting.push(Self {
                task: stream.info(task),
                awaited: Awaited::Ruling(Arc::clone(&parked.reason)),
                since: parked.since,
                until: machine.parked_until(task),
                subject: String::from_utf8_lossy(&subject).into_owned(),
            });
        }
        waiting.sort_by_key(|one| one.task.task);
        Ok(waiting)
    }
}
