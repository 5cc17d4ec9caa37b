//! Fencing tokens: numbers by which a resource knows a stale owner.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Grows with each lease, so that whoever holds an older one can be refused.
///
/// Tokens start from the store's clock (microseconds since 1970), so they grow even over a store that
/// was emptied in between. They stay below 2⁵³ until the year 2255 and so survive JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FencingToken(u64);

impl FencingToken {
    /// Creates a token from its number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
