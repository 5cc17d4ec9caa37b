//! The budget against a naive model, alone and between threads.

#[cfg(not(loom))]
use std::sync::{Barrier, atomic::AtomicU32};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, Copy)]
enum Step {
    Deposit,
    Withdraw,
    Wait(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Deposit),
        Just(Step::Withdraw),
        (0_u64..3_000).prop_map(Step::Wait),
    ]
}

fn any_policy() -> impl Strategy<Value = BudgetPolicy> {
    (0_u32..2_000, 0_u32..20, 0_u32..30).prop_map(|(deposit, reserve, capacity)| {
        BudgetPolicy::new(f64::from(deposit) / 1_000.0, capacity)
            .unwrap()
            .with_reserve_per_second(reserve)
    })
}

#[test]
fn a_service_that_fails_altogether_gets_the_reserve_and_no_more() {
    let start = Instant::now();
    let policy = BudgetPolicy::new(0.1, 5)
        .unwrap()
        .with_reserve_per_second(2);
    let budget = RetryBudget::starting_at(policy, start);
    let mut granted = 0;
    for ms in 0..10_000 {
        granted += u32::from(budget.withdraw_at(start + Duration::from_millis(ms)));
    }
    assert_eq!(granted, 5 + 19, "five saved up, two for each full second");
}

#[test]
fn a_healthy_service_earns_its_share_of_retries() {
    let start = Instant::now();
    let budget = RetryBudget::starting_at(BudgetPolicy::new(0.1, 100).unwrap(), start);
    while budget.withdraw_at(start) {}
    assert_eq!(budget.balance(), 0.0);
    for _ in 0..1_000 {
        budget.deposit_at(start);
    }
    assert_eq!(budget.balance(), 100.0);
}

#[test]
fn time_that_runs_backwards_earns_nothing() {
    let start = Instant::now();
    let policy = BudgetPolicy::new(0.0, 1)
        .unwrap()
        .with_reserve_per_second(1);
    let budget = RetryBudget::starting_at(policy, start);
    let later = start + Duration::from_secs(10);
    assert!(budget.withdraw_at(later));
    assert!(!budget.withdraw_at(start));
    assert!(!budget.withdraw_at(later + Duration::from_millis(999)));
    assert!(budget.withdraw_at(later + Duration::from_millis(1_000)));
}

#[test]
fn a_budget_of_nothing_grants_nothing() {
    let budget = RetryBudget::new(BudgetPolicy::new(1_000.0, 0).unwrap());
    budget.deposit();
    assert!(!budget.withdraw());
}

#[test]
fn it_says_when_time_alone_pays_for_a_retry() {
    let start = Instant::now();
    let policy = BudgetPolicy::new(0.1, 1).unwrap();
    let poor = RetryBudget::starting_at(policy, start);
    assert_eq!(poor.next_in_at(start), Some(Duration::ZERO));
    assert!(poor.withdraw_at(start));
    assert_eq!(poor.next_in_at(start), None, "only successes pay");
    let budget = RetryBudget::starting_at(policy.with_reserve_per_second(3), start);
    assert!(budget.withdraw_at(start));
    let wait = budget.next_in_at(start).unwrap();
    assert_eq!(wait, Duration::from_millis(334));
    let just_before = start + wait - Duration::from_millis(1);
    assert!(!budget.withdraw_at(just_before));
    assert!(budget.withdraw_at(start + wait));
}

#[test]
fn wild_values_are_refused() {
    for wild in [-0.1, 1_000.1, f64::NAN, f64::INFINITY] {
        assert!(BudgetPolicy::new(wild, 1).is_err(), "{wild}");
    }
    assert!(BudgetPolicy::new(0.1, BudgetPolicy::MAX_CAPACITY).is_ok());
    assert!(BudgetPolicy::new(0.1, BudgetPolicy::MAX_CAPACITY + 1).is_err());
}

#[test]
fn a_policy_is_the_same_after_it_has_travelled() {
    let sent = serde_json::to_string(&BudgetPolicy::default()).unwrap();
    assert_eq!(
        sent,
        r#"{"per_success":0.2,"reserve_per_second":10,"capacity":100}"#
    );
    let received: BudgetPolicy = serde_json::from_str(&sent).unwrap();
    assert_eq!(received, BudgetPolicy::default());
    assert!(serde_json::from_str::<BudgetPolicy>(r#"{"per_success":-1,"capacity":1}"#).is_err());
}

#[cfg(not(loom))]
#[test]
fn threads_together_get_no_more_than_one_alone() {
    const THREADS: usize = 4;
    const EACH: usize = 5_000;
    let start = Instant::now();
    let policy = BudgetPolicy::new(0.25, 1_000).unwrap();
    let budget = RetryBudget::starting_at(policy, start);
    let (granted, barrier) = (AtomicU32::new(0), Barrier::new(THREADS));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                barrier.wait();
                for _ in 0..EACH {
                    if budget.withdraw_at(start) {
                        granted.fetch_add(1, Ordering::Relaxed);
                    }
                    budget.deposit_at(start);
                }
            });
        }
    });
    let granted = f64::from(granted.into_inner());
    let earned = 1_000.0 + (THREADS * EACH) as f64 * 0.25;
    // Nothing was ever above the capacity, so that every deposit is either spent or left.
    assert!(granted + budget.balance() <= earned);
    assert!(granted >= 1_000.0, "{granted}");
}

proptest! {
    #[test]
    fn the_budget_agrees_with_the_naive_model(
        policy in any_policy(),
        steps in proptest::collection::vec(any_step(), 0..200),
    ) {
        let start = Instant::now();
        let budget = RetryBudget::starting_at(policy, start);
        let capacity = i64::from(policy.capacity()) * 1_000;
        let (deposit, reserve) = ((policy.per_success() * 1_000.0).round() as i64, i64::from(policy.reserve_per_second()));
        let (mut now, mut tokens) = (0_u64, capacity);
        let (mut granted, mut successes) = (0_i64, 0_i64);
        for step in steps {
            let at = |ms| start + Duration::from_millis(ms);
            match step {
                Step::Wait(ms) => {
                    now += ms;
                    tokens = (tokens + ms as i64 * reserve).min(capacity);
                }
                Step::Deposit => {
                    budget.deposit_at(at(now));
                    tokens = (tokens + deposit).min(capacity);
                    successes += 1;
                }
                Step::Withdraw => {
                    let expected = tokens >= 1_000;
                    prop_assert_eq!(budget.withdraw_at(at(now)), expected);
                    if expected {
                        tokens -= 1_000;
                        granted += 1;
                    }
                }
            }
            prop_assert!(tokens >= 0 && budget.balance() >= 0.0);
            prop_assert!(granted * 1_000 <= capacity + successes * deposit + now as i64 * reserve);
        }
    }

    #[test]
    fn the_word_holds_every_state(tokens in 0..=BudgetPolicy::MAX_CAPACITY * RETRY, refilled_ms in 0..=TIME_MASK) {
        let bucket = Bucket { tokens, refilled_ms };
        prop_assert_eq!(Bucket::unpack(bucket.pack()), bucket);
    }
}

#[cfg(loom)]
#[test]
fn loom_two_threads_never_spend_the_same_retry_and_lose_no_deposit() {
    loom::model(|| {
        let start = Instant::now();
        let policy = BudgetPolicy::new(0.5, 1).unwrap();
        let budget = std::sync::Arc::new(RetryBudget::starting_at(policy, start));
        assert!(budget.withdraw_at(start));
        let use_it = move |budget: &RetryBudget| {
            budget.deposit_at(start);
            u32::from(budget.withdraw_at(start))
        };
        let other = {
            let budget = std::sync::Arc::clone(&budget);
            loom::thread::spawn(move || use_it(&budget))
        };
        let granted = use_it(&budget) + other.join().unwrap();
        // Two deposits of half a retry are one, whoever comes second.
        assert_eq!((granted, budget.balance()), (1, 0.0));
    });
}
