//! Limits of tenants, alone and together with those of capabilities, and 10,000 of them.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::resilience::{Randomness, SplitMix};
use coditect_core::{Dispatch, Error, Limit, LimitOn};
use tokio::time::sleep;

use super::stage::{Shared, within};
use super::{Census, WORK, shares, work};

const OTHER: Call<u64, u64> = Call::new("other");

#[tokio::test(start_paused = true)]
async fn each_tenant_has_its_limit_and_those_with_one_of_their_own_have_that() -> Result<(), Error>
{
    let shared = Shared::new().with_partitions(8);
    let census = Census::default();
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let node = shared.runtime().limit(Limit::each_tenant(2));
        let node = node.limit(Limit::tenant("big", 7));
        nodes.push(node.agent(work("work", &census)).start().await?);
    }
    let mut runs = Vec::new();
    for x in 0..200 {
        for tenant in ["small", "other", "big"] {
            let node = &nodes[x as usize % 2];
            runs.push((x, node.submit(&WORK, x).tenant(tenant).await?));
        }
    }
    for (x, run) in &runs {
        assert_eq!(within(run.result()).await?, *x);
    }
    let most = ["small", "other", "big"].map(|tenant| census.most(tenant));
    assert_eq!(most, [2, 2, 7]);
    let told: Vec<_> = nodes[0]
        .limits()
        .await?
        .into_iter()
        .map(|one| (one.on, one.max))
        .collect();
    assert!(told.contains(&(LimitOn::EachTenant, 2)));
    assert!(told.contains(&(LimitOn::Tenant("big".to_owned()), 7)));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn who_is_under_two_limits_waits_for_both_and_nobody_for_ever() -> Result<(), Error> {
    for seed in 0..24 {
        let random = SplitMix::from_seed(seed);
        let draw = |below: u32| (random.next_unit() * f64::from(below)) as u32;
        let shared = Shared::new().with_partitions(6);
        let census = Census::default();
        let dispatch = [Dispatch::Bus, Dispatch::LocalFirst][draw(2) as usize];
        let (of_work, of_tenant) = (1 + draw(3), 1 + draw(3));
        let mut nodes = Vec::new();
        for _ in 0..2 {
            let node = shared.runtime().dispatch(dispatch);
            let node = node.limit(Limit::capability("work", of_work));
            let node = node.limit(Limit::each_tenant(of_tenant));
            let node = node
                .agent(work("work", &census))
                .agent(work("other", &census));
            nodes.push(node.start().await?);
        }
        let mut runs = Vec::new();
        let calls = [WORK, OTHER];
        for x in 0..120 {
            let call = &calls[draw(2) as usize];
            let tenant = ["a", "b", "c"][draw(3) as usize];
            let node = &nodes[draw(2) as usize];
            runs.push(node.submit(call, x).tenant(tenant).await?);
        }
        for run in &runs {
            within(run.result()).await?;
        }
        assert!(census.most("work") <= of_work as usize, "seed {seed}");
        for tenant in ["a", "b", "c"] {
            assert!(census.most(tenant) <= of_tenant as usize, "seed {seed}");
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn of_ten_thousand_tenants_nothing_is_left_behind() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(2);
    let census = Census::default();
    let node = shared.runtime().dispatch(Dispatch::LocalOnly);
    let node = node.limit(Limit::each_tenant(1));
    let node = node.agent(work("work", &census)).start().await?;
    let mut runs = Vec::new();
    for tenant in 0..10_000 {
        runs.push(
            node.submit(&WORK, tenant)
                .tenant(format!("t{tenant}"))
                .await?,
        );
    }
    for run in &runs {
        within(run.result()).await?;
    }
    let idle = async {
        while !shares(shared.store()).await.is_empty() {
            sleep(Duration::from_secs(1)).await;
        }
    };
    within(idle).await;
    assert_eq!(
        node.limits().await?.len(),
        1,
        "what is not used is not listed"
    );
    Ok(())
}
