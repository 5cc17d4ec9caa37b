//! Leaving a channel before what consumes on it is dropped.

use std::ops::Deref;

use futures::FutureExt;
use lapin::Channel;

/// A channel that is closed when this is dropped, which must come before its consumers are.
///
/// The driver cancels a consumer that is dropped, and closes a channel that is dropped, by tasks that know nothing of each
/// other. A cancel may so be written after the close, or when another channel has taken over the number; then its answer is one
/// that nobody expects, and the driver ends the whole connection. A channel that is closing has nothing left to cancel.
#[derive(Debug)]
pub(super) struct Leaving(pub(super) Channel);

impl Deref for Leaving {
    type Target = Channel;

    fn deref(&self) -> &Channel {
        &self.0
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        // The first poll hands the close to the driver, behind all that was handed to it before.
        let _ = self.0.close(200, "done".into()).now_or_never();
    }
}
