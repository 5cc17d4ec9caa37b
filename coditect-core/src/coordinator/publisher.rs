//! Publishes what a partition's owner has committed, each destination by itself, until the bus has taken it.
//!
//! A queue that is full, or slow, holds up nothing but itself: no other capability, no cancel and no echo.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use coditect_bus::{Envelope, MessageBus, MessageId, QueueName};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::{Notify, mpsc};

use super::lane::{Ended, Lane, Line};
use super::outbox::WAITING;
pub(super) use super::outbox::{Outbox, Parcel};
use crate::wire::{AttemptId, Outcome};

/// Publishes for one partition, off its owner's loop and in order for each destination.
pub(super) struct Publisher {
    tasks: mpsc::Receiver<Parcel>,
    urgent: mpsc::Receiver<Parcel>,
    /// Told whenever there is room in the outbox.
    wake: Arc<Notify>,
    line: Line,
}

/// What is not yet published, by where it goes; only lanes with a batch under way are here.
#[derive(Default)]
struct Held {
    lanes: FxHashMap<Lane, Behind>,
    tasks: usize,
    urgent: usize,
}

/// What waits behind the batch that is under way.
#[derive(Default)]
struct Behind {
    waiting: Vec<Envelope>,
    /// All that the lane holds, while its queue is being made anew: the owner hands it the same once more.
    known: FxHashSet<MessageId>,
    is_anew: bool,
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
        let (outbox, tasks, urgent) = Outbox::new(own.clone());
        let publisher = Self {
            tasks,
            urgent,
            wake,
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
            line,
        } = self;
        let mut held = Held::default();
        let mut under_way = FuturesUnordered::new();
        let (mut came, mut came_urgent) = (Vec::new(), Vec::new());
        let (mut more_tasks, mut more_urgent) = (true, true);
        while more_tasks || more_urgent || !under_way.is_empty() {
            let room = WAITING.saturating_sub(held.tasks);
            let urgent_room = WAITING.saturating_sub(held.urgent);
            tokio::select! {
                count = urgent.recv_many(&mut came_urgent, urgent_room), if more_urgent && urgent_room > 0 => {
                    held.urgent += count;
                    more_urgent = count > 0;
                }
                count = tasks.recv_many(&mut came, room), if more_tasks && room > 0 => {
                    held.tasks += count;
                    more_tasks = count > 0;
                }
                Some(ended) = under_way.next(), if !under_way.is_empty() => {
                    let (lane, count, ended): (Lane, usize, Ended) = ended;
                    match ended {
                        Ended::Closed => return,
                        Ended::Done => {
                            held.release(line.is_urgent(&lane), count);
                            if let Some(next) = held.next(&lane) {
                                under_way.push(line.carry(lane, next, false));
                            }
                        }
                        Ended::Anew(batch) => {
                            held.release(line.is_urgent(&lane), count - batch.len());
                            held.made_anew(&lane, &batch);
                            under_way.push(line.carry(lane, batch, true));
                        }
                    }
                    continue;
                }
            }
            wake.notify_one();
            for (lane, batch) in held.sort(came_urgent.drain(..).chain(came.drain(..)), &line) {
                under_way.push(line.carry(lane, batch, false));
            }
        }
    }
}

impl Held {
    /// Puts parcels behind what is under way; returns those where nothing is, which are under way from now on.
    fn sort(
        &mut self,
        came: impl Iterator<Item = Parcel>,
        line: &Line,
    ) -> FxHashMap<Lane, Vec<Envelope>> {
        let mut first: FxHashMap<Lane, Vec<Envelope>> = FxHashMap::default();
        for parcel in came {
            let lane = Lane {
                to: parcel.to,
                returns: parcel.returns,
            };
            if let Some(batch) = first.get_mut(&lane) {
                batch.push(parcel.envelope);
                continue;
            }
            match self.lanes.entry(lane) {
                Entry::Occupied(mut behind) => {
                    let is_urgent = line.is_urgent(behind.key());
                    if !behind.get_mut().push(parcel.envelope) {
                        self.release(is_urgent, 1);
                    }
                }
                Entry::Vacant(vacant) => {
                    first.insert(vacant.key().clone(), vec![parcel.envelope]);
                    vacant.insert(Behind::default());
                }
            }
        }
        first
    }

    /// What waits in a lane, which is given up if nothing does.
    fn next(&mut self, lane: &Lane) -> Option<Vec<Envelope>> {
        let behind = self.lanes.get_mut(lane)?;
        let waiting = std::mem::take(behind).waiting;
        if waiting.is_empty() {
            self.lanes.remove(lane);
            return None;
        }
        Some(waiting)
    }

    /// From now on what the lane holds is not taken a second time.
    fn made_anew(&mut self, lane: &Lane, batch: &[Envelope]) {
        if let Some(behind) = self.lanes.get_mut(lane) {
            behind.is_anew = true;
            let held = batch.iter().chain(&behind.waiting);
            behind.known = held.map(Envelope::id).collect();
        }
    }

    fn release(&mut self, is_urgent: bool, count: usize) {
        let held = match is_urgent {
            true => &mut self.urgent,
            false => &mut self.tasks,
        };
        *held = held.saturating_sub(count);
    }
}

impl Behind {
    /// Says whether it was taken, which what is here already is not.
    fn push(&mut self, envelope: Envelope) -> bool {
        let is_new = !self.is_anew || self.known.insert(envelope.id());
        if is_new {
            self.waiting.push(envelope);
        }
        is_new
    }
}
