//! What this process has seen of a capability at one instance: how fast, how often well, and whether it is ejected.

mod ejection;
mod latency;
mod success;
mod track;

pub use ejection::Ejection;
pub use track::Outcome;
pub(crate) use track::{Offered, Track};
