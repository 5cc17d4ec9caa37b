//! Follows a namespace: reads its log, keeps a copy of its records and tells the watches of this process.
//!
//! One connection of its own blocks for new entries, so that a connection that has silently died is found out by an
//! answer that does not come. Whoever follows also takes out what has expired: with many followers each does it now and
//! then, at moments of its own.

mod read;
mod replica;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::broadcast;
use tokio::sync::watch as progress;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use self::replica::Replica;
use super::error::Failure;
use super::link::{Link, jittered};
use super::read::status;
use super::wire::{next_number, next_text, words};
use crate::{Change, Error, ErrorKind, Event, Observer, Watch};

/// How often expired leases are looked for: half to all of this, and sooner when one is known to end.
const SWEEP: Duration = Duration::from_millis(500);

/// How many expired leases are taken out in one call.
const SWEPT: usize = 64;

const SHORTEST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// What the watches of a process share.
pub(super) struct Follower {
    link: Arc<Link>,
    settings: Settings,
    observer: Arc<dyn Observer>,
    state: Mutex<State>,
    /// The number of the last change that is in the copy, as the server counts; 0 while the copy cannot be trusted.
    reached: progress::Sender<u64>,
    /// When the server last answered the one who reads.
    heard: progress::Sender<Instant>,
}

/// How a namespace is followed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// How many changes a watch may be behind.
    pub(super) buffer: usize,
    /// How long the server may be silent before watches end.
    pub(super) stale_after: Duration,
    /// How often the copy is compared with the whole.
    pub(super) reconcile: Duration,
}

#[derive(Default)]
struct State {
    replica: Replica,
    /// Which data the copy is of; `None` before the first copy.
    origin: Option<(String, String)>,
    /// `None` while nothing is heard from the server.
    events: Option<broadcast::Sender<Event>>,
}

impl Follower {
    pub(super) fn new(link: Arc<Link>, settings: Settings, observer: Arc<dyn Observer>) -> Self {
        Self {
            link,
            settings,
            observer,
            state: Mutex::default(),
            reached: progress::Sender::new(0),
            heard: progress::Sender::new(Instant::now()),
        }
    }

    /// Follows until it is dropped.
    pub(super) async fn run(&self) {
        tokio::join!(self.read_on(), self.sweep_on(), self.end_stale_watches());
    }

    /// Opens a watch on all that had changed when this was called.
    pub(super) async fn watch(self: &Arc<Self>) -> Result<Watch, Error> {
        let tip = status(&self.link).await?.sequence;
        let mut reached = self.reached.subscribe();
        let there = reached.wait_for(|reached| *reached >= tip);
        let within = self.link.limits.patience;
        if timeout(within, there).await.is_err() {
            let context = format!("copy of the registry is not complete after {within:?}");
            return Err(Error::new(ErrorKind::Unavailable, context));
        }
        let begun = watch::begin(self);
        begun.ok_or_else(|| Error::new(ErrorKind::Unavailable, "redis has fallen silent"))
    }

    /// Ends all watches: from here on nothing is known of what changes.
    pub(super) fn end_watches(&self) {
        self.reached.send_replace(0);
        self.state.lock().events = None;
    }

    async fn read_on(&self) {
        let mut wait = SHORTEST_WAIT;
        loop {
            let begun = Instant::now();
            let failure = self.read().await;
            if begun.elapsed() > LONGEST_WAIT {
                wait = SHORTEST_WAIT;
            }
            tracing::debug!(error = %failure, "following redis was interrupted");
            if !failure.is_transient() {
                tracing::warn!(error = %Error::from(failure), "the registry in redis cannot be followed");
                self.end_watches();
            }
            sleep(jittered(wait)).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    async fn sweep_on(&self) {
        let mut wait = SWEEP;
        loop {
            sleep(jittered(wait)).await;
            wait = match self.sweep().await {
                Ok(wait) => wait,
                Err(failure) => {
                    tracing::debug!(error = %failure, "expired leases cannot be looked for");
                    LONGEST_WAIT
                }
            };
        }
    }

    /// Takes out what has expired, and returns when to look again.
    async fn sweep(&self) -> Result<Duration, Failure> {
        let mut command = self.link.script.call("sweep");
        command.arg(SWEPT);
        let mut words = words(self.link.once(&command).await?)?;
        let _epoch = next_text(&mut words)?;
        let ended: usize = next_number(&mut words)?;
        if ended == SWEPT {
            return Ok(Duration::from_millis(10));
        }
        let next: i64 = next_number(&mut words)?;
        Ok(match u64::try_from(next) {
            // The jitter may halve it, so that some come too early and the others soon after the end.
            Ok(next) => Duration::from_millis(next * 5 / 4 + 20).min(SWEEP),
            Err(_) => SWEEP,
        })
    }

    async fn end_stale_watches(&self) {
        let mut heard = self.heard.subscribe();
        loop {
            let due = *heard.borrow_and_update() + self.settings.stale_after;
            tokio::select! {
                // Its sender is this follower's own and lives.
                _ = heard.changed() => {}
                () = sleep_until(due) => {
                    if self.state.lock().events.is_some() {
                        tracing::warn!("redis has fallen silent; what is known of the registry grows stale");
                        self.end_watches();
                    }
                    let _ = heard.changed().await;
                }
            }
        }
    }

    fn hear(&self) {
        self.heard.send_replace(Instant::now());
    }

    fn tell(&self, state: &State, events: Vec<Event>) {
        for event in events {
            if let Change::Removed { instance, reason } = &event.change {
                self.observer.removed(instance, *reason);
            }
            if let Some(sender) = &state.events {
                // Fails only if nobody watches.
                let _ = sender.send(event);
            }
        }
    }
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower")
            .field("settings", &self.settings)
            .field("reached", &*self.reached.borrow())
            .finish_non_exhaustive()
    }
}
