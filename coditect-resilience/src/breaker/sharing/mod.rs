//! Breakers that processes share: one finds out, all stay away, and no call ever waits for the store between them.

#[cfg(feature = "test-util")]
pub mod conformance;
mod doubt;
mod memory;
mod observer;
mod policy;
mod store;

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tower::BoxError;

pub use memory::MemoryBreakerStore;
pub use observer::SharingObserver;
pub use policy::{Adoption, SharingPolicy};
pub use store::{BreakerNotice, BreakerStore, Finding};

use self::doubt::Doubts;
use super::handle::Breaker;
use super::keyed::Breakers;
use super::machine::{BreakerMachine, BreakerState};
use crate::error::Error;
use crate::random::{Randomness, SplitMix};

/// Carries the findings of a table of breakers to other processes and theirs to it.
///
/// Calls never meet it: a breaker that trips leaves its name in a bounded box, and this reads the box, publishes,
/// and looks every so often at what others have published. If the store is slow or gone, its calls run into their
/// timeout here, the breakers go on by what they see themselves, and notices are given up rather than saved up.
///
/// A process that hears that a callee is failing stays away as long as the notice says, less up to a tenth, so that
/// not all come back at once; what it hears that the callee answers again makes it probe at once. Only its own
/// probes close a breaker. What an operator forces stays in the process where it was forced. Whose word its own calls have
/// disproved is not believed again on that callee, until it says that the callee answers or this process finds it failing.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use coditect_resilience::{
///     Backoff, BreakerPolicy, BreakerState, Breakers, MemoryBreakerStore, SharingPolicy,
/// };
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), coditect_resilience::Error> {
/// let store = Arc::new(MemoryBreakerStore::new());
/// let policy = BreakerPolicy::builder()
///     .consecutive_failures(1)
///     .open_for(Backoff::constant(Duration::from_secs(5)))
///     .build()?;
/// let mut processes = Vec::new();
/// for _ in 0..2 {
///     let (breakers, sharing) = Breakers::new(policy, 1_000)?.shared(store.clone(), SharingPolicy::default());
///     processes.push((breakers, tokio::spawn(sharing.run())));
/// }
///
/// processes[0].0.breaker("billing").acquire()?.failure();
/// tokio::time::sleep(Duration::from_millis(500)).await;
/// assert_eq!(processes[1].0.breaker("billing").state(), BreakerState::Open, "it never called it");
/// processes.iter().for_each(|(_, sharing)| sharing.abort());
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is shared unless it runs"]
pub struct BreakerSharing {
    breakers: Breakers,
    store: Arc<dyn BreakerStore>,
    policy: SharingPolicy,
    observer: Arc<dyn SharingObserver>,
    inbox: mpsc::Receiver<Arc<str>>,
    randomness: SplitMix,
    origin: u64,
    sequence: u64,
    /// What was last heard of each name: who said it, and which of its words it was.
    heard: HashMap<String, (u64, u64)>,
    doubts: Doubts,
}

/// How many names wait to be published, and how many are published at one turn.
const OUTBOX: usize = 1_024;

impl Breakers {
    /// Shares what these breakers find out through a store, before the first key.
    ///
    /// The second part does the sharing once [`run`](BreakerSharing::run) is spawned.
    pub fn shared(
        self,
        store: Arc<dyn BreakerStore>,
        policy: SharingPolicy,
    ) -> (Self, BreakerSharing) {
        let (outbox, inbox) = mpsc::channel(OUTBOX);
        let breakers = self.with_outbox(outbox);
        let randomness = SplitMix::new();
        let sharing = BreakerSharing {
            breakers: breakers.clone(),
            store,
            policy,
            observer: Arc::new(()),
            inbox,
            origin: (randomness.next_unit() * (1_u64 << 53) as f64) as u64,
            randomness,
            sequence: 0,
            heard: HashMap::new(),
            doubts: Doubts::new(policy.limit()),
        };
        (breakers, sharing)
    }
}

impl BreakerSharing {
    /// Tells an observer when the store fails.
    pub fn with_observer(mut self, observer: Arc<dyn SharingObserver>) -> Self {
        self.observer = observer;
        self
    }

    /// Publishes and listens until it is dropped.
    ///
    /// # Cancel safety
    ///
    /// Dropping it ends the sharing; what was not yet published is lost, and the breakers go on alone.
    pub async fn run(mut self) -> Infallible {
        let mut turns = interval(self.policy.every());
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut names = Vec::new();
        loop {
            // Both branches may be dropped between turns: nothing is taken out of the box by one that is.
            tokio::select! {
                _ = self.inbox.recv_many(&mut names, OUTBOX) => {
                    names.sort_unstable();
                    names.dedup();
                    self.publish(&names).await;
                    names.clear();
                }
                _ = turns.tick() => self.listen().await,
            }
        }
    }

    async fn publish(&mut self, names: &[Arc<str>]) {
        for name in names {
            let Some(notice) = self.notice(name) else {
                continue;
            };
            let published = timeout(self.policy.timeout(), self.store.publish(&notice)).await;
            // The rest of the turn is given up, lest one timeout after another keeps it from listening.
            if self.settle(published).is_none() {
                return;
            }
        }
    }

    /// Says what there is to say about a breaker now, which may have changed since it left its name.
    fn notice(&mut self, name: &str) -> Option<BreakerNotice> {
        let breaker = self.breakers.peek(name)?;
        let (finding, left) = match breaker.state() {
            BreakerState::Open => (Finding::Open, breaker.open_left()?),
            BreakerState::Closed => (Finding::Closed, self.policy.keep_closed()),
            _ => return None,
        };
        self.doubts.found(name, finding);
        self.sequence += 1;
        (!left.is_zero()).then(|| BreakerNotice {
            name: name.into(),
            origin: self.origin,
            sequence: self.sequence,
            finding,
            left,
        })
    }

    async fn listen(&mut self) {
        let limit = self.policy.limit();
        let read = timeout(self.policy.timeout(), self.store.notices(limit)).await;
        let Some(notices) = self.settle(read) else {
            return;
        };
        let mut heard = HashMap::with_capacity(notices.len());
        for notice in notices.into_iter().take(limit) {
            let word = (notice.origin, notice.sequence);
            let is_news = self.heard.get(&notice.name) != Some(&word);
            if notice.origin != self.origin && is_news {
                self.adopt(&notice);
            }
            heard.insert(notice.name, word);
        }
        // Only what is still in the store, so that this stays as small as the store's answer.
        self.heard = heard;
    }

    fn adopt(&mut self, notice: &BreakerNotice) {
        if !self.doubts.believes(notice) {
            return;
        }
        match notice.finding {
            Finding::Open => {
                let breaker = self.breakers.breaker(&notice.name);
                self.adopt_open(&breaker, notice.left);
            }
            Finding::Closed => {
                if let Some(breaker) = self.breakers.peek(&notice.name) {
                    breaker.adopt(|machine| probe_if(machine, BreakerState::Open));
                }
            }
        }
    }

    fn adopt_open(&self, breaker: &Breaker, left: Duration) {
        let (now, policy) = (Instant::now(), self.breakers.policy());
        // A store may say anything: cut off before anything is computed with it.
        let left = left.min(policy.open_for().max());
        let left = left - left.mul_f64(self.randomness.next_unit() / 10.0);
        breaker.adopt(|machine| match self.policy.adoption() {
            Adoption::Open => machine.adopt_open(policy, left, now),
            Adoption::Probe => probe_if(machine, BreakerState::Closed),
        });
    }

    fn settle<T>(
        &self,
        outcome: Result<Result<T, BoxError>, tokio::time::error::Elapsed>,
    ) -> Option<T> {
        let error = match outcome {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(error)) => error,
            Err(_) => Error::timeout(self.policy.timeout()).into(),
        };
        tracing::debug!(%error, "the store of breakers failed");
        self.observer.on_store_failure(&*error);
        None
    }
}

fn probe_if(machine: &mut BreakerMachine, state: BreakerState) {
    if machine.state() == state {
        machine.adopt_probing();
    }
}

impl fmt::Debug for BreakerSharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerSharing")
            .field("breakers", &self.breakers)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
