//! Which partitions this process owns: it is there for others to see, takes its share, and gives away what is over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coditect_dag::journal::{Error as JournalError, Partition, Roster, Watch};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::attendance::{Attendance, pause};
use super::owned::Owned;
use super::owner::{Lost, Owner};
use super::share::{self, Sight};
use super::taking::Taking;

/// After how many leases a partition that nobody takes is anybody's to take.
const FORGOTTEN: u32 = 2;
/// For how many leases whoever took such a one keeps it, though it is over its share.
const RESCUED: u32 = 10;
/// Sees to it that this process owns its share of the partitions.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    /// Told of queues that were found or left, where they are followed.
    followed: Option<watch::Receiver<()>>,
    owned: Arc<Owned>,
    holdings: BTreeMap<Partition, Holding>,
    sightings: Vec<Sighting>,
    became: mpsc::Sender<(Partition, Became)>,
    attends: Attendance,
    draining: bool,
}

/// A partition that this process owns, or is about to.
struct Holding {
    /// Asks its owner to hand it over.
    leave: CancellationToken,
    is_taken: bool,
}

/// What was seen of a partition.
#[derive(Clone, Copy, Debug, Default)]
struct Sighting {
    /// Since when nobody owns it.
    free_since: Option<Instant>,
    /// How many notices of new queues had been heard when somebody else was last known to own it.
    notices: Option<u64>,
    /// Until when it is kept, though it is over the share.
    kept_until: Option<Instant>,
}

/// What became of a partition that was to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Became {
    Taken,
    /// Somebody else owns it.
    Refused,
    Failed,
    /// It was taken, and is owned here no longer.
    Over,
}

impl Keeper {
    pub(super) fn start(
        shared: &Arc<Shared>,
        owned: &Arc<Owned>,
        followed: Option<watch::Receiver<()>>,
    ) -> oneshot::Receiver<()> {
        let partitions = usize::from(shared.ports.journal.partitions().get());
        // Of each at most two are under way.
        let (became, became_receiver) = mpsc::channel(2 * partitions);
        let keeper = Self {
            shared: Arc::clone(shared),
            followed,
            owned: Arc::clone(owned),
            holdings: BTreeMap::new(),
            sightings: vec![Sighting::default(); partitions],
            became,
            attends: Attendance::default(),
            draining: false,
        };
        let (began, begun) = oneshot::channel();
        shared.tracker.spawn(keeper.run(began, became_receiver));
        begun
    }

    fn ttl(&self) -> Duration {
        self.shared.ports.settings.partition_lease
    }

    /// Keeps the share until this process drains and has nothing left; `began` is told when all was tried once.
    async fn run(
        mut self,
        began: oneshot::Sender<()>,
        mut became: mpsc::Receiver<(Partition, Became)>,
    ) {
        let mut began = Some(began);
        let mut roster: Option<Watch> = None;
        loop {
            let next = Instant::now() + pause(self.ttl());
            let Ok(looked) = self.look(&mut roster).await else {
                return;
            };
            match looked {
                Ok((roster, notices)) => self.act(&roster, notices),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(
                        error,
                        "who owns which partition cannot be read; looking again soon"
                    );
                }
            }
            loop {
                let tries = |holding: &Holding| !holding.is_taken;
                if !self.holdings.values().any(tries)
                    && let Some(began) = began.take()
                {
                    // Whoever starts this may be gone.
                    let _ = began.send(());
                }
                if self.draining && self.holdings.is_empty() {
                    return;
                }
                let shared = Arc::clone(&self.shared);
                tokio::select! {
                    biased;
                    () = shared.abort.cancelled() => return,
                    () = shared.drain.cancelled(), if !self.draining => {
                        self.draining = true;
                        break;
                    }
                    Some((partition, became)) = became.recv() => {
                        if self.note(partition, became) {
                            break;
                        }
                    }
                    () = changed(&mut roster) => break,
                    () = tokio::time::sleep_until(next) => break,
                }
            }
        }
    }

    /// Says that this process is there, or no longer, and reads who else is; with it goes how many notices of new queues had
    /// been heard before.
    async fn look(
        &mut self,
        watch: &mut Option<Watch>,
    ) -> Result<Result<(Roster, u64), JournalError>, Lost> {
        let shared = Arc::clone(&self.shared);
        let (journal, name) = (&shared.ports.journal, &shared.name);
        let (now, ttl) = (Instant::now(), self.ttl());
        let attends = &mut self.attends;
        let notices = shared.worker.notices_heard();
        let looking = async {
            if watch.is_none() {
                *watch = Some(journal.watch_roster().await?);
            }
            if self.draining || attends.is_away(now) {
                if !attends.is_gone {
                    journal.leave(name).await?;
                    attends.is_gone = true;
                    attends.due = None;
                }
            } else if attends.due.is_none_or(|due| due <= now) {
                attends.is_gone = false;
                journal.attend(name, ttl).await?;
                attends.due = Some(now + pause(ttl));
            }
            Ok((journal.roster().await?, notices))
        };
        shared.asked_of_store(looking).await
    }

    fn act(&mut self, roster: &Roster, notices: u64) {
        let shared = Arc::clone(&self.shared);
        let me: &str = &shared.name;
        let (now, ttl) = (Instant::now(), self.ttl());
        for ((partition, owner), seen) in roster.owners().zip(&mut self.sightings) {
            match owner {
                None if self.holdings.contains_key(&partition) => seen.free_since = None,
                None => drop(seen.free_since.get_or_insert(now)),
                Some(owner) => {
                    seen.free_since = None;
                    if owner != me {
                        (seen.notices, seen.kept_until) = (Some(notices), None);
                    }
                }
            }
        }
        let others = roster.members().any(|member| member != me);
        if self.draining {
            if others && shared.hands_over {
                let all: Vec<_> = self.holdings.keys().copied().collect();
                self.give(&all, "this process drains");
            }
            return;
        }
        if others && self.attends.is_away(now) {
            return;
        }
        let of = |which: &dyn Fn(&Sighting) -> bool| -> Vec<Partition> {
            let all = roster.owners().zip(&self.sightings);
            let those = all.filter(|(_, seen)| which(seen));
            those.map(|((partition, _), _)| partition).collect()
        };
        let forgotten = of(&|seen| {
            seen.free_since
                .is_some_and(|since| now.saturating_duration_since(since) >= ttl * FORGOTTEN)
        });
        let rescued = of(&|seen| seen.kept_until.is_some_and(|until| until > now));
        let leaves = |holding: &Holding| holding.leave.is_cancelled();
        let mine = self.holdings.iter().filter(|(_, it)| !leaves(it));
        let mine: Vec<_> = mine.map(|(partition, _)| *partition).collect();
        let moves = share::moves(Sight {
            me,
            roster,
            leaving: self.holdings.len() - mine.len(),
            mine: &mine,
            rescued: &rescued,
            forgotten: &forgotten,
        });
        if shared.hands_over {
            self.give(&moves.give, "it is above the share of this coordinator");
        }
        if self.attends.rests_until.is_some_and(|until| until > now) {
            return;
        }
        for partition in moves.rescue {
            tracing::warn!(%partition, "nobody takes a partition; this coordinator does, above its share");
            self.sightings[partition.index()].kept_until = Some(now + ttl * RESCUED);
            self.take(partition);
        }
        for partition in moves.take {
            self.take(partition);
        }
    }

    fn give(&self, partitions: &[Partition], why: &'static str) {
        let given = partitions
            .iter()
            .filter_map(|it| self.holdings.get_key_value(it));
        for (partition, holding) in given.filter(|(_, it)| !it.leave.is_cancelled()) {
            tracing::info!(%partition, why, "handing a partition over");
            holding.leave.cancel();
        }
    }

    fn take(&mut self, partition: Partition) {
        if self.holdings.contains_key(&partition) {
            return;
        }
        let leave = CancellationToken::new();
        let holding = Holding {
            leave: leave.clone(),
            is_taken: false,
        };
        self.holdings.insert(partition, holding);
        let taking = Taking {
            leave,
            followed: self.followed.clone(),
            notices: self.sightings[partition.index()].notices,
        };
        let (shared, became) = (Arc::clone(&self.shared), self.became.clone());
        self.shared
            .tracker
            .spawn(async move { own(shared, partition, taking, became).await });
    }

    /// Takes note of what became of a partition; says whether to look again at once.
    fn note(&mut self, partition: Partition, became: Became) -> bool {
        let now = Instant::now();
        if became == Became::Taken {
            if let Some(holding) = self.holdings.get_mut(&partition) {
                holding.is_taken = true;
            }
            self.owned.insert(partition);
            self.attends.failures = 0;
            return false;
        }
        self.owned.remove(partition);
        let holding = self.holdings.remove(&partition);
        let was_asked = holding.is_some_and(|holding| holding.leave.is_cancelled());
        match became {
            Became::Over if was_asked => return true,
            // Whoever was faster may have left another one, which counted as this one's share until now.
            Became::Refused => {
                self.sightings[partition.index()].kept_until = None;
                return true;
            }
            Became::Failed => self.attends.fail(now, self.ttl()),
            // Taken from it, or given up in need: others are not disturbed by one that tries again at once.
            Became::Over | Became::Taken => self.attends.rest(now, self.ttl()),
        }
        false
    }
}

/// Takes a partition and owns it for as long as it can.
async fn own(
    shared: Arc<Shared>,
    partition: Partition,
    taking: Taking,
    told: mpsc::Sender<(Partition, Became)>,
) {
    let ttl = shared.ports.settings.partition_lease;
    let taken = async {
        let claimed = shared.ports.journal.claim(partition, &shared.name, ttl);
        match claimed.await? {
            Some(lease) => Owner::take_over(Arc::clone(&shared), lease, taking)
                .await
                .map(Some),
            None => Ok(None),
        }
    };
    let became = match shared.asked_of_store(taken).await {
        Ok(Ok(Some(owner))) => {
            // The keeper ends before its owners only with everything else.
            let _ = told.send((partition, Became::Taken)).await;
            owner.run().await;
            Became::Over
        }
        Ok(Ok(None)) => Became::Refused,
        Ok(Err(error)) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(%partition, error, "the partition could not be taken");
            Became::Failed
        }
        Err(Lost) => {
            tracing::warn!(%partition, "the store does not answer; the partition is free when its lease has ended");
            Became::Failed
        }
    };
    let _ = told.send((partition, became)).await;
}

/// Waits until the roster has changed; for ever while it is not watched.
async fn changed(watch: &mut Option<Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}
