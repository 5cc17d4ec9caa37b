//! Which of those who might check does: one at a time, for a term that it keeps up.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use crate::{Incarnation, Registry, Role, random};

/// How long it may take to resign; the term would end by itself.
const FAREWELL: Duration = Duration::from_secs(1);

/// A candidate for a role.
pub(super) struct Election {
    registry: Arc<dyn Registry>,
    role: Role,
    candidate: Incarnation,
    term: Duration,
}

impl Election {
    pub(super) fn new(
        registry: Arc<dyn Registry>,
        role: Role,
        candidate: Incarnation,
        term: Duration,
    ) -> Self {
        Self {
            registry,
            role,
            candidate,
            term,
        }
    }

    /// Waits until it is elected, and returns until when that holds.
    pub(super) async fn won(&self) -> Instant {
        loop {
            if let Some(ends) = self.ask().await {
                return ends;
            }
            // Several who wait do not come at once.
            let wait = self.term / 2;
            sleep(wait.mul_f64(0.5 + 0.5 * fraction())).await;
        }
    }

    /// Keeps the term up, and returns when it is over.
    pub(super) async fn lost(&self, mut ends: Instant) {
        loop {
            let next = Instant::now() + self.term / 3;
            sleep_until(next.min(ends)).await;
            match timeout_at(ends, self.elected()).await {
                Ok(Ok(Some(later))) => ends = later,
                Ok(Err(_)) if Instant::now() < ends => {}
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Lets another one have the role at once.
    pub(super) async fn resign(&self) {
        let resigned = self.registry.resign(&self.role, self.candidate);
        if let Ok(Err(error)) = timeout(FAREWELL, resigned).await {
            tracing::debug!(role = %self.role, %error, "a role could not be given up");
        }
    }

    async fn ask(&self) -> Option<Instant> {
        match self.elected().await {
            Ok(ends) => ends,
            Err(error) => {
                tracing::debug!(role = %self.role, %error, "no role could be asked for");
                None
            }
        }
    }

    /// Asks once, and returns until when the answer holds: counted from the question, so that it is over here before it is there.
    async fn elected(&self) -> crate::Result<Option<Instant>> {
        let asked = Instant::now();
        let term = self
            .registry
            .elect(&self.role, self.candidate, self.term)
            .await?;
        Ok(term.map(|_| asked + self.term))
    }
}

/// Draws a number from 0 to 1.
fn fraction() -> f64 {
    (random::draw() >> 32) as f64 / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests;
