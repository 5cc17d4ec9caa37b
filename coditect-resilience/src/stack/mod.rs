//! The default stack: the layers of this crate in the order that works, with named presets.

mod layer;
mod policy;

pub use layer::{StackLayer, StackService};
pub use policy::StackPolicy;

#[cfg(test)]
mod tests;
