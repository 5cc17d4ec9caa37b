//! Tasks that the bus has set aside: their attempts are lost, and the run goes on without waiting.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use coditect_bus::{DeadLetterFilter, MessageBus, Page, QueueName};
use rustc_hash::FxHashMap;
use tokio::sync::mpsc;

use super::active::Place;
use super::owner::Owner;
use crate::failure::{Failure, FailureKind};
use crate::wire::{self, Outcome, TaskMessage};
use crate::worker::Ended;

/// How long an attempt is on the bus before anybody asks whether it was set aside.
pub(super) const PERIOD: Duration = Duration::from_secs(5);
/// How many attempts one look asks for.
const PAGE: NonZeroUsize = NonZeroUsize::new(1000).expect("not zero");

impl Owner {
    /// Looks, beside the loop, whether attempts that have been on the bus for long are dead letters.
    pub(super) fn sweep(&mut self) {
        if self.now < self.next_sweep {
            return;
        }
        self.next_sweep = self.now.saturating_add(PERIOD);
        self.look_for_orphans();
        let mut suspects: FxHashMap<QueueName, DeadLetterFilter> = FxHashMap::default();
        for (run, active) in &self.runs {
            for (task, flight) in &active.flights {
                let long = self.now.saturating_since(flight.since) >= PERIOD;
                let queue = match &flight.place {
                    Place::Bus(queue) => Some(queue),
                    Place::Instance(routed) => Some(&routed.queue),
                    Place::Local(_) | Place::Claimed(_) => None,
                };
                if let (true, Some(queue)) = (long, queue) {
                    let filter = suspects.entry(queue.clone()).or_default();
                    if filter.ids.len() < PAGE.get() {
                        filter
                            .ids
                            .push(wire::message_id(*run, *task, flight.attempt));
                    }
                }
            }
        }
        if !suspects.is_empty() {
            let bus = Arc::clone(&self.shared.ports.bus);
            let look = look(bus, suspects, self.outcomes.clone());
            let abort = self.shared.abort.clone();
            self.shared
                .tracker
                .spawn(async move { abort.run_until_cancelled(look).await });
        }
    }
}

/// Reports every suspect that was set aside as lost. Dead letters stay where they are, for people.
async fn look(
    bus: Arc<dyn MessageBus>,
    suspects: FxHashMap<QueueName, DeadLetterFilter>,
    outcomes: mpsc::Sender<Outcome>,
) {
    for (queue, filter) in suspects {
        let page = Page {
            limit: PAGE,
            ..Page::default()
        };
        let letters = match bus.dead_letters(&queue, &filter, page).await {
            Ok(page) => page.letters,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(%queue, error, "the dead letters could not be read; looking again later");
                continue;
            }
        };
        for letter in letters {
            let Ok(message) = TaskMessage::read(&letter.envelope) else {
                continue;
            };
            let reason = format!("the bus set it aside: {}", letter.reason);
            let outcome = Outcome {
                run: message.run,
                task: message.task,
                attempt: message.attempt,
                ended: Ended::failed(Failure::new(FailureKind::Lost, reason)),
            };
            if outcomes.send(outcome).await.is_err() {
                return;
            }
        }
    }
}
