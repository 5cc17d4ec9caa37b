//! Tasks that the bus has set aside: their attempts are lost, and the run goes on without waiting.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use coditect_bus::{DeadLetterFilter, MessageBus, Page, QueueName};
use coditect_dag::{Attempt, RunId, TaskId};
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

/// An attempt that may have been set aside.
pub(super) type Suspect = (RunId, TaskId, Attempt);

impl Owner {
    /// Looks, beside the loop, whether attempts that have been on the bus for long are dead letters.
    pub(super) fn sweep(&mut self) {
        if self.now < self.next_sweep {
            return;
        }
        self.next_sweep = self.now.saturating_add(PERIOD);
        self.look_for_orphans();
        self.count_the_silent();
        let mut long: FxHashMap<QueueName, Vec<Suspect>> = FxHashMap::default();
        for (run, active) in &self.runs {
            for (task, flight) in &active.flights {
                let queue = match &flight.place {
                    Place::Bus(queue) => queue,
                    Place::Instance(routed) => &routed.queue,
                    Place::Local(_) | Place::Claimed(_) => continue,
                };
                if self.now.saturating_since(flight.since) >= PERIOD {
                    let suspects = long.entry(queue.clone()).or_default();
                    suspects.push((*run, *task, flight.attempt));
                }
            }
        }
        let mut asked = FxHashMap::default();
        let mut suspects = Vec::new();
        for (queue, all) in long {
            let (page, last) = page_after(all, self.swept.get(&queue));
            asked.extend(last.map(|last| (queue.clone(), last)));
            let ids = page.into_iter();
            let mut filter = DeadLetterFilter::default();
            filter.ids = ids
                .map(|(run, task, attempt)| wire::message_id(run, task, attempt))
                .collect();
            suspects.push((queue, filter));
        }
        self.swept = asked;
        self.let_classes_go();
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

/// Chooses whom to ask for: all, or those after the one that was last asked for; names the last where there are more.
fn page_after(mut all: Vec<Suspect>, after: Option<&Suspect>) -> (Vec<Suspect>, Option<Suspect>) {
    if all.len() <= PAGE.get() {
        return (all, None);
    }
    all.sort_unstable();
    let first = all.partition_point(|one| after.is_some_and(|after| one <= after));
    let count = all.len();
    all.rotate_left(first % count);
    all.truncate(PAGE.get());
    let last = all.last().copied();
    (all, last)
}

/// Reports every suspect that was set aside as lost. Dead letters stay where they are, for people.
async fn look(
    bus: Arc<dyn MessageBus>,
    suspects: Vec<(QueueName, DeadLetterFilter)>,
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
                by: None,
                ended: Ended::failed(Failure::new(FailureKind::Lost, reason)),
            };
            if outcomes.send(outcome).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_more_than_fit_in_one_look_each_has_its_turn() {
        let run = RunId::from_uuid(uuid::Uuid::nil());
        let all: Vec<Suspect> = (0..2_500)
            .map(|task| (run, TaskId::new(task), Attempt::FIRST))
            .collect();
        let mut asked = rustc_hash::FxHashSet::default();
        let mut last = None;
        for look in 1..=3 {
            let (page, next) = page_after(all.clone(), last.as_ref());
            assert_eq!(page.len(), PAGE.get());
            asked.extend(page);
            assert_eq!(asked.len(), (look * PAGE.get()).min(all.len()));
            last = next;
        }
        let few = all[..PAGE.get()].to_vec();
        assert_eq!(page_after(few.clone(), last.as_ref()), (few, None));
    }
}
