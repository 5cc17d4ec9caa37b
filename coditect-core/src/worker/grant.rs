//! Leave to begin: an irreversible attempt is begun only once its owner has written down by whom.
//!
//! The worker claims it and waits for the answer, for so long. Where none came, it says that it has not begun and gives the
//! task back; an answer that comes later is answered with the same.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use coditect_bus::{
    Consumer, Delivery, Destination, ErrorKind, MessageBus, QueueName, QueueSpec, Subscription,
};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::{OnceCell, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Worker;
use super::claim::{Claim, publish};
use super::consume::{RESUBSCRIBE, settle};
use super::report::publish_envelope;
use super::running::AttemptName;
use crate::error::Error;
use crate::wire::{self, Grant, Holding, Said};

/// How long the answer to a claim is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a claim is remembered that was given up: an answer that comes later finds nobody, and its owner hears of the
/// silence.
const REMEMBERED: Duration = Duration::from_secs(600);
const PREFETCH: NonZeroUsize = NonZeroUsize::new(64).expect("not zero");

/// What came of asking whether an attempt may begin.
#[derive(Debug)]
pub(super) enum Begin {
    /// It may, and is held by this claim.
    Granted(Claim),
    /// It is another's, or nobody's any more.
    Refused,
    /// Nobody has answered. Says whether the owner will hear that it has not begun.
    NotNow { is_told: bool },
}

/// The claims of this process that wait to be granted.
#[derive(Debug, Default)]
pub(super) struct Grants {
    asked: Mutex<Asked>,
    /// The queue of the answers, once there was something to ask.
    queue: OnceCell<QueueName>,
}

#[derive(Debug, Default)]
struct Asked {
    /// The number of the last claim. What an owner gives an agent of its own process has none.
    last: u64,
    claims: FxHashMap<u64, State>,
}

#[derive(Debug)]
enum State {
    Waiting(oneshot::Sender<bool>),
    GivenUp { name: AttemptName, since: Instant },
}

impl Grants {
    pub(super) fn ask(&self) -> (u64, oneshot::Receiver<bool>) {
        let (answer, answered) = oneshot::channel();
        let mut asked = self.asked.lock();
        asked.last += 1;
        let claim = asked.last;
        asked.claims.insert(claim, State::Waiting(answer));
        (claim, answered)
    }

    /// Waits for the answer to a question no longer that claims nothing.
    pub(super) fn forget(&self, claim: u64) {
        self.asked.lock().claims.remove(&claim);
    }

    /// Waits for the answer to a claim no longer.
    fn give_up(&self, claim: u64, name: &AttemptName) {
        let now = Instant::now();
        let mut asked = self.asked.lock();
        asked.claims.retain(|_, state| match state {
            State::Waiting(_) => true,
            State::GivenUp { since, .. } => now.saturating_duration_since(*since) < REMEMBERED,
        });
        let name = name.clone();
        asked
            .claims
            .insert(claim, State::GivenUp { name, since: now });
    }

    /// Hands an answer to whoever waits for it; tells which attempt was granted for which nobody does any more.
    fn answer(&self, grant: Grant) -> Option<AttemptName> {
        let mut asked = self.asked.lock();
        match asked.claims.remove(&grant.claim)? {
            // Whoever has just given up tells the owner.
            State::Waiting(answer) => drop(answer.send(grant.granted)),
            State::GivenUp { name, since } if grant.granted => {
                let again = State::GivenUp {
                    name: name.clone(),
                    since,
                };
                asked.claims.insert(grant.claim, again);
                return Some(name);
            }
            State::GivenUp { .. } => {}
        }
        None
    }
}

impl Worker {
    /// Claims an attempt and waits until it may begin.
    pub(super) async fn ask_to_begin(
        self: &Arc<Self>,
        name: &AttemptName,
        delivery: &Delivery,
        token: &CancellationToken,
        deadline: Option<Instant>,
    ) -> Begin {
        let (claim, answer) = self.grants.ask();
        let patience = Instant::now() + PATIENCE;
        let until = deadline.map_or(patience, |deadline| deadline.min(patience));
        let lost = delivery.lost();
        let answer = tokio::select! {
            biased;
            () = token.cancelled() => None,
            () = lost.cancelled() => None,
            answer = timeout_at(until, self.claim_first(name, claim, answer)) => answer.ok().flatten(),
        };
        match answer {
            Some(true) => Begin::Granted(self.claims.hold(name.clone())),
            Some(false) => Begin::Refused,
            None => {
                self.grants.give_up(claim, name);
                let is_told = self.unclaim(name, claim).await;
                Begin::NotNow { is_told }
            }
        }
    }

    async fn claim_first(
        self: &Arc<Self>,
        name: &AttemptName,
        claim: u64,
        mut answer: oneshot::Receiver<bool>,
    ) -> Option<bool> {
        let reply_to = match self.listen_for_grants().await {
            Ok(queue) => queue,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "cannot listen for whether an attempt may begin");
                return None;
            }
        };
        let envelope = self.claiming(name, claim).to_envelope(Said::Claim).ok()?;
        let envelope = envelope.with_reply_to(reply_to);
        let to = Destination::Queue(name.owner.clone());
        // Whoever waits for this ends the waiting.
        let never = CancellationToken::new();
        let bus = &*self.services.ports.bus;
        // An answer may overtake the confirm.
        tokio::select! {
            biased;
            answer = &mut answer => return answer.ok(),
            sent = publish(bus, &to, &envelope, &never, &never) => if !sent {
                return None;
            },
        }
        answer.await.ok()
    }

    fn claiming(&self, name: &AttemptName, claim: u64) -> Holding {
        Holding {
            claim: Some(claim),
            ..self.holding(vec![name.attempt])
        }
    }

    /// Tells the owner that an attempt has not begun, and never will by this claim; says whether the bus has taken that.
    /// Unheard, a claim that was granted ends by its lease.
    async fn unclaim(&self, name: &AttemptName, claim: u64) -> bool {
        let Ok(release) = self.claiming(name, claim).to_envelope(Said::Release) else {
            return false;
        };
        let bus = &*self.services.ports.bus;
        publish_envelope(bus, &name.owner, release).await.is_ok()
    }

    /// The queue in which the answers come, which is listened to from the first claim on.
    pub(super) async fn listen_for_grants(self: &Arc<Self>) -> Result<QueueName, Error> {
        let listening = self.grants.queue.get_or_try_init(|| async {
            let queue = wire::grant_queue(self.incarnation)?;
            let consumer = subscribe(&*self.services.ports.bus, &queue).await?;
            let worker = Arc::clone(self);
            self.tracker
                .spawn(worker.take_grants(queue.clone(), consumer));
            Ok::<_, Error>(queue)
        });
        listening.await.cloned()
    }

    async fn take_grants(self: Arc<Self>, queue: QueueName, mut consumer: Consumer) {
        let take = async {
            loop {
                while let Some(delivery) = consumer.recv().await {
                    match Grant::read(delivery.envelope()) {
                        Ok(grant) => self.answered(grant),
                        Err(error) => tracing::warn!(%error, "an unreadable grant was dropped"),
                    }
                    settle(delivery.ack()).await;
                }
                consumer = loop {
                    tokio::time::sleep(RESUBSCRIBE).await;
                    match subscribe(&*self.services.ports.bus, &queue).await {
                        Ok(again) => break again,
                        Err(error) if error.kind() == ErrorKind::Closed => return,
                        Err(error) => {
                            let error = &error as &dyn std::error::Error;
                            tracing::warn!(%queue, error, "cannot subscribe; trying again");
                        }
                    }
                };
            }
        };
        tokio::select! {
            biased;
            () = self.attempts_ended() => {}
            () = take => {}
        }
    }

    fn answered(self: &Arc<Self>, grant: Grant) {
        if let Some(name) = self.grants.answer(grant) {
            let worker = Arc::clone(self);
            self.attempts.spawn(async move {
                worker.unclaim(&name, grant.claim).await;
            });
        }
    }
}

async fn subscribe(
    bus: &dyn MessageBus,
    queue: &QueueName,
) -> Result<Consumer, coditect_bus::Error> {
    bus.declare(QueueSpec::temporary(queue.clone())).await?;
    let subscription = Subscription::queue(queue.clone()).with_prefetch(PREFETCH);
    bus.subscribe(subscription).await
}

#[cfg(test)]
mod tests {
    use coditect_dag::{Attempt, RunId, TaskId};

    use super::*;
    use crate::wire::AttemptId;

    fn name() -> AttemptName {
        AttemptName {
            owner: QueueName::new("outcome.0").unwrap(),
            attempt: AttemptId {
                run: RunId::from_uuid(uuid::Uuid::nil()),
                task: TaskId::new(1),
                attempt: Attempt::FIRST,
            },
        }
    }

    fn grant(claim: u64, granted: bool) -> Grant {
        Grant { claim, granted }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_reaches_whoever_waits_once_and_is_given_back_where_nobody_does() {
        let grants = Grants::default();
        let (first, answer) = grants.ask();
        let (second, _) = grants.ask();
        assert_ne!(first, second);
        assert!(grants.answer(grant(first, true)).is_none());
        assert_eq!(answer.await, Ok(true));
        // What has begun is not given back, however often the answer comes.
        assert!(grants.answer(grant(first, true)).is_none());
        grants.give_up(second, &name());
        for _ in 0..2 {
            assert_eq!(grants.answer(grant(second, true)), Some(name()));
        }
        assert!(grants.answer(grant(second, false)).is_none());
        assert!(grants.answer(grant(second, true)).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_given_up_is_forgotten_in_time() {
        let grants = Grants::default();
        let (first, _) = grants.ask();
        grants.give_up(first, &name());
        tokio::time::advance(REMEMBERED).await;
        let (second, _) = grants.ask();
        grants.give_up(second, &name());
        assert_eq!(grants.asked.lock().claims.len(), 1);
    }
}
