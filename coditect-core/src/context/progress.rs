//! Progress reports: hints, never in anybody's way.

use std::sync::Arc;

use coditect_bus::{Destination, Envelope, MessageBus};
use coditect_dag::{Attempt, RunId, TaskId};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::wire;

/// How many reports may wait to be published; what comes on top is dropped.
const WAITING: usize = 1024;

/// How far a task is, as its handler says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The run.
    pub run: RunId,
    /// The task.
    pub task: TaskId,
    /// The attempt that reports.
    pub attempt: Attempt,
    /// The share that is done, from 0 to 1.
    pub fraction: f64,
    /// What is being done, in words.
    pub message: String,
}

/// Where contexts put their reports.
#[derive(Clone, Debug)]
pub(crate) struct ProgressOutlet(mpsc::Sender<Progress>);

impl ProgressOutlet {
    pub(crate) fn tell(&self, progress: Progress) {
        // A report that does not fit is dropped, as documented.
        let _ = self.0.try_send(progress);
    }
}

/// Publishes what contexts report.
#[derive(Debug)]
pub(crate) struct ProgressPublisher(mpsc::Receiver<Progress>);

impl ProgressPublisher {
    pub(crate) fn new() -> (ProgressOutlet, Self) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (ProgressOutlet(sender), Self(receiver))
    }

    /// Publishes until it is told to stop.
    pub(crate) async fn run(mut self, bus: Arc<dyn MessageBus>, stop: CancellationToken) {
        while let Some(Some(progress)) = stop.run_until_cancelled(self.0.recv()).await {
            let Ok(topic) = wire::progress_topic(progress.run) else {
                continue;
            };
            if let Ok(envelope) = Envelope::json(&progress) {
                // Nobody may listen, which is no error of ours.
                let _ = bus
                    .publish(
                        &Destination::Topic(topic),
                        envelope.with_header(wire::KIND, "progress"),
                    )
                    .await;
            }
        }
    }
}
