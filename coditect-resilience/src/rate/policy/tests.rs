//! The bucket against a naive one, which counts tokens.

use proptest::prelude::*;

use super::*;

#[test]
fn contradictory_rates_are_refused() {
    let second = Duration::from_secs(1);
    assert!(RatePolicy::new(0, second).is_err());
    assert!(RatePolicy::new(1, Duration::ZERO).is_err());
    assert!(RatePolicy::new(1_000_000, second).is_ok());
    assert!(RatePolicy::new(1_000_001, second).is_err());
    assert!(RatePolicy::new(1, second).unwrap().with_burst(0).is_err());
}

#[test]
fn a_rate_travels_as_json() {
    let policy = RatePolicy::new(500, Duration::from_secs(60)).unwrap();
    let sent = serde_json::to_string(&policy).unwrap();
    assert_eq!(sent, r#"{"amount":500,"per_ms":60000}"#);
    assert_eq!(serde_json::from_str::<RatePolicy>(&sent).unwrap(), policy);
    let burst = policy.with_burst(3).unwrap();
    let sent = serde_json::to_string(&burst).unwrap();
    assert_eq!(serde_json::from_str::<RatePolicy>(&sent).unwrap(), burst);
    assert!(serde_json::from_str::<RatePolicy>(r#"{"amount":0,"per_ms":1}"#).is_err());
    assert_eq!(burst.divided(250).amount(), 2);
    assert_eq!((burst.divided(9).burst(), burst.divided(0)), (1, burst));
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Wait(u64),
    Reserve(u32, u64),
    Charge(u32),
    Refund,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0_u64..500).prop_map(Step::Wait),
        5 => (0_u32..8, 0_u64..1_000).prop_map(|(tokens, ms)| Step::Reserve(tokens, ms)),
        1 => (0_u32..5).prop_map(Step::Charge),
        1 => Just(Step::Refund),
    ]
}

const MS: u64 = 1_000_000;

proptest! {
    /// The model holds thousandths of tokens, which may be owed, and earns them by the millisecond.
    #[test]
    fn the_bucket_agrees_with_one_that_counts_tokens(
        per_second in prop::sample::select(vec![1_u32, 2, 5, 10, 100, 1_000]),
        burst in 1_u32..20,
        steps in prop::collection::vec(any_step(), 0..200),
    ) {
        let policy = RatePolicy::new(per_second, Duration::from_secs(1)).unwrap().with_burst(burst).unwrap();
        let mut bucket = RateBucket::default();
        let (full, rate) = (i64::from(burst) * 1_000, i64::from(per_second));
        let (mut now, mut tokens, mut last) = (0_u64, full, 0_u32);
        for step in steps {
            match step {
                Step::Wait(ms) => {
                    now += ms;
                    tokens = (tokens + ms as i64 * rate).min(full);
                }
                Step::Reserve(wanted, max_wait) => {
                    let missing = (i64::from(wanted) * 1_000 - tokens).max(0);
                    // In thousandths of a millisecond, to compare before anything is rounded.
                    let wait = missing * 1_000_000 / rate;
                    let reserved = bucket.reserve(&policy, wanted, now * MS, max_wait * MS);
                    let allowed = (max_wait * MS) as i64;
                    if wait <= allowed {
                        prop_assert_eq!(reserved, Ok(wait as u64));
                        tokens -= i64::from(wanted) * 1_000;
                        last = wanted;
                    } else {
                        prop_assert_eq!(reserved, Err((wait - allowed) as u64));
                    }
                }
                Step::Charge(used) => {
                    bucket.charge(&policy, used, now * MS);
                    tokens -= i64::from(used) * 1_000;
                }
                Step::Refund => {
                    let back = std::mem::take(&mut last);
                    bucket.refund(&policy, back);
                    tokens = full.min(tokens + i64::from(back) * 1_000);
                }
            }
        }
    }

    #[test]
    fn wild_values_never_panic(amount in 1_u32.., per_ms in 1_u64.., burst in 1_u32.., now: u64, tokens: u32, wait: u64, state: u64) {
        if let Ok(policy) = RatePolicy::new(amount, Duration::from_millis(per_ms)) {
            let policy = policy.with_burst(burst).unwrap();
            let mut bucket = RateBucket::full_at(state);
            let _ = bucket.reserve(&policy, tokens, now, wait);
            bucket.charge(&policy, tokens, now);
            bucket.refund(&policy, tokens);
        }
    }
}
