//! Runs: submitting them, following them, and what became of them.

mod event;
mod handle;
mod limits;
mod report;
mod spec;
mod submit;

pub use self::event::{EventStream, RunEvent, RunEventKind, TaskInfo};
pub use self::handle::RunHandle;
pub use self::limits::RunLimits;
pub use self::report::{RunReport, TaskReport};
pub(crate) use self::spec::{RunSpec, RunTerms};
pub use self::submit::Submit;
pub(crate) use self::submit::{PreparedRuns, SubmitOptions, Submitter};
