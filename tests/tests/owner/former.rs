//! Former owners that do not know that they are: what comes for the new owner passes through them unharmed.

use std::sync::atomic::Ordering;
use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::{Error, ErrorKind};

use crate::stage::{Count, Cut, Gate, Renewals, Shared, within};

const ECHO: Call<u64, u64> = Call::new("echo");
const LEASE: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_former_owner_gives_back_outcomes_that_are_not_its_own() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(1);
    let cut = Cut::new(&shared.journal, Renewals::Lie);
    let former = shared.clone().with_journal(cut.clone()).runtime();
    let _former = former.leases(LEASE, LEASE).start().await?;
    let handled = Count::default();
    let counted = handled.clone();
    let echo = agent("echo", move |x: u64| {
        counted.add();
        std::future::ready(Ok::<_, AgentError>(x))
    });
    let _worker = shared.runtime().worker_only().agent(echo).start().await?;
    cut.cut();
    let owner = shared.runtime().leases(LEASE, LEASE).start().await?;

    let mut plan = Plan::builder();
    let tasks: Vec<_> = (0..20)
        .map(|x| plan.task(format!("echo-{x}"), &ECHO, x))
        .collect();
    let plan: Plan<Vec<u64>> = plan.output(tasks)?;
    let run = owner.submit_plan(plan).await?;
    let result = within(run.result()).await?;
    assert_eq!(result, (0..20).collect::<Vec<_>>());
    assert_eq!(handled.get(), 20, "no outcome was lost, no task done anew");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_owner_whose_renewals_are_not_answered_leaves() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(1);
    let cut = Cut::new(&shared.journal, Renewals::Hang);
    let former = shared.clone().with_journal(cut.clone()).runtime();
    let _former = former.leases(LEASE, LEASE).start().await?;
    cut.cut();
    within(cut.released.acquire())
        .await
        .expect("never closed")
        .forget();
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_store_that_takes_nothing_holds_up_no_end_and_loses_nothing() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(1);
    let store = Cut::new(&shared.journal, Renewals::Go);
    let refusing = shared.clone().with_journal(store.clone()).runtime();
    let limit = Duration::from_secs(5);
    let owner = refusing.leases(LEASE, LEASE).drain_limit(limit);
    let owner = owner.start().await?;
    let gate = Gate::new();
    let held = gate.clone();
    let echo = agent("echo", move |x: u64| {
        let gate = held.clone();
        async move {
            gate.pass().await;
            Ok::<_, AgentError>(x)
        }
    });
    let worker = shared.runtime().worker_only().agent(echo).start().await?;
    let run = worker.submit(&ECHO, 7).await?;
    gate.arrived(1).await;
    store.refuses.store(true, Ordering::SeqCst);
    gate.open(2);
    tokio::time::sleep(LEASE).await;
    let ended = tokio::time::timeout(limit * 2, owner.shutdown()).await;
    let ended = ended.expect("it ends though its leases are renewed");
    assert_eq!(
        ended.map_err(|error| error.kind()),
        Err(ErrorKind::DeadlineExceeded)
    );
    let _next = shared.runtime().leases(LEASE, LEASE).start().await?;
    assert_eq!(within(run.result()).await?, 7);
    Ok(())
}
