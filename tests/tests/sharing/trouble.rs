//! Coordinators that sleep, hang or cannot read: the others have their share, and get it back when they can.

use std::sync::Arc;
use std::time::Duration;

use coditect_core::dag::journal::RunJournal;
use coditect_core::prelude::*;
use coditect_core::{Error, TaskState};
use tokio::time::{Instant, sleep, timeout};

use super::even::{coordinator, is_even};
use super::shaky::{Shaky, Trouble};
use crate::stage::{Count, Gate, Shared, Tapped, within};

const LEASE: Duration = Duration::from_secs(2);
const ECHO: Call<u64, u64> = Call::new("echo");
const PARTITIONS: u16 = 8;

/// Waits until so many coordinators share evenly, and says how long that took.
async fn even(journal: &Arc<dyn RunJournal>, coordinators: usize) -> Duration {
    let begun = Instant::now();
    until(journal, |roster| is_even(roster, coordinators)).await;
    begun.elapsed()
}

async fn until(journal: &Arc<dyn RunJournal>, is_so: impl Fn(&coditect_core::Roster) -> bool) {
    let waiting = async {
        loop {
            let roster = journal.roster().await.expect("a roster");
            if is_so(&roster) {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    if timeout(100 * LEASE, waiting).await.is_err() {
        panic!("it never is so: {:#?}", journal.roster().await);
    }
}

/// Two coordinators that share evenly, one of which sees its journal through something else.
async fn two(shared: &Shared) -> Result<(Runtime, Runtime, Arc<Tapped<Shaky>>), Error> {
    let steady = shared.runtime().leases(LEASE, LEASE).start().await?;
    let shaky = Shaky::new(&shared.journal);
    let other = shared.clone().with_journal(shaky.clone());
    let other = other.runtime().leases(LEASE, LEASE).start().await?;
    even(&shared.journal, 2).await;
    Ok((steady, other, shaky))
}

/// As many runs as make sure that each partition has some.
async fn submit(runtime: &Runtime) -> Result<Vec<RunHandle<u64>>, Error> {
    let mut runs = Vec::new();
    for x in 0..64 {
        runs.push(runtime.submit(&ECHO, x).await?);
    }
    Ok(runs)
}

async fn end_of(runs: Vec<RunHandle<u64>>) -> Result<(), Error> {
    for (x, run) in (0..).zip(runs) {
        assert_eq!(within(run.result()).await?, x);
        let report = run.report().await?;
        assert_eq!(report.count(TaskState::Succeeded), 1);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn one_that_slept_is_refused_and_gets_a_share_again() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(PARTITIONS);
    let (gate, calls) = (Gate::new(), Count::default());
    let (held, counted) = (gate.clone(), calls.clone());
    let echo = move |x: u64| {
        let (gate, calls) = (held.clone(), counted.clone());
        async move {
            calls.add();
            gate.pass().await;
            Ok::<_, AgentError>(x)
        }
    };
    let echo = agent("echo", echo).with_concurrency(64);
    let worker = shared.runtime().worker_only().agent(echo).start().await?;
    let (steady, sleeper, shaky) = two(&shared).await?;
    let runs = submit(&worker).await?;
    gate.arrived(64).await;
    shaky.set(Trouble::Paused);
    // The handlers answer, and the sleeper has taken answers in when it falls asleep, which it will try to append.
    gate.open(1_000);
    assert!(
        even(&shared.journal, 1).await <= LEASE * 2,
        "by the end of its leases"
    );
    end_of(runs).await?;
    shaky.set(Trouble::None);
    within(shaky.fenced.acquire()).await.expect("open").forget();
    even(&shared.journal, 2).await;
    end_of(submit(&worker).await?).await?;
    assert_eq!(steady.own_partitions().len(), usize::from(PARTITIONS) / 2);
    assert_eq!(sleeper.own_partitions().len(), usize::from(PARTITIONS) / 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn one_that_can_take_nothing_leaves_all_to_others_until_it_can() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(PARTITIONS);
    let echo = agent("echo", async |x: u64| Ok::<_, AgentError>(x));
    let worker = shared.runtime().worker_only().agent(echo).start().await?;
    let steady = shared.runtime().leases(LEASE, LEASE).start().await?;
    let shaky = Shaky::new(&shared.journal);
    shaky.set(Trouble::Unreadable);
    let other = shared.clone().with_journal(shaky.clone());
    let other = other.runtime().leases(LEASE, LEASE).start().await?;
    for _ in 0..5 {
        // Whenever it tries, what it was given goes back.
        let begun = Instant::now();
        end_of(submit(&worker).await?).await?;
        assert!(begun.elapsed() < 6 * LEASE, "took {:?}", begun.elapsed());
        sleep(LEASE).await;
    }
    even(&shared.journal, 1).await;
    assert!(other.own_partitions().is_empty());
    shaky.set(Trouble::None);
    even(&shared.journal, 2).await;
    end_of(submit(&worker).await?).await?;
    assert_eq!(steady.own_partitions().len(), usize::from(PARTITIONS) / 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_one_that_hangs_does_not_take_is_taken_by_another() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(PARTITIONS);
    let echo = agent("echo", async |x: u64| Ok::<_, AgentError>(x));
    let worker = shared.runtime().worker_only().agent(echo).start().await?;
    let (steady, other, shaky) = two(&shared).await?;
    shaky.set(Trouble::ClaimsHang);
    drop(steady);
    drop(other);
    let _steady = shared.runtime().leases(LEASE, LEASE).start().await?;
    even(&shared.journal, 1).await;
    let hanging = shared.clone().with_journal(shaky.clone());
    let hanging = hanging.runtime().leases(LEASE, LEASE);
    // It never has tried all that is there for it.
    let starting = tokio::spawn(async move { hanging.start().await });
    until(&shared.journal, |roster| roster.members().len() == 2).await;
    for _ in 0..5 {
        let begun = Instant::now();
        end_of(submit(&worker).await?).await?;
        assert!(begun.elapsed() < 4 * LEASE, "took {:?}", begun.elapsed());
        sleep(LEASE).await;
    }
    shaky.set(Trouble::None);
    let hanging = within(starting).await.expect("no panic")?;
    even(&shared.journal, 2).await;
    hanging.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn those_who_try_for_the_same_at_once_share_evenly_without_waiting() -> Result<(), Error> {
    for partitions in [5, 16, 31] {
        let shared = Shared::new().with_partitions(partitions);
        let mut running = Vec::new();
        for _ in 0..4 {
            let slow = Shaky::new(&shared.journal);
            slow.set(Trouble::Slow);
            running.push(
                coordinator(&shared.clone().with_journal(slow))
                    .start()
                    .await?,
            );
        }
        super::even::even(&shared.journal, 4).await;
        for left in (1..4).rev() {
            running.remove(0).shutdown().await?;
            super::even::even(&shared.journal, left).await;
        }
    }
    Ok(())
}
