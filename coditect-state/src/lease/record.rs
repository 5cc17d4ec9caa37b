//! What the store keeps of a lease.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::token::FencingToken;

/// Says who owns a lease; without a holder it is free and keeps the last token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Owner {
    pub(super) token: FencingToken,
    pub(super) holder: Option<String>,
}

/// Says until when, in microseconds since 1970.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Expiry(u64);

impl Expiry {
    pub(super) fn new(at: SystemTime) -> Self {
        Self(micros(at))
    }

    pub(super) fn time(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_micros(self.0)
    }
}

/// Returns a token greater than the last one and, over a store that was emptied, than all that were in it.
pub(super) fn next_token(last: Option<FencingToken>, now: SystemTime) -> FencingToken {
    let successor = last.map_or(0, |last| last.as_u64().saturating_add(1));
    FencingToken::new(successor.max(micros(now)))
}

fn micros(time: SystemTime) -> u64 {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_grow_when_the_clock_stands_still_and_when_the_store_is_new() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(5);
        let first = next_token(None, now);
        assert_eq!(first.as_u64(), 5_000_000);
        assert_eq!(next_token(Some(first), now).as_u64(), 5_000_001);
        assert!(next_token(None, now + Duration::from_millis(1)) > next_token(Some(first), now));
    }
}
