//! A store with a clock of the test's own, and a journal at which a process dies.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use coditect_core::dag::journal::{Error as JournalError, RunJournal};
use coditect_core::state::{
    Capabilities, Error as StateError, Limits, StateStore, Transaction, Watch as KeyWatch,
};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::Wall;
use crate::stage::{JournalCall, Tap, Tapped};

/// A store that tells another time.
struct Clocked {
    inner: Arc<dyn StateStore>,
    clock: Clock,
}

#[derive(Clone)]
pub(crate) enum Clock {
    /// That of paused time.
    Wall(Wall),
    /// One that goes only when it is set.
    Set(Arc<Mutex<SystemTime>>),
}

impl Clock {
    pub(crate) fn set(at: SystemTime) -> Self {
        Self::Set(Arc::new(Mutex::new(at)))
    }

    pub(crate) fn now(&self) -> SystemTime {
        match self {
            Self::Wall(wall) => wall.now(),
            Self::Set(now) => *now.lock(),
        }
    }

    /// Sets the clock forward, as after a suspension.
    pub(crate) fn jump(&self, span: Duration) {
        match self {
            Self::Wall(_) => panic!("paused time is set forward by sleeping"),
            Self::Set(now) => *now.lock() += span,
        }
    }
}

/// The same store with another clock.
pub(crate) fn clocked(inner: Arc<dyn StateStore>, clock: &Clock) -> Arc<dyn StateStore> {
    let clock = clock.clone();
    Arc::new(Clocked { inner, clock })
}

impl fmt::Debug for Clocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clocked").field(&self.inner).finish()
    }
}

#[async_trait]
impl StateStore for Clocked {
    async fn begin(&self) -> Result<Box<dyn Transaction>, StateError> {
        self.inner.begin().await
    }
    async fn watch(&self, key: &[u8]) -> Result<KeyWatch, StateError> {
        self.inner.watch(key).await
    }
    async fn now(&self) -> Result<SystemTime, StateError> {
        Ok(self.clock.now())
    }
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
    fn limits(&self) -> Limits {
        self.inner.limits()
    }
}

/// When a process dies that submits the run of an occurrence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dies {
    /// When it has been decided upon.
    Before,
    /// When it has been submitted.
    After,
}

/// The journal of a process that dies: what it is then waiting for never comes.
pub(crate) struct Dying {
    dies: Dies,
    dead: AtomicBool,
    pub(crate) died: Semaphore,
}

impl Dying {
    pub(crate) fn new(inner: &Arc<dyn RunJournal>, dies: Dies) -> Arc<Tapped<Self>> {
        let dying = Self {
            dies,
            dead: AtomicBool::new(false),
            died: Semaphore::new(0),
        };
        Tapped::new(inner, dying)
    }

    async fn die(&self) {
        self.dead.store(true, Ordering::SeqCst);
        self.died.add_permits(1);
        std::future::pending().await
    }
}

#[async_trait]
impl Tap for Dying {
    async fn before(&self, call: JournalCall) -> Result<(), JournalError> {
        if self.dead.load(Ordering::SeqCst) {
            std::future::pending().await
        }
        if self.dies == Dies::Before && call == (JournalCall::Submit { is_scheduled: true }) {
            self.die().await;
        }
        Ok(())
    }

    async fn after(&self, call: JournalCall, _error: Option<&JournalError>) {
        if call == (JournalCall::Submit { is_scheduled: true }) {
            self.die().await;
        }
    }
}
