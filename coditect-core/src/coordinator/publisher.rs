//! Publishes what a partition's owner has committed, each destination by itself, until the bus has taken it.
//!
//! A queue that is full, or slow, holds up nothing but itself: no other capability, no cancel and no echo. How much may
//! wait for one queue is for the owner to see to, which dispatches no more there.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use coditect_bus::{Envelope, MessageBus, MessageId, QueueName};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::{Notify, mpsc};

use super::lane::{Ended, Lane, Line};
use super::outbox::{HANDED, Waiting};
pub(super) use super::outbox::{Outbox, Parcel};
use crate::wire::{AttemptId, Outcome};

/// Publishes for one partition, off its owner's loop and in order for each destination.
pub(super) struct Publisher {
    tasks: mpsc::Receiver<Parcel>,
    urgent: mpsc::Receiver<Parcel>,
    /// Told whenever there is room in the outbox, or for a destination, and when all is done where that was asked for.
    wake: Arc<Notify>,
    waiting: Arc<Waiting>,
    line: Line,
}

/// What waits behind batches that are under way, by where it goes; other lanes are not here.
#[derive(Default)]
struct Lanes(FxHashMap<Lane, Behind>);

/// What waits behind the batch that is under way.
#[derive(Default)]
struct Behind {
    waiting: Vec<Envelope>,
    /// All that the lane holds, while its queue is being made anew: the owner hands it the same once more.
    held: Option<FxHashSet<MessageId>>,
}

impl Publisher {
    /// `own` is the owner's queue, which it has declared as it has to be.
    pub(super) fn new(
        bus: Arc<dyn MessageBus>,
        own: QueueName,
        outcomes: mpsc::Sender<Outcome>,
        returned: mpsc::Sender<AttemptId>,
        wake: Arc<Notify>,
    ) -> (Outbox, Self) {
        let waiting = Arc::<Waiting>::default();
        let (outbox, tasks, urgent) = Outbox::new(Arc::clone(&waiting));
        let publisher = Self {
            tasks,
            urgent,
            wake,
            waiting,
            line: Line::new(bus, own, outcomes, returned),
        };
        (outbox, publisher)
    }

    /// Publishes until the outbox is dropped and empty, or the bus is closed.
    pub(super) async fn run(self) {
        let Self {
            mut tasks,
            mut urgent,
            wake,
            waiting,
            line,
        } = self;
        let mut lanes = Lanes::default();
        let mut under_way = FuturesUnordered::new();
        let (mut came, mut came_urgent) = (Vec::new(), Vec::new());
        let (mut more_tasks, mut more_urgent) = (true, true);
        while more_tasks || more_urgent || !under_way.is_empty() {
            let mut has_room = true;
            // What has ended comes first: there is no more of it than was taken in.
            tokio::select! {
                biased;
                Some(ended) = under_way.next(), if !under_way.is_empty() => {
                    let (lane, count, ended): (Lane, usize, Ended) = ended;
                    match ended {
                        Ended::Closed => return,
                        Ended::Done => {
                            has_room = waiting.release(&lane.to, count);
                            if let Some(next) = lanes.next(&lane) {
                                under_way.push(line.carry(lane, next, false));
                            }
                        }
                        Ended::Anew(left) => {
                            has_room = waiting.release(&lane.to, count - left.len());
                            lanes.made_anew(&lane, &left);
                            under_way.push(line.carry(lane, left, true));
                        }
                    }
                }
                count = urgent.recv_many(&mut came_urgent, HANDED), if more_urgent => more_urgent = count > 0,
                count = tasks.recv_many(&mut came, HANDED), if more_tasks => more_tasks = count > 0,
            }
            for (lane, batch) in lanes.sort(came_urgent.drain(..).chain(came.drain(..)), &waiting) {
                under_way.push(line.carry(lane, batch, false));
            }
            if has_room {
                wake.notify_one();
            }
        }
    }
}

impl Lanes {
    /// Puts parcels behind what is under way; returns those where nothing is, which are under way from now on.
    fn sort(
        &mut self,
        came: impl Iterator<Item = Parcel>,
        waiting: &Waiting,
    ) -> FxHashMap<Lane, Vec<Envelope>> {
        let mut begun: FxHashMap<Lane, Vec<Envelope>> = FxHashMap::default();
        for parcel in came {
            let lane = Lane {
                to: parcel.to,
                returns: parcel.returns,
            };
            if let Some(batch) = begun.get_mut(&lane) {
                batch.push(parcel.envelope);
                continue;
            }
            match self.0.entry(lane) {
                Entry::Occupied(mut behind) => {
                    if !behind.get_mut().push(parcel.envelope) {
                        waiting.release(&behind.key().to, 1);
                    }
                }
                Entry::Vacant(vacant) => {
                    begun.insert(vacant.key().clone(), vec![parcel.envelope]);
                    vacant.insert(Behind::default());
                }
            }
        }
        begun
    }

    /// What waits in a lane, which is given up if nothing does.
    fn next(&mut self, lane: &Lane) -> Option<Vec<Envelope>> {
        let behind = self.0.get_mut(lane)?;
        let waiting = std::mem::take(behind).waiting;
        if waiting.is_empty() {
            self.0.remove(lane);
            return None;
        }
        Some(waiting)
    }

    /// From now on what the lane holds is not taken a second time.
    fn made_anew(&mut self, lane: &Lane, left: &[Envelope]) {
        if let Some(behind) = self.0.get_mut(lane) {
            let held = left.iter().chain(&behind.waiting);
            behind.held = Some(held.map(Envelope::id).collect());
        }
    }
}

impl Behind {
    /// Says whether it was taken, which what is here already is not.
    fn push(&mut self, envelope: Envelope) -> bool {
        let is_new = match &mut self.held {
            Some(held) => held.insert(envelope.id()),
            None => true,
        };
        if is_new {
            self.waiting.push(envelope);
        }
        is_new
    }
}
