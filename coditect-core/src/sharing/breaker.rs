//! What breakers found out, in the state store.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use coditect_resilience::{BreakerNotice, BreakerStore};
use coditect_state::key::Subspace;
use coditect_state::{StateStore, StateStoreExt, TransactionExt};
use serde::{Deserialize, Serialize};

use super::nanos;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Keeps breaker notices in a [`StateStore`], each under the name of its breaker.
pub(crate) struct StateBreakerStore {
    store: Arc<dyn StateStore>,
    notices: Subspace,
}

/// A notice, and until when it holds by the store's clock.
#[derive(Serialize, Deserialize)]
struct Kept {
    notice: BreakerNotice,
    until: u64,
}

impl StateBreakerStore {
    pub(crate) fn new(store: Arc<dyn StateStore>) -> Self {
        Self {
            store,
            notices: Subspace::new(&("breaker",)),
        }
    }
}

#[async_trait]
impl BreakerStore for StateBreakerStore {
    async fn publish(&self, notice: &BreakerNotice) -> Result<(), BoxError> {
        let left = u64::try_from(notice.left.as_nanos()).unwrap_or(u64::MAX);
        let now = nanos(self.store.now().await?);
        let key = self.notices.pack(&(notice.name.as_str(),));
        let kept = Kept {
            notice: notice.clone(),
            until: now.saturating_add(left),
        };
        let (key, kept) = (&key, &kept);
        let written = self
            .store
            .transact(|mut tx| async move { tx.set_json(key, kept) });
        Ok(written.await?)
    }

    async fn notices(&self, limit: usize) -> Result<Vec<BreakerNotice>, BoxError> {
        let now = nanos(self.store.now().await?);
        let mut live = Vec::new();
        let mut tx = self.store.begin().await?;
        // Those whose time is over stay until their breaker says something else: there is one for each name.
        let mut next = Some(self.notices.range().snapshot());
        while let Some(range) = next.filter(|_| live.len() < limit) {
            let page = tx.range(range).await?;
            // What a later release wrote is not for this one.
            let kept = page.entries.iter();
            let kept = kept.filter_map(|entry| serde_json::from_slice::<Kept>(&entry.value).ok());
            live.extend(kept.filter_map(|kept| {
                let left = Duration::from_nanos(kept.until.saturating_sub(now));
                let notice = BreakerNotice {
                    left,
                    ..kept.notice
                };
                (!left.is_zero()).then_some(notice)
            }));
            next = page.next;
        }
        live.truncate(limit);
        Ok(live)
    }
}
