//! What a view knows, whom it chooses, and that it stays true whatever happens to its watch.

mod equality;
mod forgetting;
mod interruption;
mod newcomers;
mod stale;

use std::time::Duration;

use super::*;
use crate::{
    AgentRecord, Capability, Health, Incarnation, LeastConnections, Load, MemoryRegistry,
    RoundRobin, Weight, Weighted,
};

const TTL: Duration = Duration::from_secs(10);

fn record(agent: &str, versions: &[&str]) -> AgentRecord {
    let capabilities = versions
        .iter()
        .map(|version| Capability::new("work", version.parse().unwrap()).unwrap());
    AgentRecord::new(agent.parse().unwrap(), Incarnation::fresh()).with_capabilities(capabilities)
}

fn work(versions: &str) -> Requirement {
    format!("work@{versions}").parse().unwrap()
}

/// Waits until the view knows every change of its registry.
async fn settle(view: &View, registry: &MemoryRegistry) {
    while view.sequence() < registry.sequence() || !view.is_current() {
        tokio::task::yield_now().await;
    }
}

fn name(picked: Option<Picked>) -> Option<String> {
    picked.map(|picked| picked.record().agent().to_string())
}

async fn following() -> (Arc<MemoryRegistry>, View) {
    let registry = Arc::new(MemoryRegistry::new());
    let view = View::follow(Arc::clone(&registry) as _).await.unwrap();
    (registry, view)
}

#[tokio::test(start_paused = true)]
async fn agents_come_and_go_by_the_watch() {
    let (registry, view) = following().await;
    assert!(view.is_empty() && !view.offers(&work("*")));
    assert_eq!(name(view.pick(&work("*"), &RoundRobin, 0)), None);

    let changed = view.changed();
    let registration = registry
        .register(record("a", &["1.0.0"]), TTL)
        .await
        .unwrap();
    changed.await;
    assert!(view.offers(&work("*")) && view.offers(&work("^1")) && !view.offers(&work("^2")));
    assert_eq!(
        name(view.pick(&work("^1"), &RoundRobin, 0)).as_deref(),
        Some("a")
    );
    assert!(view.candidate(&registration.instance).is_some());

    // Nobody renews: the lease ends by itself.
    view.changed().await;
    assert!(view.is_empty() && !view.offers(&work("^1")));
    assert_eq!(name(view.pick(&work("^1"), &RoundRobin, 0)), None);
}

#[tokio::test(start_paused = true)]
async fn versions_are_told_apart() {
    let (registry, view) = following().await;
    for (agent, versions) in [
        ("one", &["1.0.0"][..]),
        ("two", &["2.1.0"]),
        ("both", &["1.5.0", "2.0.0"]),
    ] {
        registry
            .register(record(agent, versions), TTL)
            .await
            .unwrap();
    }
    settle(&view, &registry).await;
    let chosen = |versions: &str| {
        let picks =
            (0..10).filter_map(|random| name(view.pick(&work(versions), &RoundRobin, random)));
        picks
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(chosen("*"), "both one two");
    assert_eq!(chosen("^1"), "both one");
    assert_eq!(chosen("^2.1"), "two");
    assert_eq!(chosen("^3"), "");
}

#[tokio::test(start_paused = true)]
async fn the_ready_come_first_then_the_degraded_and_never_the_draining() {
    let (registry, view) = following().await;
    let ready = registry
        .register(record("ready", &["1.0.0"]), TTL)
        .await
        .unwrap();
    registry
        .register(
            record("weak", &["1.0.0"]).with_health(Health::Degraded),
            TTL,
        )
        .await
        .unwrap();
    registry
        .register(
            record("leaving", &["1.0.0"]).with_health(Health::Draining),
            TTL,
        )
        .await
        .unwrap();
    settle(&view, &registry).await;
    let chosen = || {
        (0..6)
            .map(|i| name(view.pick(&work("*"), &RoundRobin, i)))
            .collect::<Vec<_>>()
    };
    assert!(
        chosen()
            .iter()
            .all(|chosen| chosen.as_deref() == Some("ready"))
    );

    registry
        .renew(&ready, Load::default(), Health::Draining)
        .await
        .unwrap();
    settle(&view, &registry).await;
    assert!(
        chosen()
            .iter()
            .all(|chosen| chosen.as_deref() == Some("weak"))
    );

    let weak = view
        .records()
        .into_iter()
        .find(|record| record.health == Health::Degraded)
        .unwrap();
    registry
        .register(AgentRecord::clone(&weak).with_health(Health::Draining), TTL)
        .await
        .unwrap();
    settle(&view, &registry).await;
    assert!(
        chosen().iter().all(Option::is_none)
            && !view.offers(&work("*"))
            && !view.offers(&work("^1"))
    );

    registry
        .renew(&ready, Load::default(), Health::Ready)
        .await
        .unwrap();
    settle(&view, &registry).await;
    assert!(
        chosen()
            .iter()
            .all(|chosen| chosen.as_deref() == Some("ready"))
    );
}

#[tokio::test(start_paused = true)]
async fn tenants_are_kept_apart_and_prefer_their_own() {
    let (registry, view) = following().await;
    let (acme, rival) = ("acme".parse().unwrap(), "rival".parse().unwrap());
    let own = registry
        .register(
            record("own", &["1.0.0"]).with_tenant("acme".parse().unwrap()),
            TTL,
        )
        .await
        .unwrap();
    settle(&view, &registry).await;
    assert!(!view.offers(&work("*")) && !view.for_tenant(&rival).offers(&work("*")));
    assert_eq!(
        name(view.for_tenant(&rival).pick(&work("*"), &RoundRobin, 0)),
        None
    );

    registry
        .register(record("shared", &["1.0.0"]), TTL)
        .await
        .unwrap();
    settle(&view, &registry).await;
    for random in 0..4 {
        assert_eq!(
            name(view.for_tenant(&acme).pick(&work("*"), &RoundRobin, random)).as_deref(),
            Some("own")
        );
        assert_eq!(
            name(
                view.for_tenant(&rival)
                    .pick(&work("*"), &RoundRobin, random)
            )
            .as_deref(),
            Some("shared")
        );
        assert_eq!(
            name(view.pick(&work("*"), &RoundRobin, random)).as_deref(),
            Some("shared")
        );
    }
    registry.deregister(&own).await.unwrap();
    settle(&view, &registry).await;
    assert_eq!(
        name(view.for_tenant(&acme).pick(&work("*"), &RoundRobin, 0)).as_deref(),
        Some("shared")
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_survives_reports_updates_and_resyncs() {
    let (registry, view) = following().await;
    let a = record("a", &["1.0.0"]);
    let registration = registry.register(a.clone(), TTL).await.unwrap();
    registry
        .register(record("b", &["1.0.0"]), TTL)
        .await
        .unwrap();
    settle(&view, &registry).await;
    let first = view.pick(&work("*"), &LeastConnections, 0).unwrap();
    let second = view.pick(&work("^1"), &LeastConnections, 0).unwrap();
    assert_ne!(
        first.instance(),
        second.instance(),
        "the pools of two requirements share the counts"
    );
    let guard = if first.instance() == &registration.instance {
        first
    } else {
        second
    };

    registry
        .renew(&registration, Load::new(1, 4), Health::Degraded)
        .await
        .unwrap();
    registry
        .update(
            &registration,
            a.with_weight(Weight::new(3).unwrap())
                .with_load(Load::new(5, 4)),
        )
        .await
        .unwrap();
    settle(&view, &registry).await;
    let candidate = view.candidate(&registration.instance).unwrap();
    assert_eq!(
        (candidate.own_in_flight(), candidate.load()),
        (1, Load::new(5, 4))
    );
    drop(guard.into_in_flight());
    assert_eq!(
        (candidate.own_in_flight(), candidate.load()),
        (0, Load::new(4, 4))
    );
}

#[tokio::test(start_paused = true)]
async fn weights_take_effect_when_a_record_is_updated() {
    let (registry, view) = following().await;
    let a = record("a", &["1.0.0"]);
    let registration = registry.register(a.clone(), TTL).await.unwrap();
    registry
        .register(record("b", &["1.0.0"]), TTL)
        .await
        .unwrap();
    settle(&view, &registry).await;
    let share_of_a = || {
        let picks = (0..100u64)
            .map(|i| view.pick(&work("*"), &Weighted, u64::MAX / 100 * i + u64::MAX / 200));
        picks
            .filter(|picked| {
                picked
                    .as_ref()
                    .is_some_and(|picked| picked.instance() == &a.instance)
            })
            .count()
    };
    assert_eq!(share_of_a(), 50);
    registry
        .update(
            &registration,
            a.clone().with_weight(Weight::new(4).unwrap()),
        )
        .await
        .unwrap();
    settle(&view, &registry).await;
    assert_eq!(share_of_a(), 80);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_requirement_makes_room_and_is_still_served() {
    let (registry, view) = following().await;
    let registration = registry
        .register(record("a", &["1.0.0"]), TTL)
        .await
        .unwrap();
    settle(&view, &registry).await;
    let candidate = view.candidate(&registration.instance).unwrap();
    for round in 0..2 {
        for minor in 0..3 * View::MAX_STANDING {
            let requirement = work(&format!(">=0.{minor}"));
            assert!(
                view.pick(&requirement, &LeastConnections, 0).is_some(),
                "round {round}, {requirement}"
            );
        }
    }
    assert_eq!(candidate.seats(), View::MAX_STANDING + 1);
}

#[tokio::test(start_paused = true)]
async fn a_selector_may_choose_nobody_and_errs_out_of_range_without_harm() {
    #[derive(Debug)]
    struct At(Option<usize>);

    impl Selector for At {
        fn select(
            &self,
            candidates: &crate::Candidates,
            _now: Instant,
            _random: u64,
        ) -> Option<usize> {
            assert_eq!(candidates.len(), 1);
            self.0
        }
    }

    let (registry, view) = following().await;
    registry
        .register(record("a", &["1.0.0"]), TTL)
        .await
        .unwrap();
    settle(&view, &registry).await;
    assert_eq!(name(view.pick(&work("*"), &At(None), 0)), None);
    assert_eq!(name(view.pick(&work("*"), &At(Some(1)), 0)), None);
    assert_eq!(
        name(view.pick(&work("*"), &At(Some(0)), 0)).as_deref(),
        Some("a")
    );
}
