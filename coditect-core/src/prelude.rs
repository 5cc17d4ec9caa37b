//! What most programs need, in one line: `use coditect_core::prelude::*;`.

pub use crate::aggregate::{
    collect_all, collect_succeeded, first_success, majority_vote, quorum, reduce,
};
pub use crate::{
    Agent, AgentCard, AgentError, Aggregation, Approval, Call, Decision, FailurePolicy,
    Orchestrator, Plan, Priority, ResultAggregator, RunEventKind, RunHandle, Runtime, Signal,
    TaskContext, TaskOutcome, TaskRef, Verdict, agent, call, orchestrator,
};
