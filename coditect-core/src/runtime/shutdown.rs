//! Draining and ending a runtime.

use std::future::Future;
use std::sync::atomic::Ordering;

use super::{Inner, Runtime};
use crate::error::{Error, ErrorKind};

impl Runtime {
    /// Stops taking work, lets what runs in this process come to its end, and leaves.
    ///
    /// Runs that are not finished stay in the journal: with one that outlives the process they go on
    /// elsewhere, or at the next start; without one, whoever waits for them is told
    /// [`ErrorKind::Closed`]. Calling it again does no harm.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::DeadlineExceeded`] when handlers did not end within the drain limit and were
    /// told to stop.
    ///
    /// # Cancel safety
    ///
    /// A dropped future leaves the runtime half drained; call it again.
    pub async fn shutdown(&self) -> Result<(), Error> {
        let inner = &self.inner;
        inner.closed.store(true, Ordering::Release);
        inner.worker.stop_taking();
        let began = tokio::time::Instant::now();
        let mut drained = true;
        if let Some(coordinator) = &inner.coordinator {
            drained &= coordinator.drain(inner.drain).await;
        }
        let left = inner.drain.saturating_sub(began.elapsed());
        if tokio::time::timeout(left, inner.worker.idle())
            .await
            .is_err()
        {
            drained = false;
            inner.worker.cancel_all();
            // One that never awaits cannot be stopped, and is left behind.
            let grace = inner.submitter.ports().settings.grace.saturating_mul(2);
            let _ = tokio::time::timeout(grace, inner.worker.idle()).await;
        }
        inner.submitter.ports().end();
        inner.view.close().await;
        if inner.owns_bus {
            self.bus().close().await?;
        }
        if drained {
            Ok(())
        } else {
            Err(Error::new(
                ErrorKind::DeadlineExceeded,
                format!(
                    "handlers did not end within {:?} and were told to stop",
                    inner.drain
                ),
            ))
        }
    }

    /// Waits for Ctrl-C or SIGTERM, then [shuts down](Self::shutdown).
    ///
    /// # Errors
    ///
    /// As [`shutdown`](Self::shutdown).
    pub async fn shutdown_on_signal(&self) -> Result<(), Error> {
        shutdown_signal().await;
        tracing::info!("draining");
        self.shutdown().await
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.worker.stop_taking();
        self.worker.cancel_all();
        if let Some(coordinator) = &self.coordinator {
            coordinator.abort();
        }
        self.submitter.ports().end();
    }
}

/// Waits until the process is asked to end: Ctrl-C, or SIGTERM where there is such a thing.
///
/// It listens from this call on, not only once it is awaited, so that a signal is not missed which
/// arrives while the program still starts.
///
/// # Cancel safety
///
/// Dropping the future changes nothing, but the process no longer ends by itself on these signals once
/// this was called.
///
/// # Panics
///
/// Panics outside of a tokio runtime.
pub fn shutdown_signal() -> impl Future<Output = ()> + Send {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let interrupt = signal(SignalKind::interrupt());
        let terminate = signal(SignalKind::terminate());
        async move {
            tokio::select! {
                () = received(interrupt) => {}
                () = received(terminate) => {}
            }
        }
    }
    #[cfg(not(unix))]
    async {
        // Where no handler can be installed nothing will ever be signalled.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Waits for a signal, for ever where no handler could be installed.
#[cfg(unix)]
async fn received(signals: std::io::Result<tokio::signal::unix::Signal>) {
    match signals {
        Ok(mut signals) => {
            signals.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}
