//! Looks after the schedules of a partition, beside its owner's loop.

mod turn;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coditect_dag::journal::{PartitionLease, Watch as RunWatch};
use coditect_dag::{RunId, Timestamp};
use coditect_state::Watch;
use parking_lot::Mutex;
use rustc_hash::FxHashSet;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::error::{Error, ErrorKind};
use crate::schedule::{Book, Calendar, Definition, State};

/// How long it sleeps at most, so that a clock that has jumped is noticed.
const NAP: Duration = Duration::from_secs(30);
/// How long it waits before it tries again what the store or the journal did not take.
const AGAIN: Duration = Duration::from_secs(1);

/// Submits the runs of the partition's schedules until the lease is lost or given back, which `lost` says.
pub(super) fn start(
    shared: &Arc<Shared>,
    lease: &Arc<Mutex<PartitionLease>>,
    lost: &CancellationToken,
) {
    let keeper = Keeper {
        book: Book::new(&shared.ports),
        shared: Arc::clone(shared),
        lease: lease.lock().clone(),
        kept: BTreeMap::new(),
        watched: FxHashSet::default(),
        changed: JoinSet::new(),
    };
    let (shared, lost) = (Arc::clone(shared), lost.clone());
    let tracker = shared.tracker.clone();
    tracker.spawn(async move {
        tokio::select! {
            biased;
            () = lost.cancelled() => {}
            () = shared.abort.cancelled() => {}
            () = shared.drain.cancelled() => {}
            () = keeper.run() => {}
        }
    });
}

/// What it takes to look after the schedules of a partition.
struct Keeper {
    shared: Arc<Shared>,
    book: Book,
    lease: PartitionLease,
    kept: BTreeMap<String, Kept>,
    /// Runs for whose end an occurrence waits.
    watched: FxHashSet<RunId>,
    changed: JoinSet<(RunId, RunWatch)>,
}

/// A schedule as it was read.
struct Kept {
    definition: Definition,
    calendar: Calendar,
    state: State,
    /// What its last change by somebody else was marked with.
    mark: Bytes,
    /// Whether the store may have something else by now.
    is_stale: bool,
    /// When it is its turn again.
    wake: Option<Timestamp>,
}

/// A later owner of the partition was heard of.
struct Fenced;

impl Keeper {
    async fn run(mut self) {
        let mut watch = None;
        loop {
            // What was not told of is read.
            if watch.is_none() {
                watch = self.begin().await;
            }
            let Some(watched) = &mut watch else {
                tokio::time::sleep(AGAIN).await;
                continue;
            };
            if let Err(Fenced) = self.turns().await {
                return;
            }
            let nap = self.nap().await;
            tokio::select! {
                biased;
                changed = watched.changed() => {
                    if changed.is_err() || self.read_all().await.is_err() {
                        watch = None;
                    }
                }
                Some(Ok((run, watch))) = self.changed.join_next() => self.look_at(run, watch).await,
                () = nap_for(nap) => {}
            }
        }
    }

    /// Registers for changes, and reads everything then.
    async fn begin(&mut self) -> Option<Watch> {
        let begun = async {
            let watch = self.book.watch(self.lease.partition()).await?;
            self.read_all().await?;
            Ok::<_, Error>(watch)
        };
        begun.await.inspect_err(|error| self.complain(error)).ok()
    }

    async fn read_all(&mut self) -> Result<(), Error> {
        let marks = self.book.marks(self.lease.partition()).await?;
        self.kept.retain(|name, _| marks.contains_key(name));
        for (name, mark) in marks {
            if self.kept.get(&name).is_none_or(|kept| kept.mark != mark) {
                self.read(&name, mark).await?;
            }
        }
        Ok(())
    }

    async fn read(&mut self, name: &str, mark: Bytes) -> Result<(), Error> {
        let rows = self.book.read(name).await;
        let read = rows.and_then(|rows| match rows {
            Some((definition, state)) => {
                let calendar = definition.calendar()?;
                Ok(Some((definition, calendar, state)))
            }
            None => Ok(None),
        });
        match read {
            Ok(Some((definition, calendar, state))) => {
                let kept = Kept {
                    definition,
                    calendar,
                    state,
                    mark,
                    is_stale: false,
                    wake: Some(Timestamp::EPOCH),
                };
                self.kept.insert(name.to_owned(), kept);
            }
            Ok(None) => drop(self.kept.remove(name)),
            Err(error) if error.kind() == ErrorKind::Unavailable => return Err(error),
            // The others go on.
            Err(error) => {
                self.kept.remove(name);
                let error = &error as &dyn std::error::Error;
                tracing::error!(
                    schedule = name,
                    error,
                    "the schedule cannot be understood here"
                );
            }
        }
        Ok(())
    }

    /// How long it is until the next turn; none where nothing is to come.
    async fn nap(&mut self) -> Option<Duration> {
        let wake = self.kept.values().filter_map(|kept| kept.wake).min()?;
        let now = self.book.now().await;
        let left = now.map_or(AGAIN, |now| wake.saturating_since(now));
        Some(left.min(NAP))
    }

    fn complain(&self, error: &Error) {
        let error = error as &dyn std::error::Error;
        let partition = self.lease.partition();
        tracing::warn!(%partition, error, "schedules could not be looked after; trying again");
    }
}

async fn nap_for(nap: Option<Duration>) {
    match nap {
        Some(nap) => tokio::time::sleep(nap).await,
        None => std::future::pending().await,
    }
}
