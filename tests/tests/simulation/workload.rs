//! The runs of a simulation: random graphs of tasks, and what each attempt of each task does.

use std::collections::BTreeMap;
use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::resilience::Backoff;
use coditect_core::{EffectClass, Error, PlanBuilder, RetryPolicy, RunId};
use coditect_harness::Random;
use parking_lot::Mutex;

/// How many attempts a task has that fails.
const ATTEMPTS: u32 = 3;

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
    after_failure: bool,
    deadline: Option<Duration>,
    /// It must not be begun twice.
    pub(crate) irreversible: bool,
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
}

/// All runs of a simulation.
pub(crate) struct Scenario {
    pub(crate) runs: Vec<RunScript>,
    numbers: Mutex<BTreeMap<RunId, u64>>,
}

impl Scenario {
    pub(crate) fn drawn(random: &mut Random) -> Self {
        let count = 1 + random.below(5);
        Self {
            runs: (0..count).map(|_| run(random)).collect(),
            numbers: Mutex::default(),
        }
    }

    /// The key by which the submission of a run is recognised.
    pub(crate) fn key_of(number: usize) -> String {
        format!("run-{number}")
    }

    /// A submission with a key has this id.
    pub(crate) fn known_as(&self, run: RunId, key: Option<&str>) {
        let number = key.and_then(|key| key.strip_prefix("run-")?.parse().ok());
        self.numbers.lock().insert(run, number.unwrap_or(u64::MAX));
    }

    /// Says whether a task of a run must not be begun twice.
    pub(crate) fn is_irreversible(&self, run: RunId, task: u32) -> bool {
        let script = self.runs.get(self.number_of(run) as usize);
        let task = script.and_then(|script| script.tasks.get(task as usize));
        task.is_some_and(|task| task.irreversible)
    }

    pub(crate) fn number_of(&self, run: RunId) -> u64 {
        self.numbers.lock().get(&run).copied().unwrap_or(u64::MAX)
    }
}

fn millis(random: &mut Random, bound: u64) -> Duration {
    Duration::from_millis(random.below(bound))
}

fn one_in(random: &mut Random, count: u64) -> bool {
    random.below(count) == 0
}

fn run(random: &mut Random) -> RunScript {
    // Chains, layers, or anything.
    let shape = random.below(3);
    let count = 1 + random.below(18) as u32;
    let tasks: Vec<_> = (0..count).map(|index| task(random, index, shape)).collect();
    RunScript {
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
    let takes = upstream(random);
    let waits = if one_in(random, 4) {
        upstream(random)
    } else {
        Vec::new()
    };
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
        priority: [Priority::P0, Priority::P1, Priority::P2][random.below(3) as usize],
        slow: match random.below(6) {
            0 => Duration::ZERO,
            1 => millis(random, 2_500),
            _ => millis(random, 200),
        },
        leaves: one_in(random, 7).then(|| random.below(4)),
        steps: one_in(random, 3),
        asks: one_in(random, 9),
        after_failure: one_in(random, 5),
        irreversible: one_in(random, 4),
        deadline: one_in(random, 12).then(|| Duration::from_millis(300 + random.below(5_000))),
    }
}

impl RunScript {
    /// Submits the run; the same number is the same run.
    pub(crate) async fn submit(&self, runtime: &Runtime, number: usize) -> Result<RunId, Error> {
        let (plan, refs) = self.plan();
        match self.ending {
            Ending::All => {
                let plan = plan.aggregate(collect_succeeded(), refs)?;
                self.send(runtime, plan, number).await
            }
            Ending::First => {
                let plan = plan.aggregate(first_success(), refs)?;
                self.send(runtime, plan, number).await
            }
            Ending::Quorum(needed) => {
                let plan = plan.aggregate(quorum(needed), refs)?;
                self.send(runtime, plan, number).await
            }
        }
    }

    async fn send<O: Send + 'static>(
        &self,
        runtime: &Runtime,
        plan: Plan<O>,
        number: usize,
    ) -> Result<RunId, Error> {
        let submit = runtime.submit_plan(plan.on_failure(self.policy));
        let submit = submit.idempotency_key(Scenario::key_of(number));
        let submit = match self.deadline {
            Some(deadline) => submit.deadline(deadline),
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
            let reference = plan.task(format!("task-{index}"), call, taken);
            plan.configure(&reference, |settings| {
                let mut settings = settings
                    .priority(task.priority)
                    .retry(retry)
                    .timeout(Duration::from_secs(3));
                if task.irreversible {
                    settings = settings.effect(EffectClass::Irreversible);
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
        (plan, refs)
    }
}
