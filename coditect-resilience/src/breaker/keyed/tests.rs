//! What a full table forgets, against a naive list.

use std::time::Duration;

use parking_lot::Mutex;
use proptest::prelude::*;

use super::*;

fn table(capacity: usize) -> Breakers {
    let policy = BreakerPolicy::builder()
        .consecutive_failures(1)
        .build()
        .unwrap();
    Breakers::new(policy, capacity).unwrap()
}

fn trip(breakers: &Breakers, key: &str) {
    breakers.breaker(key).acquire().unwrap().failure();
}

#[test]
fn a_key_has_one_breaker_and_clones_are_the_same_table() {
    let breakers = table(10);
    trip(&breakers.clone(), "a");
    assert_eq!(breakers.breaker("a").state(), BreakerState::Open);
    assert_eq!(breakers.breaker("b").state(), BreakerState::Closed);
    assert_eq!((breakers.len(), breakers.capacity()), (2, 10));
    assert_eq!(breakers.tripped().len(), 1);
    assert!(breakers.peek("c").is_none() && !breakers.is_empty());
    assert!(Breakers::new(BreakerPolicy::default(), 0).is_err());
}

#[derive(Default)]
struct Evicted(Mutex<Vec<(String, BreakerState)>>);

impl BreakerObserver for Evicted {
    fn on_evicted(&self, name: &str, state: BreakerState) {
        self.0.lock().push((name.into(), state));
    }
}

#[test]
fn idle_goes_before_recent_before_used_before_tripped() {
    let evicted = Arc::new(Evicted::default());
    let breakers = table(4).with_observer(evicted.clone());
    let touch = |key| drop(breakers.breaker(key));
    trip(&breakers, "tripped");
    let used = breakers.breaker("used");
    touch("a");
    touch("b");
    // All were asked for since the hand last passed: the first that nobody uses goes, and the marks are gone.
    touch("c");
    // Only `c` has been asked for since then.
    touch("d");
    let held = [breakers.breaker("c"), breakers.breaker("d")];
    // Everything is in use or tripped.
    touch("e");
    let gone: Vec<_> = evicted.0.lock().drain(..).collect();
    let closed = |name: &str| (name.to_owned(), BreakerState::Closed);
    assert_eq!(gone[..2], [closed("a"), closed("b")]);
    assert_eq!(gone.len(), 3);
    assert!(["used", "c", "d"].contains(&gone[2].0.as_str()) && gone[2].1 == BreakerState::Closed);
    assert_eq!(breakers.breaker("tripped").state(), BreakerState::Open);
    drop((used, held));
}

#[test]
fn where_all_are_tripped_one_of_them_goes() {
    let breakers = table(3);
    for key in ["a", "b", "c", "d"] {
        trip(&breakers, key);
    }
    assert_eq!((breakers.len(), breakers.tripped().len()), (3, 3));
    assert!(breakers.peek("d").is_some());
}

#[test]
fn threads_agree_on_one_breaker_for_a_key() {
    let breakers = table(8);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for i in 0..2_000 {
                    let key = (i % 16).to_string();
                    assert_eq!(breakers.breaker(&key).name(), key);
                }
            });
        }
    });
    assert_eq!(breakers.len(), 8);
}

proptest! {
    #[test]
    fn a_tripped_key_is_never_forgotten_before_a_closed_one_and_the_table_stays_bounded(
        capacity in 1_usize..12,
        steps in prop::collection::vec((0_u32..20, 0_u8..10, prop::bool::weighted(0.1)), 0..300),
    ) {
        let evicted = Arc::new(Evicted::default());
        let breakers = table(capacity).with_observer(evicted.clone());
        let mut held = Vec::new();
        for (key, trips, holds) in steps {
            let key = key.to_string();
            let known_before: Vec<_> = (0..20).filter_map(|key| breakers.peek(&key.to_string())).collect();
            let any_closed = known_before.iter().any(|breaker| breaker.state() == BreakerState::Closed);
            drop(known_before);
            let is_new = breakers.peek(&key).is_none();
            let is_full = breakers.len() == capacity;
            let breaker = breakers.breaker(&key);
            prop_assert_eq!(breaker.name(), &key);
            let gone: Vec<_> = evicted.0.lock().drain(..).collect();
            prop_assert_eq!(gone.len(), usize::from(is_new && is_full));
            for (gone, state) in gone {
                prop_assert!(gone != key);
                prop_assert!(!any_closed || state == BreakerState::Closed);
            }
            match trips {
                0..2 => breaker.force_open(),
                2..4 => breaker.reset(),
                4 => held.clear(),
                _ => {}
            }
            if holds {
                held.push(breaker);
            }
            prop_assert!(breakers.len() <= capacity);
        }
    }
}

#[test]
fn randomness_and_name_reach_each_breaker() {
    let breakers = table(2).with_randomness(|| 0.0);
    trip(&breakers, "a");
    let left = breakers.breaker("a").open_left().unwrap();
    // Equal jitter with nothing random is half of 500 ms.
    assert!(left <= Duration::from_millis(250), "{left:?}");
}

#[test]
fn what_closed_again_goes_before_what_is_still_open() {
    let breakers = table(10);
    let open = |from: u32, to: u32| {
        (from..to).for_each(|key| breakers.breaker(&key.to_string()).force_open())
    };
    open(0, 10);
    for round in 0..100 {
        // All are set aside by now, and one of them closes.
        let back = (round % 10).to_string();
        let Some(breaker) = breakers.peek(&back) else {
            continue;
        };
        breaker.reset();
        drop(breaker);
        breakers.breaker("new").force_open();
        assert!(
            breakers.peek(&back).is_none(),
            "{back} was the only closed one"
        );
        assert_eq!(breakers.tripped().len(), 10);
        breakers.breaker("new").reset();
        breakers.breaker(&back).force_open();
        assert!(breakers.peek("new").is_none());
    }
    let table = breakers.inner.table.read();
    assert!(
        table.aside.len() <= 2 * table.slots.len(),
        "{}",
        table.aside.len()
    );
}
