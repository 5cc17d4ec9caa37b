//! What a policy refuses, and how it travels.

use proptest::prelude::*;

use super::*;

#[test]
fn contradictory_values_are_refused() {
    let builder = BreakerPolicy::builder;
    for (policy, why) in [
        (builder(), "nothing trips it"),
        (builder().failure_rate(0.0), "every call would trip it"),
        (builder().failure_rate(1.1), "nothing would trip it"),
        (builder().failure_rate(f64::NAN), "no number"),
        (builder().slow_calls(Duration::ZERO, 2.0), "a share above 1"),
        (builder().consecutive_failures(0), "no failure"),
        (builder().consecutive_failures(1).probes(0), "no probe"),
        (
            builder().consecutive_failures(1).successes_to_close(0),
            "no success",
        ),
        (builder().failure_rate(0.5).min_calls(0), "no call"),
        (
            builder().failure_rate(0.5).window(Window::Calls(0)),
            "an empty window",
        ),
        (
            builder().failure_rate(0.5).window(Window::Calls(10_001)),
            "a huge window",
        ),
        (
            builder()
                .failure_rate(0.5)
                .window(Window::Time(Duration::ZERO)),
            "an empty span",
        ),
        (
            builder()
                .failure_rate(0.5)
                .window(Window::Calls(19))
                .min_calls(20),
            "never enough calls",
        ),
    ] {
        assert!(policy.build().is_err(), "{why}");
    }
}

#[test]
fn failures_in_a_row_need_no_window() {
    let policy = BreakerPolicy::builder()
        .consecutive_failures(3)
        .window(Window::Calls(1))
        .build()
        .unwrap();
    assert!(!policy.needs_window());
    assert_eq!(policy.consecutive_failures(), Some(3));
}

#[test]
fn outcomes_are_counted_by_their_class_and_their_time() {
    let policy = BreakerPolicy::builder()
        .slow_calls(Duration::from_secs(1), 0.5)
        .build()
        .unwrap();
    let second = Duration::from_secs(1);
    let outcome = |class, elapsed| policy.outcome(class, elapsed);
    assert_eq!(outcome(Classification::Ignore, second * 9), None);
    assert_eq!(
        outcome(Classification::Success, second),
        Some(CallOutcome::SUCCESS)
    );
    assert_eq!(
        outcome(Classification::Retry, second),
        Some(CallOutcome::FAILURE)
    );
    assert_eq!(
        outcome(Classification::RetryAfter(second), second),
        Some(CallOutcome::FAILURE)
    );
    let slow = Some(CallOutcome {
        failed: true,
        slow: true,
    });
    assert_eq!(outcome(Classification::Fail, second * 2), slow);
}

#[test]
fn the_default_policy_travels_as_json() {
    let sent = serde_json::to_string(&BreakerPolicy::default()).unwrap();
    assert_eq!(
        sent,
        r#"{"consecutive_failures":20,"failure_rate":0.5,"window_ms":10000,"min_calls":20,"open_for":{"base_ms":500,"max_ms":1500,"multiplier":2.0,"jitter":"equal"},"probes":1,"successes_to_close":2}"#
    );
    for (from, to) in [
        ("0.5", "7"),
        ("10000", "0"),
        (r#""probes":1"#, r#""probes":0"#),
        (
            r#""window_ms":10000"#,
            r#""window_ms":10000,"window_calls":50"#,
        ),
        (r#""probes":1"#, r#""probes":1,"speed":2"#),
    ] {
        let bad = sent.replacen(from, to, 1);
        assert!(
            serde_json::from_str::<BreakerPolicy>(&bad).is_err(),
            "{bad}"
        );
    }
}

proptest! {
    #[test]
    fn a_policy_is_the_same_after_it_has_travelled(
        consecutive in proptest::option::of(1_u32..9),
        slow in proptest::option::of((0_u64..9_999, 1_u32..=100)),
        window in prop_oneof![
            (100_u32..10_000).prop_map(Window::Calls),
            (1_u64..100_000).prop_map(|ms| Window::Time(Duration::from_millis(ms))),
        ],
        numbers in (1_u32..100, 1_u32..9, 1_u32..9),
    ) {
        let mut builder = BreakerPolicy::builder()
            .failure_rate(0.25)
            .window(window)
            .min_calls(numbers.0)
            .probes(numbers.1)
            .successes_to_close(numbers.2);
        if let Some(failures) = consecutive {
            builder = builder.consecutive_failures(failures);
        }
        if let Some((ms, percent)) = slow {
            builder = builder.slow_calls(Duration::from_millis(ms), f64::from(percent) / 128.0);
        }
        let policy = builder.build().unwrap();
        let sent = serde_json::to_string(&policy).unwrap();
        prop_assert_eq!(serde_json::from_str::<BreakerPolicy>(&sent).unwrap(), policy);
        prop_assert_eq!(policy.window(), window);
    }
}
