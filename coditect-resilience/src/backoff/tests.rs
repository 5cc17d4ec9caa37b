//! The bounds of each jitter, and what may travel.

use proptest::prelude::*;

use super::*;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Any backoff that passes validation, with extremes.
fn any_backoff() -> impl Strategy<Value = Backoff> {
    let spans = prop_oneof![
        (0_u64..100_000, 0_u64..100_000),
        (any::<u64>(), any::<u64>())
    ];
    let multiplier = prop_oneof![Just(1.0), 1.0..10.0, Just(f64::MAX)];
    let jitter = prop_oneof![
        Just(Jitter::None),
        Just(Jitter::Full),
        Just(Jitter::Equal),
        Just(Jitter::Decorrelated)
    ];
    (spans, multiplier, jitter).prop_map(|((a, b), multiplier, jitter)| {
        Backoff::new(millis(a.min(b)), millis(a.max(b)))
            .and_then(|backoff| backoff.with_multiplier(multiplier))
            .unwrap()
            .with_jitter(jitter)
    })
}

/// The exponential delay, one multiplication at a time.
fn naive_exponential(backoff: &Backoff, retry: u32) -> f64 {
    let max = backoff.max().as_secs_f64();
    let mut delay = backoff.base().as_secs_f64();
    for _ in 1..retry {
        delay = (delay * backoff.multiplier()).min(max);
    }
    delay.min(max)
}

/// Says that two spans are the same as far as floating point can tell.
fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * a.abs().max(b.abs()).max(1e-3)
}

#[test]
fn delays_double_up_to_the_longest() {
    let backoff = Backoff::new(millis(100), millis(1_000))
        .unwrap()
        .with_jitter(Jitter::None);
    let delays: Vec<_> = (0..7)
        .map(|retry| backoff.delay(retry, None, 0.7))
        .collect();
    assert_eq!(
        delays,
        [100, 100, 200, 400, 800, 1_000, 1_000].map(millis),
        "the zeroth retry counts as the first"
    );
}

#[test]
fn each_jitter_takes_its_share() {
    let backoff = Backoff::new(millis(100), millis(10_000)).unwrap();
    let third = |jitter, random| backoff.with_jitter(jitter).delay(3, None, random);
    assert_eq!(third(Jitter::None, 0.5), millis(400));
    assert_eq!(third(Jitter::Full, 0.5), millis(200));
    assert_eq!(third(Jitter::Equal, 0.5), millis(300));
    let decorrelated = backoff
        .with_multiplier(3.0)
        .unwrap()
        .with_jitter(Jitter::Decorrelated);
    assert_eq!(decorrelated.delay(1, None, 0.5), millis(200));
    assert_eq!(decorrelated.delay(2, Some(millis(300)), 0.5), millis(500));
    assert_eq!(decorrelated.delay(2, None, 0.5), millis(500));
    assert_eq!(
        decorrelated.delay(2, Some(millis(1)), 0.5),
        millis(200),
        "a previous delay below the base counts as the base"
    );
    assert_eq!(
        decorrelated.delay(2, Some(Duration::MAX), 0.5),
        millis(5_050)
    );
}

#[test]
fn no_backoff_waits_for_nothing_and_a_constant_one_always_the_same() {
    assert_eq!(
        Backoff::none().delay(u32::MAX, Some(Duration::MAX), 0.9),
        Duration::ZERO
    );
    assert_eq!(
        Backoff::constant(millis(70)).delay(9, None, 0.9),
        millis(70)
    );
}

#[test]
fn contradictory_values_are_refused() {
    assert!(Backoff::new(millis(2), millis(1)).is_err());
    for wild in [f64::NAN, f64::INFINITY, 0.99, -2.0] {
        assert!(Backoff::default().with_multiplier(wild).is_err(), "{wild}");
    }
}

#[test]
fn a_backoff_travels_in_milliseconds_and_is_checked_on_arrival() {
    let sent = serde_json::to_string(&Backoff::default()).unwrap();
    assert_eq!(
        sent,
        r#"{"base_ms":100,"max_ms":30000,"multiplier":2.0,"jitter":"full"}"#
    );
    let received: Backoff = serde_json::from_str(r#"{"base_ms":5,"max_ms":9}"#).unwrap();
    assert_eq!(received, Backoff::new(millis(5), millis(9)).unwrap());
    for bad in [
        r#"{"base_ms":9,"max_ms":5}"#,
        r#"{"base_ms":5,"max_ms":9,"multiplier":0.5}"#,
        r#"{"base_ms":-1,"max_ms":9}"#,
        r#"{"base_ms":1,"max_ms":9,"jitter":"some"}"#,
        r#"{"base_ms":1,"max_ms":9,"speed":1}"#,
    ] {
        assert!(serde_json::from_str::<Backoff>(bad).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn every_delay_keeps_the_bounds_of_its_jitter(
        backoff in any_backoff(),
        retry: u32,
        previous: Option<Duration>,
        random in prop_oneof![0.0..1.0_f64, any::<f64>()],
    ) {
        let exponential = backoff.with_jitter(Jitter::None).delay(retry, previous, random);
        prop_assert!((backoff.base()..=backoff.max()).contains(&exponential));
        let delay = backoff.delay(retry, previous, random);
        let bounds = match backoff.jitter() {
            Jitter::None => exponential..=exponential,
            Jitter::Full => Duration::ZERO..=exponential,
            Jitter::Equal => exponential / 2..=exponential,
            Jitter::Decorrelated => backoff.base()..=backoff.max(),
        };
        prop_assert!(bounds.contains(&delay), "{delay:?} is outside {bounds:?}");
    }

    #[test]
    fn the_exponential_delay_agrees_with_repeated_multiplication(
        base in 0_u64..10_000,
        more in 0_u64..10_000_000,
        multiplier in 1.0..5.0_f64,
        retry in 1_u32..40,
    ) {
        let backoff = Backoff::new(millis(base), millis(base + more)).unwrap()
            .with_multiplier(multiplier).unwrap()
            .with_jitter(Jitter::None);
        let delay = backoff.delay(retry, None, 0.0).as_secs_f64();
        let naive = naive_exponential(&backoff, retry);
        prop_assert!(close(delay, naive), "{delay} is not {naive}");
    }

    #[test]
    fn a_decorrelated_delay_is_at_most_the_previous_one_times_the_multiplier(
        base in 1_u64..1_000,
        previous in 1_u64..10_000,
        random in 0.0..1.0_f64,
    ) {
        let backoff = Backoff::new(millis(base), millis(20_000)).unwrap()
            .with_multiplier(3.0).unwrap()
            .with_jitter(Jitter::Decorrelated);
        let delay = backoff.delay(2, Some(millis(previous)), random);
        let limit = millis(previous.max(base) * 3).min(millis(20_000));
        prop_assert!(delay >= millis(base) && delay <= limit, "{delay:?} of {limit:?}");
    }

    #[test]
    fn a_backoff_is_the_same_after_it_has_travelled(backoff in any_backoff()) {
        let sent = serde_json::to_string(&backoff).unwrap();
        let received: Backoff = serde_json::from_str(&sent).unwrap();
        prop_assert_eq!(received.base(), backoff.base());
        prop_assert_eq!(received.max(), backoff.max());
        prop_assert_eq!(received.jitter(), backoff.jitter());
        prop_assert!(close(received.multiplier(), backoff.multiplier()));
    }
}
