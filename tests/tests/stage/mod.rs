//! What the tests share: agents that wait to be told, counters, and a look at what happened.

#![allow(dead_code, reason = "each test file uses a part of it")]

mod cut;
mod meddled;
mod tap;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use coditect_core::bus::{MemoryBus, MessageBus};
use coditect_core::dag::journal::{MemoryConfig, MemoryJournal, PartitionCount, RunJournal};
use coditect_core::prelude::*;
use coditect_core::registry::{MemoryRegistry, Registry};
use coditect_core::state::{MemoryStore, StateStore};
use coditect_core::{Dispatch, Error, Failure, RunEvent, RuntimeBuilder};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

#[allow(unused_imports, reason = "each test file uses a part of it")]
pub(crate) use self::cut::{Cut, Renewals};
#[allow(unused_imports, reason = "each test file uses a part of it")]
pub(crate) use self::meddled::Meddled;
#[allow(unused_imports, reason = "each test file uses a part of it")]
pub(crate) use self::tap::{JournalCall, Tap, Tapped};

/// Longer than anything may take in paused time.
const FOR_EVER: Duration = Duration::from_secs(3_600);

/// Awaits what must end, in paused time: a future that hangs fails its test.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(FOR_EVER, future)
        .await
        .expect("it hangs")
}

/// Lets a test hold handlers where it wants them.
#[derive(Clone)]
pub(crate) struct Gate {
    arrived: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self {
            arrived: Arc::new(Semaphore::new(0)),
            open: Arc::new(Semaphore::new(0)),
        }
    }

    /// Tells that a handler is here, and holds it until it is let through.
    pub(crate) async fn pass(&self) {
        self.arrived.add_permits(1);
        self.open
            .acquire()
            .await
            .expect("the gate is never closed")
            .forget();
    }

    /// Waits until `count` more handlers have arrived.
    pub(crate) async fn arrived(&self, count: u32) {
        within(self.arrived.acquire_many(count))
            .await
            .expect("the gate is never closed")
            .forget();
    }

    /// Lets `count` handlers through.
    pub(crate) fn open(&self, count: usize) {
        self.open.add_permits(count);
    }
}

/// Counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count(Arc<AtomicUsize>);

impl Count {
    /// Adds one and tells how many there are now.
    pub(crate) fn add(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Keeps what handlers note, in order.
#[derive(Clone)]
pub(crate) struct Notes<T>(Arc<Mutex<Vec<T>>>);

impl<T: Clone> Notes<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    pub(crate) fn push(&self, note: T) {
        self.0.lock().push(note);
    }

    pub(crate) fn all(&self) -> Vec<T> {
        self.0.lock().clone()
    }
}

/// Ports that several runtimes can share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) bus: Arc<dyn MessageBus>,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) journal: Arc<dyn RunJournal>,
    store: Arc<dyn StateStore>,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self::on(Arc::new(MemoryBus::new()))
    }

    pub(crate) fn on(bus: Arc<dyn MessageBus>) -> Self {
        Self {
            bus,
            registry: Arc::new(MemoryRegistry::new()),
            journal: Arc::new(MemoryJournal::new(MemoryConfig::default())),
            store: Arc::new(MemoryStore::new()),
        }
    }

    /// The same ports with another journal, of so many partitions.
    pub(crate) fn with_partitions(mut self, partitions: u16) -> Self {
        let count = PartitionCount::new(partitions).expect("a journal has partitions");
        let config = MemoryConfig::default().with_partitions(count);
        self.journal = Arc::new(MemoryJournal::new(config));
        self
    }

    /// The same ports, the journal seen through something else.
    pub(crate) fn with_journal(mut self, journal: Arc<dyn RunJournal>) -> Self {
        self.journal = journal;
        self
    }

    /// The same ports, the store seen through something else.
    pub(crate) fn with_store(mut self, store: Arc<dyn StateStore>) -> Self {
        self.store = store;
        self
    }

    pub(crate) fn store(&self) -> &Arc<dyn StateStore> {
        &self.store
    }

    /// A runtime on these ports whose tasks all go over the bus.
    pub(crate) fn runtime(&self) -> RuntimeBuilder {
        Runtime::builder()
            .bus(Arc::clone(&self.bus))
            .registry(Arc::clone(&self.registry))
            .state((Arc::clone(&self.journal), Arc::clone(&self.store)))
            .dispatch(Dispatch::Bus)
    }
}

/// Follows a run to its end.
pub(crate) async fn follow<O>(run: &RunHandle<O>) -> Result<Vec<RunEvent>, Error> {
    let mut stream = run.events().await?;
    let mut events = Vec::new();
    within(async {
        while let Some(event) = stream.next().await? {
            events.push(event);
        }
        Ok(events)
    })
    .await
}

/// Why a run ended without a result.
pub(crate) fn failure<T: std::fmt::Debug>(result: Result<T, Error>) -> Failure {
    let error = result.expect_err("the run has a result");
    error
        .failure()
        .cloned()
        .unwrap_or_else(|| panic!("{error:?} is no failure of a run"))
}

/// The text of an error with all its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
