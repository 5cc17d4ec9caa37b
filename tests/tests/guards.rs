//! Guards before the ports: they change nothing while all is well, and keep what fails from everybody's way.
#![allow(
    clippy::unwrap_used,
    reason = "this is test code: a failure is a panic"
)]

#[path = "guards/bus.rs"]
mod bus;
#[path = "guards/conformance.rs"]
mod conformance;
#[path = "guards/hearsay.rs"]
mod hearsay;
#[path = "guards/registry.rs"]
mod registry;
#[path = "guards/shaky.rs"]
mod shaky;
#[path = "guards/store.rs"]
mod store;
#[path = "guards/whole.rs"]
mod whole;

mod stage;

use std::time::Duration;

use coditect_core::guard::GuardPolicy;
use coditect_core::resilience::BulkheadPolicy;

/// Eight calls at once, sixteen wait, and one may take eight seconds.
fn narrow() -> GuardPolicy {
    let eight = BulkheadPolicy::new(8).unwrap().with_queue(16);
    GuardPolicy::state().with_bulkhead(eight)
}

/// Longer than a breaker of a port is ever open.
const OPEN: Duration = Duration::from_millis(501);
