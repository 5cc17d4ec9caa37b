//! Both windows against a list of everything that ever came.

use proptest::prelude::*;

use super::*;

fn any_outcome() -> impl Strategy<Value = CallOutcome> {
    any::<(bool, bool)>().prop_map(|(failed, slow)| CallOutcome { failed, slow })
}

fn count<'a>(outcomes: impl Iterator<Item = &'a CallOutcome>) -> Counts {
    let mut counts = Counts::default();
    outcomes.for_each(|outcome| counts.add(*outcome));
    counts
}

proptest! {
    #[test]
    fn a_ring_holds_the_last_calls(
        size in 1_u32..100,
        outcomes in proptest::collection::vec(any_outcome(), 0..300),
    ) {
        let mut ring = Ring::new(size);
        for (i, outcome) in outcomes.iter().enumerate() {
            let held = &outcomes[(i + 1).saturating_sub(size as usize)..=i];
            prop_assert_eq!(ring.push(*outcome), count(held.iter()));
        }
    }

    #[test]
    fn buckets_hold_the_steps_of_the_last_span(
        step_ms in 1_u64..50,
        calls in proptest::collection::vec((0_u64..120, any_outcome()), 0..200),
    ) {
        let start = Instant::now();
        let mut buckets = Buckets::new(Duration::from_millis(step_ms * STEPS));
        let (mut now, mut all) = (0, Vec::new());
        for (wait, outcome) in calls {
            now += if all.is_empty() { 0 } else { wait };
            all.push((now / step_ms, outcome));
            let held = all.iter().filter(|(step, _)| step + STEPS > now / step_ms).map(|(_, outcome)| outcome);
            let counts = buckets.push(outcome, start + Duration::from_millis(now));
            prop_assert_eq!(counts, count(held));
        }
    }
}

#[test]
fn a_clock_that_runs_backwards_forgets_nothing() {
    let start = Instant::now();
    let mut buckets = Buckets::new(Duration::from_secs(1));
    buckets.push(CallOutcome::FAILURE, start);
    buckets.push(CallOutcome::FAILURE, start + Duration::from_millis(950));
    let counts = buckets.push(CallOutcome::SUCCESS, start);
    assert_eq!((counts.calls, counts.failed), (3, 2));
}
