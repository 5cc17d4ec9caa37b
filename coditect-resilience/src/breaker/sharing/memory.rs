//! A store of breaker notices within one process.

use std::collections::HashMap;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::Instant;
use tower::BoxError;

use super::super::machine::far;
use super::store::{BreakerNotice, BreakerStore};

/// Keeps breaker notices in memory: for the tables of one process, and for tests.
#[derive(Debug, Default)]
pub struct MemoryBreakerStore {
    notices: Mutex<HashMap<String, (BreakerNotice, Instant)>>,
}

impl MemoryBreakerStore {
    /// Makes an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl BreakerStore for MemoryBreakerStore {
    async fn publish(&self, notice: &BreakerNotice) -> Result<(), BoxError> {
        let until = far(Instant::now(), notice.left);
        let mut notices = self.notices.lock();
        notices.insert(notice.name.clone(), (notice.clone(), until));
        Ok(())
    }

    async fn notices(&self, limit: usize) -> Result<Vec<BreakerNotice>, BoxError> {
        let now = Instant::now();
        let mut notices = self.notices.lock();
        notices.retain(|_, (_, until)| *until > now);
        let live = notices.values().take(limit);
        Ok(live
            .map(|(notice, until)| BreakerNotice {
                left: *until - now,
                ..notice.clone()
            })
            .collect())
    }
}
