//! The board of a process: bounded, and one with the store.

use std::time::SystemTime;

use coditect_state::{MemoryStore, StateStore};

use super::*;

fn quarantines() -> Arc<Quarantines> {
    let policy = QuarantinePolicy::new(2, 4, Duration::from_secs(60)).unwrap();
    let policies = QuarantinePolicies {
        default: Some(policy),
        ..QuarantinePolicies::default()
    };
    let clock = Clock::start(SystemTime::now());
    Arc::new(Quarantines::new(policies, clock, SplitMix::from_seed(1)))
}

fn by(agent: &str) -> Arc<Performer> {
    Arc::new(Performer::new(
        agent.parse().unwrap(),
        "work".parse().unwrap(),
        semver::Version::new(1, 0, 0),
        "somewhere".into(),
    ))
}

fn failed(by: &Arc<Performer>) -> Failure {
    let mut failure = Failure::new(FailureKind::Permanent, "broken");
    failure.by = Some(Arc::clone(by));
    failure
}

fn held(quarantines: &Quarantines) -> Vec<String> {
    let held = quarantines.held_for(&"work".parse().unwrap());
    held.iter().map(ToString::to_string).collect()
}

#[tokio::test(start_paused = true)]
async fn however_many_agents_fail_so_many_are_kept_in_mind() {
    let quarantines = quarantines();
    let first = failed(&by("first"));
    assert!(!quarantines.failed(&first) && !quarantines.failed(&first));
    for number in 0..2 * PATTERNS {
        quarantines.failed(&failed(&by(&format!("agent-{number}"))));
    }
    assert_eq!(quarantines.board.lock().patterns.len(), PATTERNS);
    // What is held is not forgotten for what is only watched, and spares what follows.
    assert_eq!(held(&quarantines), ["first/work@1.0.0"]);
    assert!(quarantines.failed(&first));
    for number in 0..2 * PATTERNS {
        let other = failed(&by(&format!("other-{number}")));
        quarantines.failed(&other);
        quarantines.failed(&other);
    }
    assert_eq!(held(&quarantines).len(), PATTERNS);
}

#[tokio::test(start_paused = true)]
async fn what_one_process_holds_others_hold_until_somebody_ends_it() {
    let store: Arc<dyn StateStore> = Arc::new(MemoryStore::new());
    let (first, second) = (quarantines(), quarantines());
    let failure = failed(&by("sick"));
    first.failed(&failure);
    // Not before it has reached the store does its absence there mean anything.
    first.failed(&failure);
    first.load(&store).await;
    second.load(&store).await;
    assert_eq!(held(&first), held(&second));
    assert_eq!(held(&second), ["sick/work@1.0.0"]);
    let listed = Quarantined::read(&*store).await.unwrap();
    assert_eq!((listed[0].failures, &listed[0].example), (2, &failure));

    // A task that is tried at the second succeeds.
    tokio::time::advance(Duration::from_secs(60)).await;
    let pattern = listed[0].pattern();
    assert!(second.may_probe(&pattern));
    let probe = second.probe(&pattern).unwrap();
    assert!(second.probe(&pattern).is_none(), "one at a time");
    drop(probe);
    let probe = second.probe(&pattern).unwrap();
    probe.settle(Some(&by("other")), true);
    assert_eq!(held(&second).len(), 1, "another has done it");
    let probe = second.probe(&pattern).unwrap();
    probe.settle(Some(&by("sick")), true);
    assert!(held(&second).is_empty());
    second.load(&store).await;
    first.load(&store).await;
    assert!(held(&first).is_empty());
    assert!(Quarantined::read(&*store).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_person_has_ended_elsewhere_is_not_written_again_for_a_late_failure() {
    let store: Arc<dyn StateStore> = Arc::new(MemoryStore::new());
    let owner = quarantines();
    let failure = failed(&by("sick"));
    owner.failed(&failure);
    owner.failed(&failure);
    owner.load(&store).await;
    // What was under way when it began fails as well, and a person who is not here ends it.
    assert!(owner.failed(&failure));
    let listed = Quarantined::read(&*store).await.unwrap();
    assert!(listed[0].clear(&store).await.unwrap());
    owner.load(&store).await;
    assert!(Quarantined::read(&*store).await.unwrap().is_empty());
    assert!(held(&owner).is_empty());
}
