//! An agent of this process that meets a requirement, and the way to a slot of it.

use std::sync::Arc;

use coditect_registry::Requirement;
use semver::Version;
use tokio::sync::Notify;

use super::hosted::{Hosted, Slot};
use crate::quarantine::Pattern;

/// An agent of this process, and which of its capabilities meets a requirement.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) hosted: Arc<Hosted>,
    pub(crate) capability: usize,
}

impl Offer {
    pub(super) fn of(hosted: &Arc<Hosted>, requirement: &Requirement) -> Option<Self> {
        Some(Self {
            capability: hosted.capability_for(requirement)?,
            hosted: Arc::clone(hosted),
        })
    }

    /// What a quarantine of it would be about.
    pub(crate) fn pattern(&self) -> Pattern {
        Pattern::of_offer(&self.hosted.id, &self.hosted.capabilities[self.capability])
    }

    pub(super) fn version(&self) -> &Version {
        &self.hosted.capabilities[self.capability].version
    }

    /// Says whether the agent is given work at all: it may drain, or have been replaced.
    pub(crate) fn wants_work(&self) -> bool {
        self.hosted.standing.is_open()
    }

    /// Takes a slot if the agent takes the work at once.
    pub(crate) fn try_slot(&self) -> Option<Slot> {
        self.hosted.try_work(self.capability)
    }

    /// Has `wake` notified once, when the agent may take the work.
    pub(crate) fn notify_free(&self, wake: &Arc<Notify>) {
        self.hosted.notify_free(self.capability, wake);
    }

    /// Says whether its breaker holds calls back now.
    pub(crate) fn is_held_back(&self) -> bool {
        self.hosted.guard(self.capability).is_open()
    }
}
