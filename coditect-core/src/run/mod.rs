//! Runs: submitting them, following them, and what became of them.

mod admission;
mod event;
mod failed;
mod handle;
mod life;
mod limits;
mod occasion;
mod patch;
mod report;
mod spec;
mod submit;
mod submitter;
mod waiting;

pub(crate) use self::admission::{Admission, Backlog};
pub use self::event::{EventStream, RunEvent, RunEventKind, TaskInfo};
pub(crate) use self::failed::{FailedTask, failed_tasks, may_have_failed_tasks};
pub use self::handle::RunHandle;
pub use self::limits::RunLimits;
pub use self::occasion::Occasion;
pub use self::report::{RunReport, TaskReport};
pub(crate) use self::spec::{Parent, RunSpec, RunTerms};
pub use self::submit::Submit;
pub(crate) use self::submitter::{Deadline, PreparedRuns, SubmitOptions, Submitter};
pub use self::waiting::Waiting;
