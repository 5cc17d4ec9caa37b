//! Agents that ask each other, and note in which trace they are.

use coditect_core::prelude::*;
use coditect_core::telemetry::TraceContext;
use coditect_core::{Dispatch, Error};

use crate::stage::{Count, Notes};

pub(crate) const EVERYWHERE: [Dispatch; 2] = [Dispatch::LocalOnly, Dispatch::Bus];

/// An orchestrator of two parents, each of which asks a child; one of the parents is tried twice.
pub(crate) async fn runtime(
    dispatch: Dispatch,
    seen: &Notes<Option<TraceContext>>,
) -> Result<Runtime, Error> {
    let tries = Count::default();
    let parent_seen = seen.clone();
    let child_seen = seen.clone();
    let parent = move |context: TaskContext, x: u64| {
        let (seen, tries) = (parent_seen.clone(), tries.clone());
        async move {
            seen.push(context.trace());
            let answer = context
                .request("child", &call::<u64, u64>("child"), x)
                .await?;
            if x == 1 && tries.add() == 1 {
                return Err(AgentError::retryable("again"));
            }
            Ok::<_, AgentError>(answer)
        }
    };
    let child = move |context: TaskContext, x: u64| {
        child_seen.push(context.trace());
        std::future::ready(Ok::<_, AgentError>(x))
    };
    let pair = async |_: TaskContext, (): ()| {
        let mut plan = Plan::builder();
        let one = plan.task("one", &call::<u64, u64>("parent"), 1);
        let two = plan.task("two", &call::<u64, u64>("parent"), 2);
        plan.output::<(u64, u64)>((one, two))
    };
    Runtime::builder()
        .agent(agent("parent", parent))
        .agent(agent("child", child))
        .orchestrator(orchestrator("pair", pair))
        .dispatch(dispatch)
        .start()
        .await
}

pub(crate) const PAIR: Call<(), (u64, u64)> = Call::new("pair");
