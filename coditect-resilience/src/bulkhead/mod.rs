//! Bulkhead: so many calls at once and so many in the queue, for each compartment, as a tower layer.

mod keyed;
mod layer;
mod observer;
mod policy;
mod service;
mod slots;

pub use keyed::KeyedSlots;
pub use layer::{BulkheadLayer, PickSlots};
pub use observer::BulkheadObserver;
pub use policy::BulkheadPolicy;
pub use service::Bulkhead;
pub use slots::{Slot, Slots};

#[cfg(test)]
mod tests;
