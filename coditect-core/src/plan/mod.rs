//! Graphs of tasks as people write them: typed calls, references between tasks, results.

mod builder;
mod call;
mod change;
mod patch;
mod prepared;
mod reference;
mod ruling;
mod settings;
pub(crate) mod spec;
mod wait;

pub use self::builder::{Plan, PlanBuilder};
pub use self::call::{Call, call};
pub(crate) use self::change::{PatchBase, PatchSpec};
pub use self::patch::Patch;
pub(crate) use self::prepared::PreparedPlan;
pub use self::reference::{IntoInput, TaskRef};
pub(crate) use self::ruling::RulingKind;
pub use self::ruling::{Parking, Ruling};
pub use self::settings::{FailurePolicy, TaskSettings};
pub use self::wait::{Approval, Awaited, Decision, Signal, Wait};
