//! Task graphs of CODITECT: the graph, the pure scheduler, the journal of a run.

mod id;
pub mod journal;
mod timestamp;

pub use id::{Attempt, ParseRunIdError, RunId, TaskId};
pub use timestamp::Timestamp;
