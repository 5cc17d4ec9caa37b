//! Task graphs of CODITECT: the graph, the pure scheduler, the journal of a run.

mod error;
pub mod graph;
mod id;
pub mod journal;
pub mod scheduler;
mod timestamp;

pub use error::{Error, ErrorKind};
pub use graph::{TaskGraph, TaskGraphBuilder, TaskName};
pub use id::{Attempt, ParseRunIdError, RunId, TaskId};
pub use scheduler::{
    Action, Applied, Cause, Class, Event, Expansion, FailurePolicy, Join, Limits, LossReason,
    Options, Scheduler, TaskSpec, TaskState,
};
pub use timestamp::Timestamp;
