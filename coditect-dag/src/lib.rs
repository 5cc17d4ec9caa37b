//! Task graphs of CODITECT: the graph, the pure scheduler, the journal of a run.
//!
//! A run executes a graph of tasks. Three things are needed for that, and this crate has one module
//! for each. None of them knows what a task does, who carries it out, or how work gets there.
//!
//! - [`graph`]: a [`TaskGraph<N>`] says which tasks there are, under which keys, and which waits for
//!   which. It is sound once it is there; a cycle is refused with its path. The payload `N` is
//!   the caller's business.
//! - [`scheduler`]: a [`Scheduler<P>`] decides. [`Event`]s go in, [`Action`]s come out, and between
//!   them is no clock, no chance and no I/O, so that the events alone are enough to have the same
//!   scheduler again, in another process or a year later.
//! - [`journal`]: a [`RunJournal`](journal::RunJournal) keeps those events safe, and sees to it that
//!   only one process at a time writes them.
//!
//! # How they work together
//!
//! The owner of a run takes what has happened (an answer from a worker, a deadline, a wish to cancel),
//! says it to the scheduler as an event, writes the event to the journal, and once that is committed
//! does what the actions ask for: hand out, stop, wake up, report. If it dies in between, the next
//! owner replays the journal and is at the same point.
//!
//! A task goes through these states; [`TaskState`] has the picture. It ends once: of several
//! answers to one attempt the first wins, and one to an earlier attempt is ignored. That is what
//! turns at-least-once delivery into at most one accepted completion.
//!
//! # Examples
//!
//! A graph of three tasks, from the start to the end:
//!
//! ```
//! use coditect_dag::{Action, Class, Event, Options, Scheduler, TaskGraph, TaskSpec, TaskState};
//!
//! let mut builder = TaskGraph::builder();
//! let fetch = builder.task("fetch", "https://example.org");
//! let words = builder.task("words", "count the words");
//! let links = builder.task("links", "count the links");
//! builder.depends_on(words, fetch).depends_on(links, fetch);
//! let graph = builder.build()?;
//!
//! let spec = |_, _: &&str| TaskSpec::new(Class(0), 0_u8);
//! let mut run = Scheduler::new(&graph, spec, Options::default())?;
//! let mut actions = Vec::new();
//! let _ = run.apply(&Event::Started, &mut actions)?;
//!
//! let mut order = Vec::new();
//! while let Some((task, _priority)) = run.peek(Class(0)) {
//!     let _ = run.apply(&Event::Dispatched { task }, &mut actions)?;
//!     order.push(graph.key(task).unwrap_or_default()); // here a worker would do it
//!     let attempt = run.attempt(task);
//!     let _ = run.apply(&Event::Succeeded { task, attempt }, &mut actions)?;
//! }
//!
//! assert_eq!(order, ["fetch", "words", "links"]);
//! let end = Action::RunSettled { state: TaskState::Succeeded };
//! assert_eq!(actions.last(), Some(&end));
//! # Ok::<(), coditect_dag::Error>(())
//! ```
//!
//! # What it costs
//!
//! A million tasks with three dependencies each take about 140 bytes a task, graph and scheduler
//! together, and well under a microsecond a task from the graph to the settled run;
//! `cargo bench -p coditect-dag` shows it beside the least that could be done by hand.
//! Nothing recurses over the graph: a chain of a million tasks is as good as any other shape.

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
    Options, Patch, Scheduler, TaskRanges, TaskSpec, TaskState,
};
pub use timestamp::Timestamp;
