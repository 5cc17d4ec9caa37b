//! An approval that a run waits for, before one of its tasks may begin.

use std::sync::Arc;
use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::{PlanBuilder, RunId};
use coditect_harness::Random;
use tokio::time::sleep;

use crate::meddle::ask;
use crate::node::Cluster;
use crate::workload::{millis, one_in};
use crate::world::NOBODY;

/// The task that asks.
pub(crate) const GATE: &str = "gate";

/// What is asked, and what it comes to when nobody has decided in time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gate {
    /// The task that waits for it.
    pub(crate) before: u32,
    pub(crate) within: Option<Duration>,
    pub(crate) or: Option<bool>,
}

impl Gate {
    pub(crate) fn drawn(random: &mut Random, tasks: u64) -> Self {
        Self {
            before: random.below(tasks) as u32,
            within: one_in(random, 2).then(|| millis(random, 3_000)),
            or: one_in(random, 2).then(|| one_in(random, 2)),
        }
    }

    /// Adds the task that asks, as the last one.
    pub(crate) fn add(self, plan: &mut PlanBuilder, refs: &[TaskRef<u64>]) {
        let mut approval = Approval::new("may it go on?");
        if let Some(limit) = self.within {
            approval = approval.within(limit);
        }
        approval = match self.or {
            Some(true) => approval.or_approve(),
            Some(false) => approval.or_reject(),
            None => approval,
        };
        let gate = plan.approval(GATE, approval);
        plan.after(&refs[self.before as usize], &gate);
    }
}

/// Decides about what waits for it, as people would who look now and then, and do not always agree.
pub(crate) async fn decide(cluster: Arc<Cluster>) {
    let world = &cluster.world;
    loop {
        sleep(Duration::from_millis(350)).await;
        for run in cluster.witness.undecided() {
            if world.below(3) > 0 {
                continue;
            }
            for _ in 0..=world.below(2) {
                decide_one(&cluster, run, world.below(3) > 0).await;
            }
        }
    }
}

async fn decide_one(cluster: &Cluster, run: RunId, approves: bool) {
    let decision = match approves {
        true => Decision::approve("ann"),
        false => Decision::reject("bob"),
    };
    let send = |runtime: Runtime| {
        let decision = decision.clone();
        async move { runtime.attach::<()>(run).decide(GATE, decision).await }
    };
    if let Some(Ok(())) = ask(cluster, 1, send).await {
        let of = [cluster.scenario.number_of(run), u64::from(approves)];
        cluster.world.note(NOBODY, "somebody decides", of);
    }
}
