//! A journal as one coordinator sees it that is cut off, or that cannot take what is there for it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use coditect_core::dag::journal::{Error, ErrorKind, RunJournal};
use tokio::sync::{Semaphore, watch};

use super::stage::{JournalCall, Tap, Tapped};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    None,
    /// Nothing is answered, until it is over: the process is paused.
    Paused,
    /// Claims are not answered.
    ClaimsHang,
    /// The runs of a partition cannot be read.
    Unreadable,
    /// Everything takes a while.
    Slow,
}

/// One coordinator's journal.
pub(crate) struct Shaky {
    trouble: watch::Sender<Trouble>,
    /// Told of each append that was refused for its stale token.
    pub(crate) fenced: Semaphore,
}

impl Shaky {
    pub(crate) fn new(inner: &Arc<dyn RunJournal>) -> Arc<Tapped<Self>> {
        let shaky = Self {
            trouble: watch::Sender::new(Trouble::None),
            fenced: Semaphore::new(0),
        };
        Tapped::new(inner, shaky)
    }

    pub(crate) fn set(&self, trouble: Trouble) {
        self.trouble.send_replace(trouble);
    }

    fn is(&self, trouble: Trouble) -> bool {
        *self.trouble.borrow() == trouble
    }

    /// Waits until this trouble is over.
    async fn over(&self, trouble: Trouble) {
        let mut watch = self.trouble.subscribe();
        // The sender lives as long as this.
        let _ = watch.wait_for(|now| *now != trouble).await;
    }

    async fn on_its_way(&self) {
        self.over(Trouble::Paused).await;
        if self.is(Trouble::Slow) {
            tokio::time::sleep(Duration::from_millis(7)).await;
        }
    }
}

#[async_trait]
impl Tap for Shaky {
    async fn before(&self, call: JournalCall) -> Result<(), Error> {
        if call == JournalCall::Claim {
            self.over(Trouble::ClaimsHang).await;
        }
        if call == JournalCall::OpenRuns && self.is(Trouble::Unreadable) {
            let text = "it cannot be read from here";
            return Err(Error::new(ErrorKind::Corrupt, text));
        }
        self.on_its_way().await;
        Ok(())
    }

    async fn after(&self, call: JournalCall, error: Option<&Error>) {
        self.on_its_way().await;
        if call == JournalCall::Append
            && error.is_some_and(|error| error.kind() == ErrorKind::Fenced)
        {
            self.fenced.add_permits(1);
        }
    }
}
