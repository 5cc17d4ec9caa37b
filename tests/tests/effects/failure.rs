//! What an irreversible handler says itself: which failures leave it open what it has done.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::{EffectClass, Error, FailureKind};

use crate::stage::{Count, Notes, Shared, failure, within};
use crate::{PAY, assert_parked, history, parked};

/// What an attempt comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Fail,
    FailBefore,
    FailForGood,
    Panic,
    Dawdle,
    Answer,
}

/// A runtime whose agent does one act after the other, and notes the key that it is handed.
async fn acting(
    shared: &Shared,
    acts: &'static [Act],
    keys: &Notes<String>,
) -> Result<Runtime, Error> {
    let (calls, keys) = (Count::default(), keys.clone());
    let act = move |context: TaskContext, x: u64| {
        let act = acts[calls.add() - 1];
        keys.push(context.idempotency_key());
        async move {
            match act {
                Act::Fail => Err(AgentError::retryable("who knows")),
                Act::FailBefore => Err(AgentError::retryable("not yet").before_effect()),
                Act::FailForGood => Err(AgentError::permanent("never")),
                Act::Panic => panic!("it breaks"),
                Act::Dawdle => {
                    context.cancelled().await;
                    Ok(x)
                }
                Act::Answer => Ok(x + 1),
            }
        }
    };
    let agent = agent("pay", act)
        .with_effect(EffectClass::Irreversible)
        .with_breaker(None)
        .with_card_timeout();
    shared.runtime().agent(agent).start().await
}

/// Sets a timeout, which functions have no method for.
trait WithTimeout: Sized {
    fn with_card_timeout(self) -> Self;
}

impl<F, Args> WithTimeout for coditect_core::FnAgent<F, Args> {
    fn with_card_timeout(self) -> Self {
        let card = AgentCard::new("pay")
            .with_effect(EffectClass::Irreversible)
            .with_breaker(None)
            .with_timeout(Duration::from_secs(5));
        self.with_card(card)
    }
}

#[tokio::test(start_paused = true)]
async fn what_leaves_it_open_is_parked_with_its_reason() -> Result<(), Error> {
    let cases: [(&'static [Act], &str); 3] = [
        (&[Act::Fail], "who knows"),
        (&[Act::Panic], "it breaks"),
        (&[Act::Dawdle], "longer than 5s"),
    ];
    for (acts, words) in cases {
        let (shared, keys) = (Shared::new(), Notes::new());
        let runtime = acting(&shared, acts, &keys).await?;
        let run = runtime.submit(&PAY, 1).await?;
        let mut events = run.events().await?;
        let reason = parked(&mut events).await?;
        assert!(reason.contains(words), "{reason}");
        // No retry policy moves it.
        tokio::time::sleep(Duration::from_secs(900)).await;
        assert_parked(&run, &reason).await?;
        assert_eq!(keys.all().len(), 1);
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_failed_before_its_effect_is_tried_again_under_the_same_key() -> Result<(), Error> {
    let (shared, keys) = (Shared::new(), Notes::new());
    let acts = &[Act::FailBefore, Act::FailBefore, Act::Answer];
    let runtime = acting(&shared, acts, &keys).await?;
    let run = runtime.submit(&PAY, 1).await?;
    assert_eq!(within(run.result()).await?, 2);
    let whole = [
        ["dispatched", "granted", "failed"],
        ["dispatched", "granted", "failed"],
        ["dispatched", "granted", "succeeded"],
    ];
    assert_eq!(history(&shared, run.id()).await, whole.concat());
    let keys = keys.all();
    assert_eq!(keys.len(), 3);
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn what_failed_for_good_fails_and_is_not_parked() -> Result<(), Error> {
    let (shared, keys) = (Shared::new(), Notes::new());
    let runtime = acting(&shared, &[Act::FailForGood], &keys).await?;
    let run = runtime.submit(&PAY, 1).await?;
    let failed = failure(within(run.result()).await);
    assert_eq!(failed.kind, FailureKind::Permanent);
    let whole = ["dispatched", "granted", "failed"];
    assert_eq!(history(&shared, run.id()).await, whole);
    runtime.shutdown().await
}
