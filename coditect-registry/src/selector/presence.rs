//! Whether an instance is there, and a signal for those who wait for it to be lost.

use std::future::Future;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// Tells everybody who waits when an instance is lost; it may be there again later, and lost again.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    lost: bool,
    /// Made for the first who waits: most instances are never waited for.
    signal: Option<CancellationToken>,
}

impl Presence {
    pub(crate) fn set_lost(&self, lost: bool) {
        let mut state = self.state.lock();
        state.lost = lost;
        let signal = if lost { state.signal.take() } else { None };
        drop(state);
        // Wakes others up, so not under the lock.
        if let Some(signal) = signal {
            signal.cancel();
        }
    }

    pub(crate) fn lost(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut state = self.state.lock();
        let signal = (!state.lost).then(|| state.signal.get_or_insert_default().clone());
        async move {
            if let Some(signal) = signal {
                signal.cancelled().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn whoever_waits_is_told_once_the_instance_is_lost_and_not_for_its_return() {
        let presence = Presence::default();
        let (first, second) = (presence.lost(), presence.lost());
        let mut first = std::pin::pin!(first);
        assert_eq!(first.as_mut().now_or_never(), None);
        presence.set_lost(true);
        assert_eq!(first.now_or_never(), Some(()));
        presence.set_lost(false);
        assert_eq!(second.now_or_never(), Some(()), "it was lost meanwhile");
        assert_eq!(presence.lost().now_or_never(), None);
        presence.set_lost(true);
        assert_eq!(presence.lost().now_or_never(), Some(()));
    }
}
