//! The runs of a simulation: random graphs of tasks, and what each attempt of each task does.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::resilience::Backoff;
use coditect_core::{EffectClass, Error, PlanBuilder, RetryPolicy, RunId, Wait};
use coditect_harness::Random;

use crate::approval::Gate;
use crate::meddle::{self, Again, Meddling};
use crate::scenario::Scenario;
use crate::world::World;

/// How many attempts a task has that fails.
const ATTEMPTS: u32 = 3;
/// What a leaf is given beyond this is the time in milliseconds that it takes.
pub(crate) const LONG: u64 = 10_000_000_000;

pub(crate) const WORK: Call<Vec<u64>, u64> = Call::new("work");
pub(crate) const SPLIT: Call<Vec<u64>, u64> = Call::new("split");
pub(crate) const LEAF: Call<u64, u64> = Call::new("leaf");

/// What an attempt does in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Answer,
    Fail,
    FailForGood,
    /// Does not answer before its time is over, and then does.
    Dawdle,
    /// Asks to be tried again a little later, before it has done anything.
    Later,
}

#[derive(Clone, Debug)]
pub(crate) struct TaskScript {
    acts: Vec<Act>,
    /// Which earlier tasks it takes, and which it only waits for.
    pub(crate) takes: Vec<u32>,
    waits: Vec<u32>,
    priority: Priority,
    pub(crate) slow: Duration,
    /// It answers with a plan of so many leaves.
    pub(crate) leaves: Option<u64>,
    pub(crate) steps: bool,
    /// It asks another agent, in a run of its own.
    pub(crate) asks: bool,
    pub(crate) after_failure: bool,
    deadline: Option<Duration>,
    /// It must not be begun twice.
    pub(crate) irreversible: bool,
    /// It may be done as often as anybody likes.
    pure: bool,
    /// It is no work, but waits for a signal.
    pub(crate) wait: Option<WaitScript>,
}

/// What a task waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitScript {
    pub(crate) signal: u32,
    within: Option<Duration>,
    /// What it comes to when that has passed.
    pub(crate) or: Option<u64>,
}

impl TaskScript {
    pub(crate) fn act(&self, attempt: u32) -> Act {
        let acts = &self.acts;
        let index = (attempt as usize - 1).min(acts.len() - 1);
        acts[index]
    }
}

/// What becomes of the tasks' outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    All,
    First,
    Quorum(usize),
}

#[derive(Clone, Debug)]
pub(crate) struct RunScript {
    pub(crate) tasks: Vec<TaskScript>,
    pub(crate) ending: Ending,
    policy: FailurePolicy,
    pub(crate) submit_after: Duration,
    pub(crate) cancel_after: Option<Duration>,
    pub(crate) deadline: Option<Duration>,
    /// It is submitted to start so much later.
    pub(crate) starts_after: Option<Duration>,
    pub(crate) max_concurrency: Option<u32>,
    pub(crate) gate: Option<Gate>,
    pub(crate) meddling: Vec<Meddling>,
    pub(crate) again: Option<Again>,
}

pub(crate) fn millis(random: &mut Random, bound: u64) -> Duration {
    Duration::from_millis(random.below(bound))
}

pub(crate) fn one_in(random: &mut Random, count: u64) -> bool {
    random.below(count) == 0
}

pub(crate) fn run(random: &mut Random) -> RunScript {
    // Chains, layers, or anything.
    let shape = random.below(3);
    let count = 1 + random.below(18) as u32;
    let tasks: Vec<_> = (0..count).map(|index| task(random, index, shape)).collect();
    let starts_after = one_in(random, 7).then(|| millis(random, 3_000));
    let meddling = meddle::drawn(random, tasks.len() as u64, starts_after.is_some());
    let max_concurrency = one_in(random, 6).then(|| 1 + random.below(3) as u32);
    let gate = one_in(random, 8).then(|| Gate::drawn(random, tasks.len() as u64));
    let again = match random.below(8) {
        0 => Some(Again::Retry),
        1 | 2 => Some(Again::Redrive(random.below(tasks.len() as u64) as u32)),
        _ => None,
    };
    RunScript {
        starts_after,
        max_concurrency,
        gate,
        meddling,
        again,
        ending: match random.below(6) {
            0 => Ending::First,
            1 => Ending::Quorum(1 + random.below(tasks.len() as u64) as usize),
            _ => Ending::All,
        },
        policy: match random.below(6) {
            0 => FailurePolicy::FailFast,
            _ => FailurePolicy::Skip,
        },
        tasks,
        submit_after: millis(random, 3_000),
        cancel_after: one_in(random, 6).then(|| millis(random, 2_000)),
        deadline: one_in(random, 8).then(|| Duration::from_millis(500 + random.below(8_000))),
    }
}

fn task(random: &mut Random, index: u32, shape: u64) -> TaskScript {
    let upstream = |random: &mut Random| -> Vec<u32> {
        let mut edges = match shape {
            _ if index == 0 => Vec::new(),
            0 => vec![index - 1],
            // Layers of three, each of which takes all of the one before.
            1 if index < 3 => Vec::new(),
            1 => (index / 3 * 3 - 3..index / 3 * 3).collect(),
            _ => {
                let count = random.below(3);
                let edge = |_| random.below(u64::from(index)) as u32;
                (0..count).map(edge).collect()
            }
        };
        edges.sort_unstable();
        edges.dedup();
        edges
    };
    let mut takes = upstream(random);
    let mut waits = if one_in(random, 4) {
        upstream(random)
    } else {
        Vec::new()
    };
    let wait = one_in(random, 12).then(|| WaitScript {
        signal: random.below(2) as u32,
        within: one_in(random, 2).then(|| millis(random, 3_000)),
        or: one_in(random, 2).then(|| random.below(1_000)),
    });
    if wait.is_some() {
        waits.append(&mut takes);
        waits.sort_unstable();
        waits.dedup();
    }
    let acts = (0..1 + random.below(3)).map(|_| match random.below(14) {
        0 | 1 => Act::Fail,
        2 => Act::FailForGood,
        3 => Act::Dawdle,
        4 => Act::Later,
        _ => Act::Answer,
    });
    TaskScript {
        acts: acts.collect(),
        takes,
        waits,
        priority: meddle::priority(random),
        slow: match random.below(6) {
            0 => Duration::ZERO,
            1 => millis(random, 2_500),
            _ => millis(random, 200),
        },
        leaves: one_in(random, 7)
            .then(|| random.below(4))
            .filter(|_| wait.is_none()),
        steps: one_in(random, 3),
        asks: one_in(random, 9),
        after_failure: one_in(random, 5),
        irreversible: one_in(random, 4) && wait.is_none(),
        pure: one_in(random, 4),
        wait,
        deadline: one_in(random, 12).then(|| Duration::from_millis(300 + random.below(5_000))),
    }
}

impl WaitScript {
    fn to_wait(self) -> Wait<u64> {
        let signal = RunScript::signal(self.signal);
        let wait = match self.within {
            Some(limit) => signal.within(limit),
            None => Wait::from(&signal),
        };
        match self.or {
            Some(value) => wait.or(value),
            None => wait,
        }
    }
}

impl RunScript {
    /// Whether a task calls an agent, and does not wait for a signal.
    pub(crate) fn is_call(&self, task: u32) -> bool {
        let task = self.tasks.get(task as usize);
        task.is_some_and(|task| task.wait.is_none())
    }

    /// The position of the task that waits for the approval, where there is one.
    pub(crate) const fn gate_task(&self) -> u32 {
        self.tasks.len() as u32
    }

    pub(crate) fn is_gate(&self, task: u32) -> bool {
        self.gate.is_some() && task == self.gate_task()
    }

    /// How many tasks the run has from the beginning.
    pub(crate) fn planned(&self) -> u32 {
        self.gate_task() + u32::from(self.gate.is_some())
    }

    pub(crate) fn signal(number: u32) -> Signal<u64> {
        Signal::named(format!("signal-{number}"))
    }

    /// Submits the run; the same number is the same run.
    pub(crate) async fn submit(
        &self,
        runtime: &Runtime,
        number: usize,
        starts_at: Option<Duration>,
    ) -> Result<RunId, Error> {
        let (plan, refs) = self.plan();
        match self.ending {
            Ending::All => {
                let plan = plan.aggregate(collect_succeeded(), refs)?;
                self.send(runtime, plan, number, starts_at).await
            }
            Ending::First => {
                let plan = plan.aggregate(first_success(), refs)?;
                self.send(runtime, plan, number, starts_at).await
            }
            Ending::Quorum(needed) => {
                let plan = plan.aggregate(quorum(needed), refs)?;
                self.send(runtime, plan, number, starts_at).await
            }
        }
    }

    async fn send<O: Send + 'static>(
        &self,
        runtime: &Runtime,
        plan: Plan<O>,
        number: usize,
        starts_at: Option<Duration>,
    ) -> Result<RunId, Error> {
        let submit = runtime.submit_plan(plan.on_failure(self.policy));
        let submit = submit.idempotency_key(Scenario::key_of(number));
        let submit = match self.deadline {
            Some(deadline) => submit.deadline(deadline),
            None => submit,
        };
        let submit = match starts_at {
            Some(at) => submit.start_at(World::epoch() + at),
            None => submit,
        };
        let submit = match self.max_concurrency {
            Some(tasks) => submit.max_concurrency(tasks),
            None => submit,
        };
        Ok(submit.await?.id())
    }

    fn plan(&self) -> (PlanBuilder, Vec<TaskRef<u64>>) {
        let mut plan = Plan::<()>::builder();
        let mut refs: Vec<TaskRef<u64>> = Vec::new();
        let retry = RetryPolicy::builder(ATTEMPTS)
            .backoff(Backoff::constant(Duration::from_millis(70)))
            .build()
            .expect("there are attempts");
        for (index, task) in self.tasks.iter().enumerate() {
            let edges = task.takes.iter();
            let taken: Vec<_> = edges.map(|edge| refs[*edge as usize].clone()).collect();
            let call = if task.leaves.is_some() { &SPLIT } else { &WORK };
            let key = format!("task-{index}");
            let reference = match &task.wait {
                Some(wait) => plan.wait(key, wait.to_wait()),
                None => plan.task(key, call, taken),
            };
            plan.configure(&reference, |settings| {
                let mut settings = settings
                    .priority(task.priority)
                    .retry(retry)
                    .timeout(Duration::from_secs(3));
                if task.irreversible {
                    settings = settings.effect(EffectClass::Irreversible);
                } else if task.pure {
                    settings = settings.effect(EffectClass::Pure);
                }
                if task.after_failure {
                    settings = settings.run_after_failure();
                }
                match task.deadline {
                    Some(deadline) => settings.deadline(deadline),
                    None => settings,
                }
            });
            for edge in &task.waits {
                plan.after(&reference, &refs[*edge as usize]);
            }
            refs.push(reference);
        }
        if let Some(gate) = self.gate {
            gate.add(&mut plan, &refs);
        }
        (plan, refs)
    }
}
