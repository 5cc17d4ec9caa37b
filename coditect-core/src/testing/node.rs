//! One runtime of a cluster, on threads of its own.

use std::fmt;

use tokio::runtime::{Builder, Runtime as Threads};

use crate::error::{Error, ErrorKind};
use crate::runtime::{Runtime, RuntimeBuilder};

/// How many threads a node has.
const THREADS: usize = 1;

/// A runtime of a [`Cluster`](super::Cluster).
///
/// Dropping it kills it.
pub struct Node {
    runtime: Runtime,
    threads: Option<Threads>,
}

impl Node {
    pub(super) async fn start(builder: RuntimeBuilder) -> Result<Self, Error> {
        let threads = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .enable_all()
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Unavailable, "no threads for a node").with_source(error)
            })?;
        let started = threads.spawn(builder.start()).await;
        // A start that panicked is a defect, shown as one.
        let started = started.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        match started {
            Ok(runtime) => Ok(Self {
                runtime,
                threads: Some(threads),
            }),
            Err(error) => {
                threads.shutdown_background();
                Err(error)
            }
        }
    }

    /// The node's runtime.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Ends the node at once, as the death of its process would.
    ///
    /// Handles of the node's runtime that are still held are dead as well.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("runtime", &self.runtime)
            .field("alive", &self.threads.is_some())
            .finish()
    }
}
