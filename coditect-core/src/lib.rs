//! Agents that give each other work and get results without a human carrying messages between them.
//!
//! A user states a task once; an [`Orchestrator`] decomposes it into a [`Plan`] of tasks; [`Agent`]s,
//! found by capability, carry them out wherever they run; a [`ResultAggregator`] combines what they
//! answer. A [`Runtime`] does all of it in one process with nothing installed. Bus, registry and state are
//! ports: runtimes that are given the same ones work together and go on with each other's runs.
//!
//! ```
//! use coditect_core::prelude::*;
//!
//! const COUNT: Call<String, u64> = Call::new("count");
//!
//! async fn count(text: String) -> Result<u64, AgentError> {
//!     Ok(text.split_whitespace().count() as u64)
//! }
//!
//! /// One task per line, and their sum.
//! async fn count_lines(_: TaskContext, text: String) -> Result<Plan<u64>, AgentError> {
//!     let mut plan = Plan::builder();
//!     let counts: Vec<_> = text
//!         .lines()
//!         .enumerate()
//!         .map(|(number, line)| plan.task(format!("line-{number}"), &COUNT, line.to_owned()))
//!         .collect();
//!     Ok(plan.aggregate(Aggregation::named("sum"), counts)?)
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), coditect_core::Error> {
//! let runtime = Runtime::builder()
//!     .agent(agent("count", count))
//!     .orchestrator(orchestrator("count-lines", count_lines))
//!     .aggregator("sum", || reduce(0, |sum: u64, words: u64| sum + words))
//!     .start()
//!     .await?;
//! let words: u64 = runtime.run(&call("count-lines"), "to be\nor not\nto be").await?;
//! assert_eq!(words, 6);
//! runtime.shutdown().await
//! # }
//! ```
//!
//! # The promise
//!
//! At-least-once execution, at most one accepted completion per task, exactly one state transition in
//! the store; nothing acknowledged is ever lost. A handler may therefore be called twice for one task,
//! and what it does outside should be [idempotent](TaskContext::idempotency_key) or wrapped in
//! [`TaskContext::once`]. One that says that its tasks are [irreversible](EffectClass::Irreversible) is never begun a second
//! time by itself: where nobody knows what became of it, somebody is asked.
//!
//! # Where to begin
//!
//! | you want to | look at |
//! |---|---|
//! | do tasks | [`agent`] for a function, [`Agent`] for a type, [`TaskContext`] for what a handler can do |
//! | split a task into others | [`orchestrator`], [`Plan::builder`], [`TaskRef`] |
//! | combine many results | [`aggregate`]: ready-made ones and [`ResultAggregator`] |
//! | say how a task is run: priority, timeout, retries | [`PlanBuilder::configure`] with [`TaskSettings`] |
//! | have something done and wait for it | [`Runtime::run`], [`Runtime::submit`] with [`Submit`] |
//! | have something done later, or again and again | [`Submit::start_at`], [`Submit::on_schedule`] with a [`Timing`] |
//! | hold a run up, bring it a signal or a decision, give it another chance | [`RunHandle`], [`Signal`], [`Approval`] |
//! | have done once what must not be done twice | [`EffectClass`], [`Parking`], [`RunHandle::rule`] |
//! | follow, cancel or report a run | [`RunHandle`], [`RunEventKind`], [`RunReport`] |
//! | ask an agent without a run | [`Runtime::request`] |
//! | set a process up and end it in peace | [`RuntimeBuilder`], [`Runtime::shutdown_on_signal`] |
//!
//! # The parts
//!
//! Each idea has a crate of its own, which this one composes and re-exports as a module: [`bus`],
//! [`registry`], [`dag`], [`state`], [`resilience`], [`telemetry`].

mod agent;
pub mod aggregate;
mod aim;
mod chance;
mod clock;
mod context;
mod coordinator;
mod effect;
mod error;
mod failure;
pub mod guard;
mod limit;
mod orchestrator;
mod plan;
mod ports;
pub mod prelude;
mod quarantine;
mod redrive;
mod run;
mod runtime;
mod schedule;
mod sharing;
#[cfg(feature = "test-util")]
pub mod testing;
mod wire;
mod worker;

pub use coditect_bus as bus;
pub use coditect_dag as dag;
pub use coditect_registry as registry;
pub use coditect_resilience as resilience;
pub use coditect_state as state;
pub use coditect_telemetry as telemetry;

pub use crate::agent::{Agent, AgentCard, AgentError, FnAgent, Handler, Performer, agent};
pub use crate::aggregate::{Aggregation, ResultAggregator, TaskOutcome, Verdict};
pub use crate::context::{ChildRequest, Progress, TaskContext};
pub use crate::effect::EffectClass;
pub use crate::error::{Error, ErrorKind};
pub use crate::failure::{Failure, FailureKind};
pub use crate::limit::{Limit, LimitOn, LimitUse};
pub use crate::orchestrator::{FnOrchestrator, Orchestrator, orchestrator};
pub use crate::plan::{
    Approval, Awaited, Call, Decision, FailurePolicy, IntoInput, Parking, Patch, Plan, PlanBuilder,
    Ruling, Signal, TaskRef, TaskSettings, Wait, call,
};
pub use crate::ports::Dispatch;
pub use crate::quarantine::Quarantined;
pub use crate::redrive::RedrivePolicy;
pub use crate::run::{
    EventStream, Occasion, RunEvent, RunEventKind, RunHandle, RunLimits, RunReport, Submit,
    TaskInfo, TaskReport, Waiting,
};
pub use crate::runtime::{
    BusSource, DeadLetters, Redrive, Redriven, RegistrySource, Request, Runtime, RuntimeBuilder,
    SetAside, SetAsideCursor, SetAsideFilter, SetAsideKind, SetAsidePage, StateSource,
    shutdown_signal,
};
pub use crate::schedule::{
    Missed, NewSchedule, Overlap, Schedule, ScheduleFilter, ScheduleInfo, ScheduleState,
    ScheduledRun, Timing,
};
pub use crate::worker::RateLimits;
pub use coditect_bus::Priority;
pub use coditect_dag::journal::{Partition, Roster, RunFilter, RunState, RunSummary};
pub use coditect_dag::{Attempt, RunId, TaskId, TaskState};
pub use coditect_registry::{AgentId, Capability};
pub use coditect_resilience::RetryPolicy;
