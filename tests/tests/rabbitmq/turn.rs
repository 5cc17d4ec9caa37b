//! Whose turn it is: priorities, workers that share a queue, and tasks that come too late.

use std::time::Duration;

use coditect_core::FailureKind;
use coditect_core::prelude::*;

use crate::place::{Gate, WORK, coordinator, failure, numbers, vhost, within, worker};
use crate::process::until;

/// As many tasks of each priority as the window of a capability takes of all.
const EACH: u64 = 80;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn urgent_work_goes_first_and_the_rest_gets_its_share() {
    let Some(vhost) = vhost().await else { return };
    let gate = Gate::closed();
    let worker = worker(&vhost, 1, &gate).await;
    let coordinator = coordinator(&vhost).await;
    let mut runs = Vec::new();
    // Least urgent first, so that nothing but the priority puts the others before it.
    for (index, priority) in [Priority::P2, Priority::P1, Priority::P0]
        .into_iter()
        .enumerate()
    {
        let mut plan = Plan::builder();
        let first = 1_000 * (2 - index as u64);
        let tasks: Vec<_> = (first..first + EACH)
            .map(|number| plan.task(number.to_string(), &WORK, number))
            .collect();
        let plan = plan.aggregate(collect_all(), tasks).unwrap();
        runs.push(
            coordinator
                .submit_plan(plan)
                .priority(priority)
                .await
                .unwrap(),
        );
    }
    gate.has_begun(1).await;
    until("all wait in the queue", async || {
        let stats = coordinator
            .bus()
            .stats(&crate::place::queue(crate::place::QUEUE))
            .await;
        stats
            .unwrap()
            .ready_by_priority
            .iter()
            .all(|ready| *ready + 3 >= EACH as usize)
    })
    .await;
    gate.let_through(1_000);
    for run in runs {
        within(run.result()).await.unwrap();
    }
    // Leaving out what was at hand before the others came.
    let begun: Vec<_> = gate.begun().into_iter().skip(4).take(80).collect();
    let share = |priority: u64| {
        begun
            .iter()
            .filter(|number| *number / 1_000 == priority)
            .count()
    };
    let shares = [share(0), share(1), share(2)];
    // Of any 16 in succession 12, 3 and 1; a turn or two at both ends are another's.
    assert!((57..=63).contains(&shares[0]), "{shares:?}");
    assert!((12..=18).contains(&shares[1]), "{shares:?}");
    assert!((3..=8).contains(&shares[2]), "{shares:?}");
    within(coordinator.shutdown()).await.unwrap();
    within(worker.shutdown()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_of_a_kind_share_the_work() {
    let Some(vhost) = vhost().await else { return };
    let gates = [Gate::open(), Gate::open(), Gate::open()];
    let mut workers = Vec::new();
    for gate in &gates {
        workers.push(worker(&vhost, 4, gate).await);
    }
    let coordinator = coordinator(&vhost).await;
    let run = coordinator.submit_plan(numbers(600)).await.unwrap();
    within(run.result()).await.unwrap();
    for gate in &gates {
        let share = gate.begun().len();
        assert!(share >= 100, "one of three did {share} of 600 tasks");
    }
    within(coordinator.shutdown()).await.unwrap();
    for worker in workers {
        within(worker.shutdown()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_task_waits_for_long_behind_a_busy_worker_while_another_is_free() {
    let Some(vhost) = vhost().await else { return };
    let (stuck, free) = (Gate::closed(), Gate::open());
    let busy = worker(&vhost, 1, &stuck).await;
    let coordinator = coordinator(&vhost).await;
    let first = coordinator.submit(&WORK, 0).await.unwrap();
    stuck.has_begun(1).await;
    // Some of these are at hand for the busy one before there is another.
    let run = coordinator.submit_plan(numbers(10)).await.unwrap();
    let other = worker(&vhost, 1, &free).await;
    assert_eq!(within(run.result()).await.unwrap().len(), 10);
    assert_eq!(stuck.begun().len(), 1);
    stuck.let_through(1);
    within(first.result()).await.unwrap();
    within(coordinator.shutdown()).await.unwrap();
    for worker in [busy, other] {
        within(worker.shutdown()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_waits_beyond_its_deadline_is_not_begun() {
    let Some(vhost) = vhost().await else { return };
    let gate = Gate::closed();
    let worker = worker(&vhost, 1, &gate).await;
    let coordinator = coordinator(&vhost).await;
    let first = coordinator.submit(&WORK, 0).await.unwrap();
    gate.has_begun(1).await;
    let late = coordinator
        .submit_plan(numbers(5))
        .deadline(Duration::from_secs(1));
    let told = failure(within(late.await.unwrap().result()).await);
    assert_eq!(told.kind, FailureKind::DeadlineExceeded);
    gate.let_through(1);
    assert_eq!(within(first.result()).await.unwrap(), 0);
    // What comes after them is done, and they were not.
    gate.let_through(1);
    assert_eq!(within(coordinator.run(&WORK, 9)).await.unwrap(), 9);
    assert_eq!(gate.begun(), [0, 9]);
    within(coordinator.shutdown()).await.unwrap();
    within(worker.shutdown()).await.unwrap();
}
