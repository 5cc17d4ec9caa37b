//! A journal behind a connection that is cut, for owners that do not know what has become of their partitions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use coditect_core::dag::journal::{Error, ErrorKind, Hint, PartitionLease, RunJournal, Watch};
use tokio::sync::Semaphore;

use super::tap::{JournalCall, Tap, Tapped};

/// What becomes of renewals once the connection is cut.
#[derive(Clone, Copy)]
pub(crate) enum Renewals {
    /// Nobody answers them.
    Hang,
    /// They look as if they had gone well: the process slept, and does not know it.
    Lie,
    /// Nothing is cut.
    Go,
}

/// A journal that is behind a cut connection from some moment on.
pub(crate) struct Cut {
    renewals: Renewals,
    cut: AtomicBool,
    /// Whether it takes no records.
    pub(crate) refuses: AtomicBool,
    silence: Hint,
    /// How often a partition was given back.
    pub(crate) released: Semaphore,
}

impl Cut {
    pub(crate) fn new(inner: &Arc<dyn RunJournal>, renewals: Renewals) -> Arc<Tapped<Self>> {
        let cut = Self {
            renewals,
            cut: AtomicBool::new(false),
            refuses: AtomicBool::new(false),
            silence: Hint::new(),
            released: Semaphore::new(0),
        };
        Tapped::new(inner, cut)
    }

    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    fn is_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }

    /// Waits for ever once the connection is cut.
    async fn connected(&self) {
        if self.is_cut() {
            std::future::pending().await
        }
    }
}

#[async_trait]
impl Tap for Cut {
    async fn before(&self, call: JournalCall) -> Result<(), Error> {
        match call {
            JournalCall::Claim
            | JournalCall::Attend
            | JournalCall::Leave
            | JournalCall::Roster
            | JournalCall::Inbox => {
                self.connected().await;
            }
            JournalCall::Renew if matches!(self.renewals, Renewals::Hang) => self.connected().await,
            JournalCall::Release => self.released.add_permits(1),
            JournalCall::Append if self.refuses.load(Ordering::SeqCst) => {
                return Err(Error::new(ErrorKind::Unavailable, "the disk is full"));
            }
            _ => {}
        }
        Ok(())
    }

    fn renewed(&self, lease: &PartitionLease) -> Option<PartitionLease> {
        let lies = matches!(self.renewals, Renewals::Lie) && self.is_cut();
        lies.then(|| lease.clone())
    }

    /// Brings no hint where something is to be cut, so that the owner does not look and find out.
    fn inbox_hints(&self) -> Option<Watch> {
        let hears = matches!(self.renewals, Renewals::Go);
        (!hears).then(|| self.silence.watch())
    }
}
