//! What processes share of their resilience through the state store.

mod breaker;
mod rate;

pub(crate) use self::breaker::StateBreakerStore;
pub(crate) use self::rate::StateRateLimitStore;

use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970, which a word holds until the year 2554.
fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use coditect_resilience::breaker::sharing::conformance as breakers;
    use coditect_resilience::rate::shared::conformance as rates;
    use coditect_state::MemoryStore;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn breakers_are_shared_as_their_contract_says() {
        breakers::all(async || Arc::new(StateBreakerStore::new(Arc::new(MemoryStore::new()))) as _)
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn rates_are_shared_as_their_contract_says() {
        rates::all(async || Arc::new(StateRateLimitStore::new(Arc::new(MemoryStore::new()))) as _)
            .await;
    }
}
