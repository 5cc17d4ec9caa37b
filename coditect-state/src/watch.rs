//! Watches: being told that a key has changed.

mod table;

use tokio::sync::watch;

pub(crate) use self::table::WatchTable;
use crate::error::{Error, ErrorKind, Result};

/// Waits for changes of one key.
///
/// A change committed after the watch was registered and before [`changed`](Watch::changed) is
/// called is not lost: so register first, then read, then wait. Several changes may be reported as
/// one, and a report without a change is allowed; read the key to know.
///
/// Dropping the watch ends it.
#[derive(Debug, Clone)]
pub struct Watch {
    receiver: watch::Receiver<u64>,
}

impl Watch {
    /// Waits until the key has changed since registration or since the last report.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] if the store has gone away and will not report any more: register anew
    /// and read the key, since changes may have been missed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a change that was not returned is reported by the next call.
    pub async fn changed(&mut self) -> Result<()> {
        let closed = |_| Error::new(ErrorKind::Unavailable, "the watched store has gone away");
        self.receiver.changed().await.map_err(closed)
    }
}

/// Is the store's side of a [`Watch`], for those who write a backend.
#[derive(Debug)]
pub struct WatchNotifier {
    sender: watch::Sender<u64>,
}

impl WatchNotifier {
    /// Creates a notifier that nobody listens to yet.
    pub fn new() -> Self {
        Self {
            sender: watch::Sender::new(0),
        }
    }

    /// Creates a watch that is told of everything notified from now on.
    pub fn subscribe(&self) -> Watch {
        Watch {
            receiver: self.sender.subscribe(),
        }
    }

    /// Tells all watches that the key has changed; never blocks.
    pub fn notify(&self) {
        self.sender
            .send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    /// Returns whether nobody listens any more, so that the notifier may be thrown away.
    pub fn is_unused(&self) -> bool {
        self.sender.receiver_count() == 0
    }
}

impl Default for WatchNotifier {
    fn default() -> Self {
        Self::new()
    }
}
