//! Whether an agent of this process wants work: what it reports of itself, and whether another start has taken its name.

use std::sync::atomic::{AtomicBool, Ordering};

use coditect_registry::{Health, Reason};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Whether an agent takes work.
#[derive(Debug)]
pub(crate) struct Standing {
    reported: watch::Sender<Reported>,
    /// What is looked at for every slot: it reports that it takes work, and nobody has replaced it.
    open: AtomicBool,
    /// Ends the taking of new work.
    taking: CancellationToken,
    /// Fires when a newer start of an exclusive agent has taken the name.
    superseded: CancellationToken,
}

/// What an agent says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reported {
    pub(crate) health: Health,
    pub(crate) reason: Option<Reason>,
}

impl Reported {
    /// Compares without the time.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        fn said(reported: &Reported) -> (Health, Option<&str>) {
            (reported.health, reported.reason.as_ref().map(Reason::text))
        }
        said(self) == said(other)
    }
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            reported: watch::Sender::new(Reported::default()),
            open: AtomicBool::new(true),
            taking: CancellationToken::new(),
            superseded: CancellationToken::new(),
        }
    }
}

impl Standing {
    /// Says whether it is given work.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Waits until it is given work; for ever, once it was replaced.
    pub(crate) async fn opened(&self) {
        if self.is_open() {
            return;
        }
        let mut reported = self.reported.subscribe();
        loop {
            if self.is_open() {
                return;
            }
            // The sender lives as long as this.
            let _ = reported.changed().await;
        }
    }

    /// Waits until it is given no more work.
    pub(super) async fn closed(&self) {
        let mut reported = self.reported.subscribe();
        while self.is_open() {
            // The sender lives as long as this.
            let _ = reported.changed().await;
        }
    }

    pub(super) fn report(&self, reported: Reported) {
        let wants = reported.health != Health::Draining;
        self.reported.send_modify(|former| {
            *former = reported;
            let replaced = self.superseded.is_cancelled();
            self.open.store(wants && !replaced, Ordering::Release);
        });
    }

    pub(super) fn reported(&self) -> Reported {
        self.reported.borrow().clone()
    }

    /// Fires when no new work is taken any more.
    pub(super) fn taking(&self) -> &CancellationToken {
        &self.taking
    }

    pub(super) fn supersede(&self) {
        self.reported.send_modify(|_| {
            self.superseded.cancel();
            self.open.store(false, Ordering::Release);
        });
        self.taking.cancel();
    }

    /// Says whether a newer start has taken the name.
    pub(crate) fn is_superseded(&self) -> bool {
        self.superseded.is_cancelled()
    }

    /// Waits until a newer start has taken the name.
    pub(super) async fn superseded(&self) {
        self.superseded.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::FutureExt;

    use super::*;

    fn says(health: Health) -> Reported {
        Reported {
            health,
            reason: None,
        }
    }

    #[tokio::test]
    async fn who_drains_is_given_work_again_once_it_says_so() {
        let standing = Standing::default();
        standing.report(says(Health::Degraded));
        assert!(standing.is_open());
        standing.report(says(Health::Draining));
        let mut opened = pin!(standing.opened());
        assert!(opened.as_mut().now_or_never().is_none());
        standing.report(says(Health::Ready));
        assert!(opened.now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_was_replaced_is_given_no_work_whatever_it_says() {
        let standing = Standing::default();
        standing.supersede();
        standing.report(says(Health::Ready));
        assert!(!standing.is_open() && standing.taking().is_cancelled());
        assert!(standing.opened().now_or_never().is_none());
    }
}
