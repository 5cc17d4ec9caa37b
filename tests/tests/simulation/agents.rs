//! The agents of a simulation: they do what their scripts say, and tell the witness.

use std::sync::Arc;
use std::time::Duration;

use coditect_core::RuntimeBuilder;
use coditect_core::prelude::*;

use crate::life::Life;
use crate::planted::Planted;
use crate::witness::{Attempted, Witness};
use crate::workload::{Act, LEAF, Scenario, TaskScript};

/// What the agents of one node have.
#[derive(Clone)]
pub(crate) struct Stage {
    pub(crate) life: Arc<Life>,
    pub(crate) witness: Arc<Witness>,
    pub(crate) scenario: Arc<Scenario>,
    pub(crate) planted: Option<Planted>,
}

/// Adds the agents to a node.
pub(crate) fn add(builder: RuntimeBuilder, stage: &Stage, slots: usize) -> RuntimeBuilder {
    let (on_work, on_leaf) = (stage.clone(), stage.clone());
    let work = move |context: TaskContext, taken: Vec<u64>| {
        let stage = on_work.clone();
        async move {
            let (by, value, _) = stage.perform(&context, &taken).await?;
            stage.witness.answers(by, value);
            Ok::<_, AgentError>(value)
        }
    };
    let leaf = move |context: TaskContext, value: u64| {
        let stage = on_leaf.clone();
        async move {
            let by = stage.begin(&context, &[], &[]).await?;
            tokio::time::sleep(Duration::from_millis(value % 90)).await;
            stage.life.pass().await;
            stage.witness.answers(by, value);
            Ok::<_, AgentError>(value)
        }
    };
    // Without breakers, whose jitter does not follow from the seed.
    let work = agent("work", work).with_breaker(None);
    let leaf = agent("leaf", leaf).with_breaker(None);
    builder
        .agent(work.with_concurrency(slots))
        .orchestrator(Split(stage.clone()))
        .agent(leaf.with_concurrency(slots))
}

/// Answers with a plan of leaves.
struct Split(Stage);

impl Orchestrator for Split {
    type Task = Vec<u64>;
    type Output = u64;

    fn card(&self) -> AgentCard {
        AgentCard::new("split").with_breaker(None)
    }

    async fn decompose(
        &self,
        context: TaskContext,
        taken: Vec<u64>,
    ) -> Result<Plan<u64>, AgentError> {
        let (_, value, leaves) = self.0.perform(&context, &taken).await?;
        let mut plan = Plan::builder();
        let leaves: Vec<_> = (0..leaves)
            .map(|leaf| plan.task(format!("leaf-{leaf}"), &LEAF, value))
            .collect();
        let sum = Aggregation::<_, u64>::named("sum");
        Ok(plan.aggregate(sum, leaves)?)
    }
}

impl Stage {
    /// A handler begins, unless its node is dead.
    async fn begin(
        &self,
        context: &TaskContext,
        takes: &[u32],
        taken: &[u64],
    ) -> Result<Attempted, AgentError> {
        self.life.pass().await;
        let run = context
            .run()
            .ok_or_else(|| AgentError::permanent("there is a run"))?;
        let by = Attempted {
            run,
            task: context.task().get(),
            attempt: context.attempt(),
        };
        let number = self.scenario.number_of(run);
        self.life.note(
            "begins",
            [number, u64::from(by.task) << 16 | u64::from(by.attempt)],
        );
        self.witness.began(by, takes, taken);
        Ok(by)
    }

    /// Does what this attempt is to do; tells the value and how many leaves there are.
    async fn perform(
        &self,
        context: &TaskContext,
        taken: &[u64],
    ) -> Result<(Attempted, u64, u64), AgentError> {
        let script = self.script(context)?;
        let by = self.begin(context, &script.takes, taken).await?;
        if script.steps {
            let value = self.step(context).await?;
            self.witness.stepped(by, value);
            let board = context.blackboard()?;
            board.put(&format!("seen-{}", by.task), &value).await?;
        }
        if script.asks {
            let asked = context.request("asked", &LEAF, u64::from(by.task)).await?;
            debug_assert_eq!(asked, u64::from(by.task));
        }
        tokio::time::sleep(script.slow).await;
        let act = script.act(by.attempt);
        if act == Act::Dawdle {
            tokio::time::sleep(Duration::from_secs(4)).await;
        }
        self.life.pass().await;
        match act {
            Act::Later => {
                self.witness.has_done_nothing(by);
                let error = AgentError::retryable("not now").before_effect();
                Err(error.retry_after(Duration::from_millis(150)))
            }
            Act::Fail => Err(AgentError::retryable("failed")),
            Act::FailForGood => Err(AgentError::permanent("failed for good")),
            Act::Answer | Act::Dawdle => {
                let own = u64::from(by.task) + 1 + 1_000 * u64::from(by.attempt);
                let value = own + taken.iter().sum::<u64>();
                Ok((by, value, script.leaves.unwrap_or(0)))
            }
        }
    }

    /// A step whose result is kept: no two doings of it have the same.
    async fn step(&self, context: &TaskContext) -> Result<u64, AgentError> {
        let life = Arc::clone(&self.life);
        let step = || async move {
            life.pass().await;
            life.note("does a step", [0, 0]);
            tokio::time::sleep(Duration::from_millis(30)).await;
            life.pass().await;
            Ok::<_, AgentError>(life.world.number() >> 12)
        };
        if self.planted == Some(Planted::StepsForgotten) {
            return step().await;
        }
        context.once("step", step).await
    }

    fn script(&self, context: &TaskContext) -> Result<TaskScript, AgentError> {
        let number = context.run().map(|run| self.scenario.number_of(run));
        let run = self.scenario.runs.get(number.unwrap_or(u64::MAX) as usize);
        let task = run.and_then(|run| run.tasks.get(context.task().index()));
        let task = task.ok_or_else(|| AgentError::permanent("the task has no script"))?;
        debug_assert_eq!(context.key(), format!("task-{}", context.task()));
        Ok(task.clone())
    }
}
