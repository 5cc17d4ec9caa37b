//! The agents of a simulation: they do what their scripts say, and tell the witness.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coditect_core::RuntimeBuilder;
use coditect_core::prelude::*;
use coditect_core::resilience::BreakerPolicy;
use parking_lot::Mutex;

use crate::life::Life;
use crate::outage;
use crate::planted::Planted;
use crate::scenario::Scenario;
use crate::witness::{Attempted, Witness};
use crate::workload::{Act, LEAF, LONG, TaskScript};

/// What the agents of one node have.
#[derive(Clone)]
pub(crate) struct Stage {
    pub(crate) life: Arc<Life>,
    pub(crate) witness: Arc<Witness>,
    pub(crate) scenario: Arc<Scenario>,
    pub(crate) planted: Option<Planted>,
    pub(crate) slots: usize,
    /// How often each agent was called while it was out.
    pub(crate) refused: Arc<Mutex<BTreeMap<&'static str, u32>>>,
}

/// Adds the agents to a node.
pub(crate) fn add(builder: RuntimeBuilder, stage: &Stage, slots: usize) -> RuntimeBuilder {
    let (on_work, on_leaf) = (stage.clone(), stage.clone());
    let work = move |context: TaskContext, taken: Vec<u64>| {
        let stage = on_work.clone();
        async move {
            let (by, value, _) = stage.perform("work", &context, &taken).await?;
            stage.witness.answers(by, value);
            Ok::<_, AgentError>(value)
        }
    };
    let leaf = move |context: TaskContext, value: u64| {
        let stage = on_leaf.clone();
        async move {
            let by = stage.begin(&context, &[], &[]).await?;
            let span = value.checked_sub(LONG).unwrap_or(value % 90);
            tokio::time::sleep(Duration::from_millis(span)).await;
            stage.life.pass().await;
            stage.check_outage("leaf", &context)?;
            stage.witness.answers(by, value);
            Ok::<_, AgentError>(value)
        }
    };
    let work = agent("work", work).with_breaker(stage.breaker());
    let leaf = agent("leaf", leaf).with_breaker(stage.breaker());
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
        AgentCard::new("split").with_breaker(self.0.breaker())
    }

    async fn decompose(
        &self,
        context: TaskContext,
        taken: Vec<u64>,
    ) -> Result<Plan<u64>, AgentError> {
        let (_, value, leaves) = self.0.perform("split", &context, &taken).await?;
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
        self.witness.began(by, context.key(), takes, taken);
        Ok(by)
    }

    fn breaker(&self) -> Option<BreakerPolicy> {
        (self.planted != Some(Planted::BreakersMissing)).then(outage::breaker)
    }

    /// Fails while the agent is out, and counts how often it is called all the same.
    fn check_outage(&self, agent: &'static str, context: &TaskContext) -> Result<(), AgentError> {
        let world = &self.life.world;
        let outage = self.scenario.outage.as_ref();
        let Some(outage) = outage.filter(|outage| outage.is_on(agent, world.elapsed())) else {
            return Ok(());
        };
        self.life.note("an agent is out", [0, 0]);
        // What nobody waits for shows the breaker nothing.
        if !context.is_cancelled() {
            let mut refused = self.refused.lock();
            let calls = refused.entry(agent).or_default();
            *calls += 1;
            if *calls > outage.most_calls(self.slots) {
                world.violated(format!("`{agent}` is out, and was called {calls} times"));
            }
        }
        Err(AgentError::retryable("the agent is out"))
    }

    /// Does what this attempt is to do; tells the value and how many leaves there are.
    async fn perform(
        &self,
        agent: &'static str,
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
        self.check_outage(agent, context)?;
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
