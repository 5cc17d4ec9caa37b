//! Attempts that went with their queue: published again, as the same attempts.

use std::time::Duration;

use coditect_bus::QueueName;
use coditect_dag::Timestamp;
use rustc_hash::FxHashMap;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::Instant;

use super::active::{Flight, Place};
use super::commit::Deferred;
use super::owner::Owner;
use crate::wire::Anew;

/// How far the clocks of two processes may be apart: what was handed out this shortly before a queue was found missing
/// counts as handed to the new one, or whatever waits for a first worker would be done twice.
const SKEW: Duration = Duration::from_secs(1);
/// How long notices of one queue are gathered, as every consumer that it had finds it gone and tells.
///
/// To publish at once, and to ignore those that follow, would lose what is published before a queue goes once more.
pub(super) const GATHERED: Duration = Duration::from_secs(2);
/// By how much an instant may be off from what it is as a timestamp.
const ROUNDING: Duration = Duration::from_millis(10);
/// How many queues' notices are gathered; of more, all queues count as gone, and what waits in them is done twice. So there is
/// room for all capabilities of a process that are new.
const QUEUES: usize = 1024;

/// Gathers what is told of queues that were made anew.
pub(super) struct Notices {
    heard: broadcast::Receiver<Option<Anew>>,
    /// By queue; none for any, when there were too many to tell which.
    gathered: FxHashMap<Option<QueueName>, Gone>,
}

/// What went with a queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone {
    due: Instant,
    /// What had been handed out when this was heard.
    heard: Option<Instant>,
    /// What had been handed out when somebody found no such queue.
    made: Option<Timestamp>,
}

impl Notices {
    /// Hears what is told from now on, and takes in what was told before.
    pub(super) fn new(heard: broadcast::Receiver<Option<Anew>>, before: Vec<Option<Anew>>) -> Self {
        let gathered = FxHashMap::default();
        let mut notices = Self { heard, gathered };
        for notice in before {
            notices.take_in(notice);
        }
        notices
    }

    /// Says whether nothing was told that is still gathered.
    pub(super) fn is_quiet(&self) -> bool {
        self.gathered.is_empty() && self.heard.is_empty()
    }

    /// Takes all that was told until now, as what follows is for the next owner to gather.
    pub(super) fn take(&mut self) -> Vec<(Option<QueueName>, Gone)> {
        loop {
            match self.heard.try_recv() {
                Ok(notice) => self.take_in(notice),
                Err(TryRecvError::Lagged(_)) => self.take_in(None),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        self.gathered.drain().collect()
    }

    fn take_in(&mut self, notice: Option<Anew>) {
        match notice {
            Some(notice) => self.gather(Some(notice.anew), notice.at),
            None => self.gather(None, None),
        }
    }

    /// Waits until all was told of a queue that was made anew; of no queue in particular if there were too many.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what was heard is kept.
    pub(super) async fn next(&mut self) -> (Option<QueueName>, Gone) {
        loop {
            let first = self.gathered.iter().min_by_key(|(_, gone)| gone.due);
            let first = first.map(|(queue, gone)| (queue.clone(), gone.due));
            let due = first.as_ref().map(|(_, due)| *due);
            tokio::select! {
                biased;
                heard = self.heard.recv() => match heard {
                    Ok(notice) => self.take_in(notice),
                    Err(RecvError::Lagged(_)) => self.take_in(None),
                    // The worker, which holds the sender, outlives the owners of its process.
                    Err(RecvError::Closed) => std::future::pending().await,
                },
                () = reached(due) => {
                    if let Some(gone) = first.and_then(|(queue, _)| self.gathered.remove_entry(&queue)) {
                        return gone;
                    }
                }
            }
        }
    }

    fn gather(&mut self, queue: Option<QueueName>, at: Option<Timestamp>) {
        let now = Instant::now();
        let is_one_more = !self.gathered.contains_key(&queue);
        let mut due = now + GATHERED;
        let (queue, at) = match is_one_more && self.gathered.len() >= QUEUES {
            true => {
                // However many follow, the first do not wait longer for it.
                let gathered = self.gathered.drain();
                due = gathered.map(|(_, gone)| gone.due).fold(due, Instant::min);
                (None, None)
            }
            false => (queue, at),
        };
        let gone = self.gathered.entry(queue).or_insert(Gone {
            due,
            heard: None,
            made: None,
        });
        match at {
            Some(at) => gone.made = gone.made.max(Some(at)),
            None => gone.heard = Some(now),
        }
    }
}

impl Gone {
    /// All that was handed out until now.
    fn everything() -> Self {
        let now = Instant::now();
        Self {
            due: now,
            heard: Some(now),
            made: None,
        }
    }

    fn took(&self, flight: &Flight, now: Timestamp) -> bool {
        let before = |heard: Instant| {
            now.saturating_since(flight.since) + ROUNDING >= Instant::now() - heard
        };
        let made = |made| flight.since.saturating_add(SKEW) < made;
        self.heard.is_some_and(before) || self.made.is_some_and(made)
    }
}

impl Owner {
    /// Goes on after an unknown part of what was told to this owner is lost: nobody is silent who could not be heard, and
    /// what may have ended unheard is handed out once more.
    pub(super) fn missed(&mut self) {
        self.hear_anew();
        self.publish_again(None, Gone::everything());
    }

    /// Publishes what was handed to a queue before it was made anew; without a queue, what was handed to any.
    ///
    /// One that had been taken and not acknowledged went with the queue, too: its worker has been told that it is lost.
    pub(super) fn publish_again(&mut self, queue: Option<&QueueName>, gone: Gone) {
        self.now = self.shared.ports.clock.now();
        let mut again = Vec::new();
        for (run, active) in &mut self.runs {
            for (task, flight) in &mut active.flights {
                let at = match &flight.place {
                    Place::Bus(at) => at,
                    Place::Instance(routed) => &routed.queue,
                    Place::Local(_) | Place::Claimed(_) => continue,
                };
                if queue.is_none_or(|queue| queue == at) && gone.took(flight, self.now) {
                    flight.since = self.now;
                    again.push((*run, *task));
                    self.deferred.push(Deferred::Publish {
                        run: *run,
                        task: *task,
                        attempt: flight.attempt,
                    });
                }
            }
        }
        for attempt in again {
            self.count_again(attempt);
        }
    }
}

async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
