//! Slots against a count by hand.

use proptest::prelude::*;
use tokio::time::advance;

use super::*;

fn adaptive(min: u32, start: u32, max: u32) -> Slots {
    let policy = AdaptivePolicy::new(min, start, max).expect("in order");
    Slots::new(1, Some(policy))
}

#[derive(Clone, Debug)]
enum Step {
    Take,
    Drop(usize),
    /// A call ends after so many milliseconds, or was one too many.
    Learn(Option<u64>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Take),
        3 => any::<usize>().prop_map(Step::Drop),
        6 => prop_oneof![4 => (1..20_u64).prop_map(Some), 1 => Just(None)].prop_map(Step::Learn),
    ];
    proptest::collection::vec(step, 1..400)
}

proptest! {
    #[test]
    fn never_more_are_given_out_than_the_limit_says_and_none_is_lost(steps in steps()) {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build();
        runtime.expect("a runtime starts").block_on(async {
            let slots = adaptive(2, 5, 40);
            let mut taken = Vec::new();
            for step in steps {
                match step {
                    Step::Take => {
                        let room = taken.len() < slots.limit();
                        let place = slots.try_take();
                        prop_assert_eq!(place.is_some(), room, "{} of {}", taken.len(), slots.limit());
                        taken.extend(place);
                    }
                    Step::Drop(index) if !taken.is_empty() => {
                        taken.swap_remove(index % taken.len());
                    }
                    Step::Drop(_) => {}
                    Step::Learn(took) => {
                        let measured = slots.measure().expect("it is measured");
                        advance(Duration::from_millis(took.unwrap_or(1))).await;
                        let load = if took.is_some() { Load::Borne } else { Load::Overload };
                        let before = slots.limit();
                        let has_more = slots.learn(&measured, load);
                        prop_assert!(!has_more || slots.limit() > before);
                        prop_assert!((2..=40).contains(&slots.limit()));
                        prop_assert!((slots.limit()..2 * slots.limit()).contains(&slots.width()));
                    }
                }
                prop_assert_eq!(slots.in_use(), taken.len());
                prop_assert_eq!(slots.has_free(), taken.len() < slots.limit());
            }
            drop(taken);
            let all: Vec<_> = std::iter::from_fn(|| slots.try_take()).collect();
            prop_assert_eq!(all.len(), slots.limit());
            Ok(())
        })?;
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_given_a_slot_when_the_limit_grows() {
    let slots = adaptive(1, 1, 10);
    let _first = slots.take().await;
    let mut second = std::pin::pin!(slots.take());
    assert!(futures::poll!(&mut second).is_pending());
    let width = slots.width();
    let mut widened = std::pin::pin!(slots.widened(width));
    assert!(futures::poll!(&mut widened).is_pending());
    while slots.limit() == 1 {
        let measured = slots.measure().expect("it is measured");
        advance(Duration::from_millis(10)).await;
        slots.learn(&measured, Load::Borne);
    }
    assert!(futures::poll!(&mut second).is_ready());
    assert!(futures::poll!(&mut widened).is_ready());
}

#[tokio::test]
async fn where_nothing_is_found_out_there_are_as_many_as_were_said() {
    let slots = Slots::new(3, None);
    assert!(slots.measure().is_none());
    let taken: Vec<_> = std::iter::from_fn(|| slots.try_take()).collect();
    assert_eq!(
        (taken.len(), slots.limit(), slots.width(), slots.in_use()),
        (3, 3, 3, 3)
    );
    drop(taken);
    assert_eq!(slots.in_use(), 0);
}
