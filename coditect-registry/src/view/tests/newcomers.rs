//! Whoever is new comes up to its share slowly, by every selector.

use super::*;
use crate::{PeakEwma, PowerOfTwoChoices, Reason, Selector, Verdict};

const WINDOW: Duration = Duration::from_secs(32);

async fn following_slowly(agents: usize) -> (Arc<MemoryRegistry>, View) {
    let registry = Arc::new(MemoryRegistry::new());
    for i in 0..agents {
        let known = record(&format!("known-{i}"), &["1.0.0"]);
        registry.register(known, 100 * TTL).await.unwrap();
    }
    let view = View::builder()
        .with_slow_start(SlowStart::over(WINDOW))
        .follow(Arc::clone(&registry) as _)
        .await
        .unwrap();
    (registry, view)
}

/// How many of 1,000 picks fall to the newcomer, while about six tasks are in flight at each.
fn share(view: &View, selector: &dyn Selector) -> usize {
    let mut running = std::collections::VecDeque::new();
    let mut picks = 0;
    for i in 0..1000u64 {
        let random = uniform(i);
        let picked = view.pick(&work("*"), selector, random).unwrap();
        picks += usize::from(picked.instance().agent.as_str() == "new");
        running.push_back(picked);
        if running.len() > 30 {
            running.pop_front();
        }
    }
    picks
}

/// Numbers that look random (SplitMix64).
fn uniform(i: u64) -> u64 {
    let mixed = (i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_gets_little_at_first_and_its_share_in_the_end() {
    let (registry, view) = following_slowly(4).await;
    let selectors: [&dyn Selector; 5] = [
        &RoundRobin,
        &LeastConnections,
        &PowerOfTwoChoices,
        &Weighted,
        &PeakEwma,
    ];
    for selector in selectors {
        let registration = registry
            .register(record("new", &["1.0.0"]), 100 * TTL)
            .await
            .unwrap();
        settle(&view, &registry).await;
        let mut shares = vec![share(&view, selector)];
        for _ in 0..2 {
            tokio::time::sleep(WINDOW / 2 + WINDOW / 64).await;
            shares.push(share(&view, selector));
        }
        assert!(shares[0] < 80, "{selector:?} {shares:?}");
        assert!(
            (shares[0]..190).contains(&shares[1]),
            "{selector:?} {shares:?}"
        );
        assert!((160..=240).contains(&shares[2]), "{selector:?} {shares:?}");
        registry.deregister(&registration).await.unwrap();
        settle(&view, &registry).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_from_eviction_starts_slowly_and_who_was_there_first_does_not() {
    let (registry, view) = following_slowly(4).await;
    let of_first = |view: &View| {
        let picks = (0..1000).filter_map(|i| name(view.pick(&work("*"), &Weighted, uniform(i))));
        picks.filter(|agent| agent == "known-0").count()
    };
    assert!((200..=300).contains(&of_first(&view)));
    let records = view.records();
    let first = records
        .iter()
        .find(|record| record.agent().as_str() == "known-0");
    let instance = &first.unwrap().instance;
    let reason = Reason::new("silent", std::time::SystemTime::UNIX_EPOCH);
    let verdict = Verdict::evicted(reason);
    registry.judge(instance, Some(verdict)).await.unwrap();
    settle(&view, &registry).await;
    assert_eq!(of_first(&view), 0);
    registry.judge(instance, None).await.unwrap();
    settle(&view, &registry).await;
    assert!((1..80).contains(&of_first(&view)));
    tokio::time::sleep(WINDOW + WINDOW / 16).await;
    assert!((200..=300).contains(&of_first(&view)));
}

#[tokio::test(start_paused = true)]
async fn slots_count_as_capacity_and_take_effect_with_the_report() {
    let (registry, view) = following().await;
    let mut registrations = Vec::new();
    for agent in ["small", "large"] {
        let record = record(agent, &["1.0.0"]).with_load(Load::idle(2));
        registrations.push(registry.register(record, TTL).await.unwrap());
    }
    let small = |view: &View| {
        let picks = (0..1000).filter_map(|i| name(view.pick(&work("*"), &Weighted, uniform(i))));
        picks.filter(|agent| agent == "small").count()
    };
    settle(&view, &registry).await;
    assert!((450..550).contains(&small(&view)));
    registry
        .renew(&registrations[1], Load::idle(18), Health::Ready)
        .await
        .unwrap();
    settle(&view, &registry).await;
    assert!((70..130).contains(&small(&view)));
    // And the tasks in flight are in proportion to them.
    let held: Vec<_> = (0..20)
        .filter_map(|i| view.pick(&work("*"), &LeastConnections, uniform(i)))
        .collect();
    let at_small = held
        .iter()
        .filter(|picked| picked.instance().agent.as_str() == "small");
    assert_eq!(at_small.count(), 2);
}
