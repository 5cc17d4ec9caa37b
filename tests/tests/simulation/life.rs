//! One start of a node, as its surroundings see it: alive, paused, or dead.
//!
//! All that a process does to others goes through its ports, so that is where it dies: whatever reaches a port of a
//! dead node waits there for ever, and what its consumers held is back in the queues. A paused node's operations wait
//! until it goes on, as those of a stopped process would.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::bus::Feed;
use crate::world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Alive,
    Paused,
    Dead,
}

/// One start of a node.
pub(crate) struct Life {
    pub(crate) world: Arc<World>,
    pub(crate) node: u8,
    state: Mutex<State>,
    changed: Notify,
    feeds: Mutex<Vec<Weak<Feed>>>,
}

impl Life {
    pub(crate) fn new(world: &Arc<World>, node: u8) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::clone(world),
            node,
            state: Mutex::new(State::Alive),
            changed: Notify::new(),
            feeds: Mutex::default(),
        })
    }

    pub(crate) fn note(&self, what: &'static str, of: [u64; 2]) {
        self.world.note(self.node, what, of);
    }

    pub(crate) fn is_alive(&self) -> bool {
        *self.state.lock() == State::Alive
    }

    pub(crate) fn is_dead(&self) -> bool {
        *self.state.lock() == State::Dead
    }

    /// Ends the node, in the middle of whatever it does.
    pub(crate) fn kill(&self) {
        if std::mem::replace(&mut *self.state.lock(), State::Dead) == State::Dead {
            return;
        }
        self.note("dies", [0, 0]);
        for feed in self.feeds() {
            feed.end();
        }
        self.changed.notify_waiters();
    }

    /// Stops the node until it is resumed.
    pub(crate) fn pause(&self) {
        let mut state = self.state.lock();
        if *state == State::Alive {
            *state = State::Paused;
            self.note("is paused", [0, 0]);
        }
    }

    pub(crate) fn resume(&self) {
        {
            let mut state = self.state.lock();
            if *state != State::Paused {
                return;
            }
            *state = State::Alive;
        }
        self.note("goes on", [0, 0]);
        self.changed.notify_waiters();
        for feed in self.feeds() {
            feed.wake();
        }
    }

    /// Gives back what the node's consumers hold, as a lost connection does.
    pub(crate) fn sever(&self) {
        if !self.is_dead() {
            self.feeds().iter().for_each(|feed| feed.sever());
        }
    }

    pub(crate) fn add(&self, feed: &Arc<Feed>) {
        let mut feeds = self.feeds.lock();
        feeds.retain(|feed| feed.strong_count() > 0);
        feeds.push(Arc::downgrade(feed));
    }

    fn feeds(&self) -> Vec<Arc<Feed>> {
        self.feeds.lock().iter().filter_map(Weak::upgrade).collect()
    }

    /// Waits until the node is dead.
    pub(crate) async fn died(&self) {
        loop {
            let changed = self.changed.notified();
            if self.is_dead() {
                return;
            }
            changed.await;
        }
    }

    /// Waits while the node is paused, and for ever if it is dead.
    pub(crate) async fn pass(&self) {
        loop {
            let changed = self.changed.notified();
            let state = *self.state.lock();
            match state {
                State::Alive => return,
                State::Paused => changed.await,
                State::Dead => std::future::pending().await,
            }
        }
    }

    /// The way of an operation to a server, or that of its answer back; the node may die on it.
    pub(crate) async fn travel(&self) {
        let world = &self.world;
        self.pass().await;
        if world.hits(world.faults.slow) {
            let span = 1 + world.below(world.faults.slow_ms);
            tokio::time::sleep(Duration::from_millis(span)).await;
        }
        if world.hits(world.faults.crash) {
            self.kill();
        }
        self.pass().await;
    }
}
