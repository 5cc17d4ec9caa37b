//! Who is told what happens in a registry or a view, for metrics; switching it on changes no behaviour.

use std::time::Duration;

use crate::{CapabilityName, ErrorKind, Instance, Registration, RemovalReason, Verdict};

/// Is told what happens; every method does nothing by default.
///
/// Methods are called inline, sometimes under a lock: they must be quick and must not call back into the registry.
pub trait Observer: Send + Sync + 'static {
    /// An instance has been registered.
    fn registered(&self, registration: &Registration) {
        let _ = registration;
    }

    /// A lease has been renewed.
    fn renewed(&self, registration: &Registration) {
        let _ = registration;
    }

    /// A registration, renewal or update has been refused.
    fn refused(&self, instance: &Instance, kind: ErrorKind) {
        let _ = (instance, kind);
    }

    /// A checker's verdict on an instance has been set, or taken back.
    fn judged(&self, instance: &Instance, verdict: Option<&Verdict>) {
        let _ = (instance, verdict);
    }

    /// A balancer has set an instance aside for a capability, because it fails there.
    fn ejected(&self, instance: &Instance, capability: &CapabilityName, duration: Duration) {
        let _ = (instance, capability, duration);
    }

    /// An instance that was ejected is given tasks of the capability again.
    fn readmitted(&self, instance: &Instance, capability: &CapabilityName) {
        let _ = (instance, capability);
    }

    /// An instance is gone.
    fn removed(&self, instance: &Instance, reason: RemovalReason) {
        let _ = (instance, reason);
    }

    /// A watcher or a view has started over with `records` records, because it had begun or had fallen behind.
    fn resynced(&self, records: usize) {
        let _ = records;
    }

    /// A view has lost its watch and goes on with what it knows until it has another.
    fn interrupted(&self) {}
}

/// Observes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}
