//! Ejection through the whole of balancer, view and registry, held against a naive model.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::{ProptestConfig, prop, prop_oneof, proptest};
use proptest::strategy::Strategy as _;

use super::*;
use crate::{Candidates, Selector};

const AGENTS: usize = 5;
const IN_ROW: u32 = 2;
const SHORTEST: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
enum Step {
    Task { agent: usize, succeeds: bool },
    Pass { seconds: u64 },
    Health { agent: usize, health: Health },
}

fn step() -> impl proptest::strategy::Strategy<Value = Step> {
    let health = prop::sample::select(vec![Health::Ready, Health::Degraded, Health::Draining]);
    prop_oneof![
        8 => (0..AGENTS, prop::bool::weighted(0.3)).prop_map(|(agent, succeeds)| Step::Task { agent, succeeds }),
        2 => (0..15u64).prop_map(|seconds| Step::Pass { seconds }),
        2 => (0..AGENTS, health).prop_map(|(agent, health)| Step::Health { agent, health }),
    ]
}

/// Chooses the agent that it is told, if it is among the candidates.
#[derive(Clone, Debug, Default)]
struct Told(Arc<AtomicUsize>);

impl Selector for Told {
    fn select(&self, candidates: &Candidates, _now: Instant, _random: u64) -> Option<usize> {
        let told = format!("a{}", self.0.load(Ordering::Relaxed));
        candidates
            .iter()
            .position(|candidate| candidate.instance().agent.as_str() == told)
    }
}

/// What is known of one agent, the naive way.
#[derive(Clone, Copy, Debug)]
struct Known {
    health: Health,
    failures_in_row: u32,
    ejected_until: Option<Instant>,
}

/// Who may be chosen now: the first tier in which there is anybody.
fn choosable(known: &[Known]) -> Vec<usize> {
    let among = |health, ejected| -> Vec<usize> {
        let fits =
            |known: &Known| known.health == health && known.ejected_until.is_some() == ejected;
        (0..AGENTS).filter(|&agent| fits(&known[agent])).collect()
    };
    let mut last = among(Health::Ready, true);
    last.extend(among(Health::Degraded, true));
    last.sort_unstable();
    let tiers = [
        among(Health::Ready, false),
        among(Health::Degraded, false),
        last,
    ];
    tiers
        .into_iter()
        .find(|tier| !tier.is_empty())
        .unwrap_or_default()
}

async fn agree(steps: Vec<Step>, max_share: f64) {
    let (registry, balancer, registrations) = balancing(AGENTS).await;
    let told = Told::default();
    let ejection = Ejection::default()
        .with_failures_in_row(IN_ROW)
        .with_success_ratio(0.0, 1)
        .with_time(SHORTEST, SHORTEST)
        .with_max_share(max_share);
    let policy = Policy::new(told.clone()).with_ejection(Some(ejection));
    let balancer = balancer.with_usual(policy);
    let pick = |agent| {
        told.0.store(agent, Ordering::Relaxed);
        balancer.pick(&work(), Instant::now(), 0)
    };
    let fresh = Known {
        health: Health::Ready,
        failures_in_row: 0,
        ejected_until: None,
    };
    let mut known = [fresh; AGENTS];
    for step in steps {
        match step {
            Step::Pass { seconds } => tokio::time::advance(Duration::from_secs(seconds)).await,
            Step::Health { agent, health } => {
                known[agent].health = health;
                let registration = &registrations[agent];
                registry
                    .renew(registration, Load::idle(4), health)
                    .await
                    .unwrap();
                settle(&balancer, &registry).await;
            }
            Step::Task { agent, succeeds } => {
                let choice = pick(agent);
                let ejected = known
                    .iter()
                    .filter(|known| known.ejected_until.is_some())
                    .count();
                let Some(choice) = choice else { continue };
                let candidate = choice.candidate().clone();
                let outcome = if succeeds {
                    Outcome::Succeeded
                } else {
                    Outcome::Failed
                };
                choice.done(outcome, Duration::ZERO);
                let agent = &mut known[agent];
                agent.failures_in_row = if succeeds {
                    0
                } else {
                    agent.failures_in_row + 1
                };
                let limit = ((max_share * AGENTS as f64) as usize).min(AGENTS - 1);
                let stands_out = !succeeds && agent.failures_in_row >= IN_ROW;
                if stands_out && agent.ejected_until.is_none() && ejected < limit {
                    let until = candidate.ejected_until().expect("it stands out");
                    let time = until - Instant::now();
                    assert!((SHORTEST..=SHORTEST * 5 / 4).contains(&time), "{time:?}");
                    agent.ejected_until = Some(until);
                }
                assert_eq!(candidate.ejected_until(), agent.ejected_until);
            }
        }
        for agent in &mut known {
            if agent
                .ejected_until
                .is_some_and(|until| until <= Instant::now())
            {
                (agent.ejected_until, agent.failures_in_row) = (None, 0);
            }
        }
        let chosen: Vec<usize> = (0..AGENTS).filter(|&agent| pick(agent).is_some()).collect();
        assert_eq!(chosen, choosable(&known), "{known:?}");
        assert_eq!(chosen.is_empty(), !balancer.view().offers(&work()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn who_may_be_chosen_is_who_the_naive_model_says(
        steps in prop::collection::vec(step(), 1..80),
        max_share in 0.0..1.2f64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(agree(steps, max_share));
    }
}
