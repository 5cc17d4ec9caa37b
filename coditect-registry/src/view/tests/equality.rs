//! A view equals its registry after any sequence of changes, with or without gaps.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::{
    Filter, Finding, Instance, PowerOfTwoChoices, Reason, Registration, Standing, Verdict,
};

#[derive(Clone, Debug)]
enum Step {
    Register {
        agent: u8,
        process: u8,
        exclusive: bool,
        versions: Vec<u8>,
        tenant: bool,
    },
    Renew {
        which: prop::sample::Index,
        in_flight: u32,
        health: Health,
    },
    Update {
        which: prop::sample::Index,
        versions: Vec<u8>,
        weight: u32,
    },
    Deregister {
        which: prop::sample::Index,
    },
    Judge {
        which: prop::sample::Index,
        finding: Option<Finding>,
    },
    /// Enough for some leases to end, those renewed lately not among them.
    Pass {
        seconds: u64,
    },
    /// Lets the view catch up; without it the watch's small buffer overflows, which is the gap.
    CatchUp,
    Pick {
        version: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let versions = || {
        prop::collection::btree_set(0..4u8, 0..3)
            .prop_map(|set| set.into_iter().collect::<Vec<_>>())
    };
    let health = prop::sample::select(vec![Health::Ready, Health::Degraded, Health::Draining]);
    let findings = vec![None, Some(Finding::Degraded), Some(Finding::Evicted)];
    let finding = prop::sample::select(findings);
    let which = any::<prop::sample::Index>;
    prop_oneof![
        4 => (0..4u8, 0..3u8, prop::bool::weighted(0.2), versions(), prop::bool::weighted(0.2)).prop_map(
            |(agent, process, exclusive, versions, tenant)| Step::Register { agent, process, exclusive, versions, tenant }
        ),
        4 => (which(), 0..5u32, health).prop_map(|(which, in_flight, health)| Step::Renew { which, in_flight, health }),
        2 => (which(), versions(), 1..5u32).prop_map(|(which, versions, weight)| Step::Update { which, versions, weight }),
        1 => which().prop_map(|which| Step::Deregister { which }),
        2 => (which(), finding).prop_map(|(which, finding)| Step::Judge { which, finding }),
        1 => (1..12u64).prop_map(|seconds| Step::Pass { seconds }),
        2 => Just(Step::CatchUp),
        2 => (0..4u8).prop_map(|version| Step::Pick { version }),
    ]
}

fn made(agent: u8, process: u8, versions: &[u8]) -> AgentRecord {
    let capabilities = versions
        .iter()
        .map(|version| Capability::new("work", format!("{version}.0.0").parse().unwrap()).unwrap());
    let incarnation = Incarnation::from_uuid(uuid::Uuid::from_u128(u128::from(process)));
    AgentRecord::new(format!("a{agent}").parse().unwrap(), incarnation)
        .with_capabilities(capabilities)
}

async fn take(
    registry: &MemoryRegistry,
    view: &View,
    registrations: &mut Vec<Registration>,
    step: Step,
) {
    let chosen = |which: prop::sample::Index| {
        (!registrations.is_empty()).then(|| which.get(registrations).clone())
    };
    match step {
        Step::Register {
            agent,
            process,
            exclusive,
            versions,
            tenant,
        } => {
            let mut record = made(agent, process, &versions).with_exclusive(exclusive);
            if tenant {
                record = record.with_tenant("acme".parse().unwrap());
            }
            registrations.extend(registry.register(record, TTL).await.ok());
        }
        Step::Renew {
            which,
            in_flight,
            health,
        } => {
            if let Some(registration) = chosen(which) {
                let _ = registry
                    .renew(&registration, Load::new(in_flight, 4), health)
                    .await;
            }
        }
        Step::Update {
            which,
            versions,
            weight,
        } => {
            if let Some(registration) = chosen(which) {
                let mut record = made(0, 0, &versions).with_weight(Weight::new(weight).unwrap());
                record.instance = registration.instance.clone();
                let _ = registry.update(&registration, record).await;
            }
        }
        Step::Deregister { which } => {
            if let Some(registration) = chosen(which) {
                registry.deregister(&registration).await.unwrap();
            }
        }
        Step::Judge { which, finding } => {
            if let Some(registration) = chosen(which) {
                let reason = Reason::new("found", std::time::SystemTime::UNIX_EPOCH);
                let verdict = finding.map(|finding| Verdict { finding, reason });
                let _ = registry.judge(&registration.instance, verdict).await;
            }
        }
        Step::Pass { seconds } => tokio::time::advance(Duration::from_secs(seconds)).await,
        Step::CatchUp => settle(view, registry).await,
        Step::Pick { version } => {
            // Asked for early and late, so that some candidates are sorted out at once and others as they come.
            drop(view.pick(&work(&format!("^{version}")), &LeastConnections, 0));
        }
    }
}

async fn check(registry: &MemoryRegistry, view: &View) {
    let truth = registry.list(&Filter::all()).await.unwrap();
    settle(view, registry).await;
    let by_instance = |records: Vec<Arc<AgentRecord>>| -> HashMap<Instance, Arc<AgentRecord>> {
        records
            .into_iter()
            .map(|record| (record.instance.clone(), record))
            .collect()
    };
    assert_eq!(by_instance(view.records()), by_instance(truth.clone()));
    let acme = "acme".parse().unwrap();
    for version in 0..4 {
        let requirement = work(&format!("^{version}"));
        for tenant in [None, Some(&acme)] {
            let may = |record: &&Arc<AgentRecord>, health| {
                record.standing() == health
                    && record.offers(&requirement)
                    && record.tenant().is_none_or(|t| Some(t) == tenant)
            };
            let of_own = |record: &&Arc<AgentRecord>| record.tenant() == tenant;
            // In the order of preference: own before shared, and within each ready before degraded.
            let preferred = |own: bool, health| {
                truth
                    .iter()
                    .filter(|r| of_own(r) == own && may(r, health))
                    .map(|r| &r.instance)
                    .collect::<Vec<_>>()
            };
            let tiers = [
                (true, Standing::Ready),
                (true, Standing::Degraded),
                (false, Standing::Ready),
                (false, Standing::Degraded),
            ];
            let mut expected = tiers
                .map(|(own, health)| preferred(own, health))
                .into_iter()
                .find(|t| !t.is_empty())
                .unwrap_or_default();
            expected.sort_unstable();

            let mut chosen = Vec::new();
            for _ in 0..expected.len() {
                let picked = match tenant {
                    Some(tenant) => view.for_tenant(tenant).pick(&requirement, &RoundRobin, 0),
                    None => view.pick(&requirement, &RoundRobin, 0),
                };
                chosen.push(picked.unwrap().instance().clone());
            }
            chosen.sort_unstable();
            assert_eq!(chosen.iter().collect::<Vec<_>>(), expected);
            let offers = tenant.map_or_else(
                || view.offers(&requirement),
                |t| view.for_tenant(t).offers(&requirement),
            );
            assert_eq!(offers, !expected.is_empty());
            if expected.is_empty() {
                assert!(view.pick(&requirement, &PowerOfTwoChoices, 1).is_none());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_view_equals_its_registry_after_anything(
        steps in prop::collection::vec(step(), 1..60),
        buffer in prop::sample::select(vec![1usize, 2, 8, 1024]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let registry = Arc::new(MemoryRegistry::builder().with_watch_buffer(buffer).build());
            let view = View::builder().with_grace(Duration::ZERO).follow(Arc::clone(&registry) as _).await.unwrap();
            let mut registrations = Vec::new();
            for step in steps {
                take(&registry, &view, &mut registrations, step).await;
            }
            check(&registry, &view).await;
            // Time empties both.
            tokio::time::advance(TTL).await;
            check(&registry, &view).await;
            assert!(view.is_empty());
            view.close().await;
        });
    }
}
