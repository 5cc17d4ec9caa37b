//! Agent registry of CODITECT: records under leases, capabilities, watch, selection.

mod capability;
mod catalogue;
#[cfg(feature = "test-util")]
pub mod conformance;
mod error;
mod filter;
mod identity;
mod memory;
mod observer;
mod record;
mod registry;
mod selector;
mod view;
mod watch;

pub use capability::{Capability, CapabilityName, Requirement};
pub use catalogue::{Catalogue, CatalogueEntry};
pub use error::{Error, ErrorKind, Result};
pub use filter::Filter;
pub use identity::{AgentId, FencingToken, Incarnation, Instance, TenantId};
pub use memory::{MemoryRegistry, MemoryRegistryBuilder};
pub use observer::{NoObserver, Observer};
pub use record::{AgentRecord, Health, Load, Weight};
pub use registry::{MAX_TTL, MIN_TTL, Registration, Registry, validate_ttl};
pub use selector::{
    Candidate, Candidates, InFlight, LeastConnections, PowerOfTwoChoices, RoundRobin, Selector,
    Weighted,
};
pub use view::{Picked, TenantView, View};
pub use watch::{Change, Event, RemovalReason, Watch};
