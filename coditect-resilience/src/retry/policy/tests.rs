//! The decision against a naive model, and what may travel.

use proptest::prelude::*;

use super::*;
use crate::backoff::Jitter;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn any_policy() -> impl Strategy<Value = RetryPolicy> {
    (
        1_u32..12,
        proptest::option::of(0_u64..20_000),
        0_u64..1_000,
        0_u64..10_000,
    )
        .prop_map(|(attempts, limit, base, more)| {
            let backoff = Backoff::new(millis(base), millis(base + more)).unwrap();
            let mut builder = RetryPolicy::builder(attempts).backoff(backoff);
            if let Some(limit) = limit {
                builder = builder.max_elapsed(millis(limit));
            }
            builder.build().unwrap()
        })
}

fn any_class() -> impl Strategy<Value = Classification> {
    prop_oneof![
        1 => Just(Classification::Success),
        8 => Just(Classification::Retry),
        4 => (0_u64..5_000).prop_map(|after| Classification::RetryAfter(millis(after))),
        1 => Just(Classification::Fail),
        1 => Just(Classification::Ignore),
    ]
}

#[test]
fn what_no_repetition_cures_is_not_repeated() {
    let policy = RetryPolicy::default();
    let first = Tries {
        made: 1,
        ..Tries::default()
    };
    let decide = |class| policy.decide(class, first, 0.5);
    assert_eq!(decide(Classification::Success), Verdict::Return);
    assert_eq!(decide(Classification::Ignore), Verdict::Return);
    assert_eq!(
        decide(Classification::Fail),
        Verdict::GiveUp(GiveUp::NotRetryable)
    );
}

#[test]
fn the_callee_may_ask_for_a_longer_wait_and_not_for_a_shorter_one() {
    let backoff = Backoff::constant(millis(500));
    let policy = RetryPolicy::builder(3).backoff(backoff).build().unwrap();
    let first = Tries {
        made: 1,
        ..Tries::default()
    };
    let delay = |asked| match policy.decide(Classification::RetryAfter(asked), first, 0.0) {
        Verdict::Retry { delay, .. } => delay,
        other => panic!("{other:?}"),
    };
    assert_eq!(delay(millis(100)), millis(500));
    assert_eq!(delay(millis(60_000)), millis(60_000));
}

#[test]
fn a_wait_that_would_outlast_the_limit_is_not_begun() {
    let policy = RetryPolicy::builder(9)
        .backoff(Backoff::constant(millis(100)))
        .max_elapsed(millis(1_000))
        .build()
        .unwrap();
    let after = |elapsed| {
        let tries = Tries {
            made: 1,
            elapsed: millis(elapsed),
            last_delay: None,
        };
        policy.decide(Classification::Retry, tries, 0.0)
    };
    assert!(matches!(after(899), Verdict::Retry { .. }));
    assert_eq!(after(900), Verdict::GiveUp(GiveUp::Elapsed));
    assert_eq!(after(u64::MAX), Verdict::GiveUp(GiveUp::Elapsed));
}

#[test]
fn no_attempt_at_all_is_no_policy() {
    let error = RetryPolicy::builder(0).build().unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::InvalidPolicy);
    assert_eq!(RetryPolicy::none().max_attempts(), 1);
    assert_eq!(RetryPolicy::default().max_attempts(), 3);
}

#[test]
fn a_policy_travels_in_milliseconds_and_is_checked_on_arrival() {
    let policy = RetryPolicy::builder(4)
        .max_elapsed(Duration::from_micros(1_500))
        .backoff(Backoff::constant(millis(7)))
        .build()
        .unwrap();
    assert_eq!(policy.max_elapsed(), Some(millis(2)), "rounded up");
    assert_eq!(policy.backoff().jitter(), Jitter::None);
    let sent = serde_json::to_string(&policy).unwrap();
    assert_eq!(
        sent,
        r#"{"max_attempts":4,"max_elapsed_ms":2,"backoff":{"base_ms":7,"max_ms":7,"multiplier":1.0,"jitter":"none"}}"#
    );
    assert_eq!(serde_json::from_str::<RetryPolicy>(&sent).unwrap(), policy);
    assert_eq!(
        serde_json::from_str::<RetryPolicy>(r#"{"max_attempts":3}"#).unwrap(),
        RetryPolicy::default()
    );
    for bad in [
        "{}",
        r#"{"max_attempts":0}"#,
        r#"{"max_attempts":1,"retries":2}"#,
    ] {
        assert!(serde_json::from_str::<RetryPolicy>(bad).is_err(), "{bad}");
    }
}

proptest! {
    /// Runs a call through to its end, as a layer would, next to a model that counts on its own.
    #[test]
    fn a_call_keeps_every_limit_of_its_policy(
        policy in any_policy(),
        outcomes in proptest::collection::vec((any_class(), 0_u64..2_000, 0.0..1.0_f64), 20),
    ) {
        let (mut made, mut clock, mut last_delay) = (0, Duration::ZERO, None);
        for (class, took, random) in outcomes {
            prop_assert!(policy.max_elapsed().is_none_or(|limit| made == 0 || clock < limit));
            made += 1;
            clock += millis(took);
            let tries = Tries { made, elapsed: clock, last_delay };
            match policy.decide(class, tries, random) {
                Verdict::Retry { attempt, delay } => {
                    prop_assert!(class.is_retryable());
                    prop_assert_eq!(attempt, made + 1);
                    prop_assert!(attempt <= policy.max_attempts());
                    if let Classification::RetryAfter(asked) = class {
                        prop_assert!(delay >= asked);
                    } else {
                        prop_assert!(delay <= policy.backoff().max());
                    }
                    clock += delay;
                    last_delay = Some(delay);
                }
                Verdict::Return => {
                    prop_assert!(matches!(class, Classification::Success | Classification::Ignore));
                    return Ok(());
                }
                Verdict::GiveUp(GiveUp::NotRetryable) => {
                    prop_assert_eq!(class, Classification::Fail);
                    return Ok(());
                }
                Verdict::GiveUp(GiveUp::Attempts) => {
                    prop_assert_eq!(made, policy.max_attempts());
                    return Ok(());
                }
                Verdict::GiveUp(GiveUp::Elapsed) => {
                    // Without jitter the wait is at its longest: not even that one would have fitted in, or
                    // the callee asked for too much.
                    let limit = policy.max_elapsed().unwrap();
                    let longest = match class {
                        Classification::RetryAfter(asked) => asked.max(policy.backoff().max()),
                        _ => policy.backoff().max(),
                    };
                    prop_assert!(clock + longest >= limit);
                    return Ok(());
                }
                Verdict::GiveUp(GiveUp::Budget) => prop_assert!(false, "a policy has no budget"),
            }
        }
        prop_assert!(false, "twenty tries, and at most eleven are allowed");
    }

    #[test]
    fn no_input_panics(policy in any_policy(), class in any_class(), made: u32, elapsed: Duration, last_delay: Option<Duration>, random: f64) {
        let verdict = policy.decide(class, Tries { made, elapsed, last_delay }, random);
        if let Verdict::Retry { attempt, .. } = verdict {
            prop_assert!(attempt <= policy.max_attempts());
        }
    }
}
