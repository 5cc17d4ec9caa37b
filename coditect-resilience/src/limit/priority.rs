//! Who is refused first when calls are near the limit: a pure decision.

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Says which share of a limit each priority may fill.
///
/// Priorities count from 0, the highest. What is below the last one listed has the share of the last. With the default,
/// P2 is refused once half of the limit is used, P1 at 80 %, and P0 only when all of it is: when too much is
/// offered, what matters least is refused first, and early enough for P0 to find room.
///
/// ```
/// use coditect_resilience::SheddingPolicy;
///
/// let shedding = SheddingPolicy::default();
/// assert_eq!([0, 1, 2].map(|priority| shedding.room(priority, 10)), [10, 8, 5]);
/// assert_eq!(shedding.room(9, 1), 1, "whoever is allowed in at all finds room when all is quiet");
/// # Ok::<(), coditect_resilience::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "[f64; 3]", into = "[f64; 3]")]
pub struct SheddingPolicy {
    shares: [f64; 3],
}

impl SheddingPolicy {
    /// Gives each of three priorities its share of the limit.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPolicy`](crate::ErrorKind::InvalidPolicy) unless each is above 0, at most 1, and no more than the one before.
    pub fn new(shares: [f64; 3]) -> Result<Self, Error> {
        let falls = shares.is_sorted_by(|one, next| one >= next);
        if !falls || shares.iter().any(|share| !(*share > 0.0 && *share <= 1.0)) {
            return Err(Error::invalid_policy(
                "the shares of the priorities do not fall from 1 to above 0",
            ));
        }
        Ok(Self { shares })
    }

    /// Treats all alike.
    #[must_use]
    pub const fn none() -> Self {
        Self { shares: [1.0; 3] }
    }

    /// Returns how many calls may be under way, all together, for one of this priority to be let in.
    #[must_use]
    pub fn room(&self, priority: u8, limit: u32) -> u32 {
        let share = self.shares[usize::from(priority).min(self.shares.len() - 1)];
        ((f64::from(limit) * share) as u32).max(1)
    }
}

impl Default for SheddingPolicy {
    /// Gives all of the limit to P0, 80 % to P1, 50 % to P2.
    fn default() -> Self {
        Self {
            shares: [1.0, 0.8, 0.5],
        }
    }
}

impl TryFrom<[f64; 3]> for SheddingPolicy {
    type Error = Error;

    fn try_from(shares: [f64; 3]) -> Result<Self, Error> {
        Self::new(shares)
    }
}

impl From<SheddingPolicy> for [f64; 3] {
    fn from(policy: SheddingPolicy) -> Self {
        policy.shares
    }
}

/// Says how important a request is: 0 is the highest priority. Any `Fn(&Req) -> u8` is one, and a plain number is one
/// for all requests.
pub trait PickPriority<Req> {
    /// Returns the priority of this request.
    fn priority(&self, request: &Req) -> u8;
}

impl<Req> PickPriority<Req> for u8 {
    fn priority(&self, _: &Req) -> u8 {
        *self
    }
}

impl<F, Req> PickPriority<Req> for F
where
    F: Fn(&Req) -> u8,
{
    fn priority(&self, request: &Req) -> u8 {
        self(request)
    }
}
