//! How a process becomes the owner of a partition.

use std::sync::Arc;

use coditect_bus::PriorityTurns;
use coditect_dag::journal::{Batch, PartitionLease, Seq};
use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::anew::Notices;
use super::budget::Parked;
use super::classes::Classes;
use super::gates::Gates;
use super::hearing::Hearing;
use super::owner::{Owner, Sources, TURN};
use super::publisher::Publisher;
use super::timer::Timers;
use super::{Shared, clerk, leaving, renew, schedule, sweep};
use crate::error::Error;
use crate::run::Backlog;

/// What somebody needs to take a partition, beside its lease.
pub(super) struct Taking {
    /// Fires when it is to be handed over to another.
    pub(super) leave: CancellationToken,
    /// Told of queues that were found or left, where they are followed.
    pub(super) followed: Option<watch::Receiver<()>>,
    /// How many notices of new queues had been heard when somebody else still owned it.
    pub(super) notices: Option<u64>,
}

impl Owner {
    /// Becomes the owner under a lease: subscribes to outcomes and rebuilds the partition's runs.
    pub(super) async fn take_over(
        shared: Arc<Shared>,
        lease: PartitionLease,
        taking: Taking,
    ) -> Result<Self, Error> {
        let mut owner = match Self::new(Arc::clone(&shared), lease.clone(), taking).await {
            Ok(owner) => owner,
            Err(error) => {
                leaving::return_untouched(&shared, lease).await;
                return Err(error);
            }
        };
        if let Err(error) = owner.begin().await {
            owner.return_untouched().await;
            return Err(error);
        }
        owner.dispatch();
        if owner.commit().await.is_err() {
            owner.give_back().await;
            return Err(Error::closed());
        }
        Ok(owner)
    }

    async fn new(
        shared: Arc<Shared>,
        lease: PartitionLease,
        taking: Taking,
    ) -> Result<Self, Error> {
        let ports = &shared.ports;
        // Before anything is published that could be lost with its queue. What the former owner has handed out counts
        // as published by this one.
        let since = taking.notices.filter(|_| lease.follows_hand_over());
        let (anew, missed) = shared.worker.queues_made_anew(since);
        let anew = Notices::new(anew, missed);
        let partition = lease.partition();
        let outcomes = ports.outcome_queue(partition)?;
        let queue = outcomes.name().clone();
        let bus = Hearing::start(&ports.bus, outcomes.clone()).await?;
        let inbox = ports.journal.watch_inbox(partition).await?;
        let (outcomes, local) = mpsc::channel(TURN * 4);
        let (finished_sender, finished) = mpsc::channel(TURN);
        let wake = Arc::new(Notify::new());
        let (return_sender, returned) = mpsc::channel(TURN);
        let (outbox, publisher) = Publisher::new(
            Arc::clone(&ports.bus),
            queue.clone(),
            outcomes.clone(),
            return_sender,
            Arc::clone(&wake),
        );
        let abort = shared.abort.clone();
        let publish = async move { abort.run_until_cancelled(publisher.run()).await };
        shared.tracker.spawn(publish);
        let now = ports.clock.now();
        let (to_told, shares) = clerk::news();
        ports.limits.register(&wake);
        let lost = CancellationToken::new();
        let lease = Arc::new(Mutex::new(lease));
        renew::start(&shared, &lease, &lost);
        shared.quarantines.register(&wake);
        schedule::start(&shared, &lease, &lost);
        Ok(Self {
            backlog: Backlog::new(shared.admission.clone()),
            shared,
            queue,
            lease,
            lost,
            runs: FxHashMap::default(),
            stuck: FxHashSet::default(),
            unreadable: FxHashSet::default(),
            refused: Vec::new(),
            classes: Classes::default(),
            timers: Timers::default(),
            parked: Parked::default(),
            held_until: None,
            gates: Gates::default(),
            to_told,
            turns: PriorityTurns::default(),
            batch: Batch::new(),
            deferred: Vec::new(),
            effects: Vec::new(),
            now,
            outbox,
            stopping: FxHashSet::default(),
            outcomes,
            to_finished: finished_sender,
            wake,
            inbox_after: Seq::ZERO,
            next_sweep: now.saturating_add(sweep::PERIOD),
            looking: None,
            swept: FxHashMap::default(),
            echo: None,
            leave: taking.leave,
            leaving: None,
            sources: Sources {
                local,
                bus,
                inbox,
                finished,
                returned,
                shares,
                followed: taking.followed,
                anew,
            },
        })
    }

    /// Reads what there is to do, and does nothing of it yet.
    async fn begin(&mut self) -> Result<(), Error> {
        self.follow_limits();
        self.rebuild().await?;
        self.read_inbox().await
    }
}
