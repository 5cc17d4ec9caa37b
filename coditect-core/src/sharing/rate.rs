//! Rates that processes take of together, in the state store.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use coditect_resilience::{Demand, RateBucket, RateDecision, RateLimitStore};
use coditect_state::key::Subspace;
use coditect_state::{StateStore, StateStoreExt, TransactionExt};

use super::nanos;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Keeps one number for each rate in a [`StateStore`], changed in transactions and by the store's clock.
pub(crate) struct StateRateLimitStore {
    store: Arc<dyn StateStore>,
    rates: Subspace,
}

impl StateRateLimitStore {
    pub(crate) fn new(store: Arc<dyn StateStore>) -> Self {
        Self {
            store,
            rates: Subspace::new(&("rate",)),
        }
    }
}

#[async_trait]
impl RateLimitStore for StateRateLimitStore {
    async fn reserve(&self, key: &str, demand: Demand) -> Result<RateDecision, BoxError> {
        let now = nanos(self.store.now().await?);
        let max_wait = u64::try_from(demand.max_wait.as_nanos()).unwrap_or(u64::MAX);
        let key = self.rates.pack(&(key,));
        let key = &key;
        let decided = self.store.transact(|mut tx| async move {
            let full_at: Option<u64> = tx.get_json(key).await?;
            let mut bucket = RateBucket::full_at(full_at.unwrap_or_default());
            Ok(
                match bucket.reserve(&demand.policy, demand.tokens, now, max_wait) {
                    Ok(wait) => {
                        tx.set_json(key, &bucket.nanos())?;
                        RateDecision::Go(Duration::from_nanos(wait))
                    }
                    Err(left) => RateDecision::Refused(Duration::from_nanos(left)),
                },
            )
        });
        Ok(decided.await?)
    }
}
