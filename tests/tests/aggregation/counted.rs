//! Votes and quorums against a naive count, whatever comes in whatever order.

use coditect_core::prelude::*;
use coditect_core::{Dispatch, Error};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use crate::stage::within;

/// What a task does: it votes, or it fails.
const VOTE: Call<Option<u8>, u8> = Call::new("vote");

fn votes() -> impl Strategy<Value = Vec<Option<u8>>> {
    proptest::collection::vec(proptest::option::weighted(0.8, 0_u8..3), 0..12)
}

fn run<T: Send + serde::de::DeserializeOwned + 'static>(
    votes: &[Option<u8>],
    slots: usize,
    dispatch: Dispatch,
    aggregation: Aggregation<u8, T>,
) -> Result<Result<T, Error>, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime can be built");
    runtime.block_on(async {
        let vote = async |vote: Option<u8>| vote.ok_or_else(|| AgentError::permanent("no vote"));
        let runtime = Runtime::builder()
            .agent(agent("vote", vote).with_concurrency(slots))
            .dispatch(dispatch)
            .partitions(1)
            .start()
            .await?;
        let mut plan = Plan::builder();
        let tasks: Vec<_> = votes
            .iter()
            .enumerate()
            .map(|(key, vote)| plan.task(format!("{key}"), &VOTE, *vote))
            .collect();
        let run = runtime
            .submit_plan(plan.aggregate(aggregation, tasks)?)
            .await?;
        let result = within(run.result()).await;
        runtime.shutdown().await?;
        Ok(result)
    })
}

fn check<T: std::fmt::Debug + PartialEq>(
    result: Result<Result<T, Error>, Error>,
    naive: Option<T>,
) -> TestCaseResult {
    let result = result.map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
    if let Err(error) = &result {
        prop_assert!(error.failure().is_some(), "{error:?}");
    }
    prop_assert_eq!(result.ok(), naive);
    Ok(())
}

fn dispatch() -> impl Strategy<Value = Dispatch> {
    prop_oneof![Just(Dispatch::LocalOnly), Just(Dispatch::Bus)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_majority_is_what_counting_says(votes in votes(), slots in 1_usize..5, dispatch in dispatch()) {
        let naive = (0_u8..3).find(|choice| {
            votes.iter().filter(|vote| **vote == Some(*choice)).count() * 2 > votes.len()
        });
        check(run(&votes, slots, dispatch, majority_vote()), naive)?;
    }

    #[test]
    fn a_quorum_is_what_counting_says(
        votes in votes(),
        needed in 0_usize..6,
        slots in 1_usize..5,
        dispatch in dispatch(),
    ) {
        let cast: Vec<_> = votes.iter().flatten().copied().collect();
        let result = run(&votes, slots, dispatch, quorum(needed));
        let result = result.map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
        match result {
            Err(error) => {
                prop_assert!(cast.len() < needed, "{error:?}");
                prop_assert!(error.failure().is_some(), "{error:?}");
            }
            Ok(taken) => {
                prop_assert!(cast.len() >= needed);
                prop_assert!(taken.len() >= needed.min(votes.len()) && taken.len() <= cast.len());
                // What was taken is among what was cast, in the order of the plan.
                let mut left = cast.iter();
                prop_assert!(taken.iter().all(|vote| left.any(|cast| cast == vote)), "{taken:?} of {cast:?}");
            }
        }
    }

    #[test]
    fn what_succeeded_is_what_counting_says(votes in votes(), slots in 1_usize..5, dispatch in dispatch()) {
        let cast: Vec<_> = votes.iter().flatten().copied().collect();
        let all = (cast.len() == votes.len()).then(|| cast.clone());
        check(run(&votes, slots, dispatch, collect_succeeded()), Some(cast))?;
        check(run(&votes, slots, dispatch, collect_all()), all)?;
    }
}
