//! What a balancer promises: policies per capability, counts that are right, ejection with limits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::{
    AgentRecord, Capability, Ejection, Health, Incarnation, Instance, Load, MemoryRegistry,
    Outcome, Registration, Registry, SlowStart,
};

mod model;
mod slow_agent;

const TTL: Duration = Duration::from_secs(3600);
const MS: Duration = Duration::from_millis(1);

fn record(agent: &str) -> AgentRecord {
    let capabilities =
        ["work", "rest"].map(|name| Capability::new(name, semver::Version::new(1, 0, 0)).unwrap());
    AgentRecord::new(agent.parse().unwrap(), Incarnation::fresh()).with_capabilities(capabilities)
}

fn work() -> Requirement {
    "work@^1".parse().unwrap()
}

/// A balancer over a view of `agents` agents.
async fn balancing(agents: usize) -> (Arc<MemoryRegistry>, Balancer, Vec<Registration>) {
    let registry = Arc::new(MemoryRegistry::new());
    let mut registrations = Vec::new();
    for i in 0..agents {
        let record = record(&format!("a{i}")).with_load(Load::idle(4));
        registrations.push(registry.register(record, TTL).await.unwrap());
    }
    let view = View::builder()
        .with_slow_start(SlowStart::over(Duration::from_secs(10)))
        .follow(Arc::clone(&registry) as _)
        .await
        .unwrap();
    (registry, Balancer::new(view), registrations)
}

async fn settle(balancer: &Balancer, registry: &MemoryRegistry) {
    while balancer.view().sequence() < registry.sequence() {
        tokio::task::yield_now().await;
    }
}

/// Numbers that look random (the first step of SplitMix64).
fn spread(i: u64) -> u64 {
    let mixed = i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93)
}

/// How often each is chosen in `picks` picks whose outcomes are not told.
fn tally(balancer: &Balancer, requirement: &Requirement, picks: u64) -> BTreeMap<String, u64> {
    let mut tally = BTreeMap::new();
    for i in 0..picks {
        let choice = balancer.pick(requirement, Instant::now(), spread(i));
        let agent = choice.unwrap().instance().agent.to_string();
        *tally.entry(agent).or_default() += 1;
    }
    tally
}

/// Gives work until `agent` is chosen, and lets it end so.
fn outcome_at(balancer: &Balancer, agent: &Instance, outcome: Outcome) {
    for i in 0..10_000 {
        let choice = balancer
            .pick(&work(), Instant::now(), spread(i))
            .expect("somebody offers it");
        if choice.instance() == agent {
            return choice.done(outcome, MS);
        }
    }
    panic!("{agent} is never chosen");
}

#[tokio::test(start_paused = true)]
async fn each_capability_has_its_own_policy() {
    let (_registry, balancer, _) = balancing(4).await;
    let balancer = balancer
        .with_usual(Policy::new(Strategy::Weighted))
        .with_policy("work".parse().unwrap(), Policy::new(Strategy::RoundRobin));
    let in_turn = tally(&balancer, &work(), 400);
    assert!(in_turn.values().all(|&picks| picks == 100), "{in_turn:?}");
    let drawn = tally(&balancer, &"rest".parse().unwrap(), 400);
    assert!(drawn.values().any(|&picks| picks != 100), "{drawn:?}");
    assert!(
        drawn.values().all(|picks| (70..130).contains(picks)),
        "{drawn:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_task_counts_until_its_choice_is_done_dropped_or_lost_in_a_panic() {
    let (_registry, balancer, _) = balancing(1).await;
    let pick = || balancer.pick(&work(), Instant::now(), 7).unwrap();
    let (first, second, third) = (pick(), pick(), pick());
    let candidate = first.candidate().clone();
    assert_eq!(candidate.own_in_flight(), 3);
    first.done(Outcome::Succeeded, MS);
    drop(second);
    assert_eq!(candidate.own_in_flight(), 1);
    let handler = tokio::spawn(async move {
        let _choice = third;
        panic!("the handler fails");
    });
    assert!(handler.await.unwrap_err().is_panic());
    assert_eq!(candidate.own_in_flight(), 0);
    assert_eq!(
        candidate.success_rate(),
        1.0,
        "a panic of the caller says nothing"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_in_flight_at_a_vanished_instance_counts_nowhere() {
    let (registry, balancer, registrations) = balancing(2).await;
    let balancer = balancer.with_usual(Policy::new(Strategy::LeastConnections));
    let mut held: Vec<_> = (0..10)
        .map(|i| balancer.pick(&work(), Instant::now(), i).unwrap())
        .collect();
    registry.deregister(&registrations[0]).await.unwrap();
    settle(&balancer, &registry).await;
    // The same agent starts again: another incarnation, with nothing in flight.
    let again = registry
        .register(record("a0").with_load(Load::idle(4)), TTL)
        .await
        .unwrap();
    settle(&balancer, &registry).await;
    let restarted = balancer.view().candidate(&again.instance).unwrap();
    assert_eq!(restarted.load(), Load::idle(4));
    // Once its slow start is over, it is the least loaded.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let choice = balancer.pick(&work(), Instant::now(), 0).unwrap();
    assert_eq!(choice.instance(), &again.instance);
    // The guards of the vanished one do not count against its successor.
    held.retain(|choice| choice.instance() == &registrations[1].instance);
    assert_eq!((restarted.own_in_flight(), held.len()), (1, 5));
    let other = balancer.view().candidate(&registrations[1].instance);
    assert_eq!(other.unwrap().own_in_flight(), 5);
}

#[tokio::test(start_paused = true)]
async fn whoever_fails_in_a_row_is_set_aside_comes_back_slowly_and_longer_away_the_next_time() {
    let (_registry, balancer, registrations) = balancing(4).await;
    let ejection = Ejection::default()
        .with_failures_in_row(3)
        .with_time(Duration::from_secs(10), Duration::from_secs(60));
    let balancer =
        balancer.with_usual(Policy::new(Strategy::RoundRobin).with_ejection(Some(ejection)));
    let bad = &registrations[2].instance;
    let mut away = Vec::new();
    for _ in 0..3 {
        (0..3).for_each(|_| outcome_at(&balancer, bad, Outcome::Failed));
        let began = Instant::now();
        assert!(!tally(&balancer, &work(), 100).contains_key("a2"));
        // It goes on with what it does well.
        assert!(tally(&balancer, &"rest".parse().unwrap(), 100).contains_key("a2"));
        while !tally(&balancer, &work(), 4).contains_key("a2") {
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        away.push(began.elapsed().as_secs());
    }
    assert!((10..14).contains(&away[0]), "{away:?}");
    assert!(
        (20..26).contains(&away[1]) && (40..52).contains(&away[2]),
        "{away:?}"
    );

    // While its slow start lasts it gets less than its share, and then its share again.
    let share = tally(&balancer, &work(), 400)["a2"];
    assert!((1..50).contains(&share), "{share}");
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(tally(&balancer, &work(), 400)["a2"], 100);
}

#[tokio::test(start_paused = true)]
async fn never_are_all_ejected_and_the_ejected_serve_if_nobody_else_is_left() {
    let (registry, balancer, registrations) = balancing(5).await;
    let ejection = Ejection::default()
        .with_failures_in_row(1)
        .with_max_share(0.6);
    let policy = Policy::new(Strategy::LeastConnections).with_ejection(Some(ejection));
    let balancer = balancer.with_usual(policy);
    for i in 0..100 {
        let choice = balancer.pick(&work(), Instant::now(), spread(i)).unwrap();
        choice.done(Outcome::Failed, MS);
    }
    let serving = tally(&balancer, &work(), 100);
    assert_eq!(serving.len(), 2, "three of five are ejected: {serving:?}");
    for registration in &registrations {
        if serving.contains_key(registration.agent().as_str()) {
            let idle = Load::idle(4);
            registry
                .renew(registration, idle, Health::Draining)
                .await
                .unwrap();
        }
    }
    settle(&balancer, &registry).await;
    let last = tally(&balancer, &work(), 100);
    assert_eq!(last.len(), 3);
    assert!(last.keys().all(|agent| !serving.contains_key(agent)));
}

#[tokio::test(start_paused = true)]
async fn when_everybody_fails_alike_the_success_rule_ejects_nobody() {
    let (_registry, balancer, _) = balancing(6).await;
    let by_rate = Ejection::default()
        .with_failures_in_row(u32::MAX)
        .with_max_share(1.0);
    let policy = || Policy::new(Strategy::RoundRobin).with_ejection(Some(by_rate));
    let all_bad = balancer.clone().with_usual(policy());
    for i in 0..600 {
        let choice = all_bad.pick(&work(), Instant::now(), spread(i)).unwrap();
        let outcome = if i % 5 == 0 {
            Outcome::Succeeded
        } else {
            Outcome::Failed
        };
        choice.done(outcome, MS);
    }
    assert_eq!(tally(&all_bad, &work(), 60).len(), 6);
    // One of them fails, the others no longer do.
    let one_bad = balancer.with_usual(policy());
    for i in 0..2000 {
        let choice = one_bad.pick(&work(), Instant::now(), spread(i)).unwrap();
        let bad = choice.instance().agent.as_str() == "a3";
        choice.done(
            if bad {
                Outcome::Failed
            } else {
                Outcome::Succeeded
            },
            MS,
        );
    }
    let left = tally(&one_bad, &work(), 60);
    assert!(left.len() == 5 && !left.contains_key("a3"), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn peak_ewma_leaves_slow_and_failing_agents_alone_and_tries_them_again() {
    let (_registry, balancer, _) = balancing(4).await;
    let policy = Policy::new(Strategy::PeakEwma).with_ejection(None);
    let balancer = balancer.with_usual(policy);
    // Eight tasks are in flight at any time, as among agents that have two each.
    let round = |slow: &dyn Fn(&str) -> (Outcome, Duration), picks: u64| {
        let mut tally = BTreeMap::<String, u64>::new();
        let mut running = std::collections::VecDeque::new();
        for i in 0..picks {
            let choice = balancer.pick(&work(), Instant::now(), spread(i)).unwrap();
            let agent = choice.instance().agent.to_string();
            running.push_back((choice, slow(&agent)));
            *tally.entry(agent).or_default() += 1;
            if running.len() > 8
                && let Some((choice, (outcome, latency))) = running.pop_front()
            {
                choice.done(outcome, latency);
            }
        }
        tally
    };
    let one_slow_one_bad = |agent: &str| match agent {
        "a0" => (Outcome::Succeeded, 100 * MS),
        "a1" => (Outcome::Failed, MS),
        _ => (Outcome::Succeeded, 10 * MS),
    };
    round(&one_slow_one_bad, 100);
    let steady = round(&one_slow_one_bad, 400);
    let picks = |tally: &BTreeMap<String, u64>, agent| tally.get(agent).copied().unwrap_or(0);
    // The slow one is better only than the one that fails.
    assert!(
        picks(&steady, "a1") < 5 && picks(&steady, "a0") < 100,
        "{steady:?}"
    );
    // A while later they have recovered; they are tried, and found to be well.
    tokio::time::advance(Duration::from_secs(60)).await;
    let well = |_: &str| (Outcome::Succeeded, 10 * MS);
    round(&well, 100);
    tokio::time::advance(Duration::from_secs(60)).await;
    let again = round(&well, 400);
    assert!(
        again.values().all(|&picks| picks > 40) && again.len() == 4,
        "{again:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_an_instance_is_told_of_its_loss() {
    let (registry, balancer, registrations) = balancing(1).await;
    let choice = balancer.pick(&work(), Instant::now(), 0).unwrap();
    let (evicted, instance) = (choice.lost(), choice.instance().clone());
    let reason = crate::Reason::new("no answer", std::time::SystemTime::UNIX_EPOCH);
    let verdict = crate::Verdict::evicted(reason);
    registry.judge(&instance, Some(verdict)).await.unwrap();
    evicted.await;
    assert!(balancer.pick(&work(), Instant::now(), 0).is_none());
    choice.lost().await;

    registry.judge(&instance, None).await.unwrap();
    settle(&balancer, &registry).await;
    let choice = balancer.pick(&work(), Instant::now(), 0).unwrap();
    let gone = choice.lost();
    registry.deregister(&registrations[0]).await.unwrap();
    gone.await;
}
