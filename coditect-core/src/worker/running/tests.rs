//! What is stopped, by whom, and what is remembered of it.

use coditect_dag::{Attempt, RunId, TaskId};

use super::*;

fn owner(partition: u8) -> QueueName {
    QueueName::new(format!("outcome.{partition}")).unwrap()
}

fn name(task: u32) -> AttemptName {
    AttemptName {
        owner: owner(0),
        attempt: AttemptId {
            run: RunId::from_uuid(uuid::Uuid::nil()),
            task: TaskId::new(task),
            attempt: Attempt::FIRST,
        },
    }
}

fn control(token: u64, stop: impl IntoIterator<Item = u32>) -> Control {
    Control {
        owner: owner(0),
        token,
        stop: stop.into_iter().map(|task| name(task).attempt).collect(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_an_attempt_stays_stoppable_when_the_other_has_ended() {
    let running = Arc::new(Running::default());
    let first = running.attempt(name(1), CancellationToken::new()).unwrap();
    let second = running.attempt(name(1), CancellationToken::new()).unwrap();
    drop(first);
    running.obey(&control(1, [1]));
    assert!(second.token.is_cancelled());
    drop(second);
    assert!(running.0.lock().attempts.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_stopped_does_not_begin_for_as_long_as_it_is_remembered() {
    let running = Arc::new(Running::default());
    running.obey(&control(1, 0..=10_000));
    let begins = |task| running.attempt(name(task), CancellationToken::new());
    assert!(
        begins(0).is_some(),
        "the oldest is forgotten for the newest"
    );
    assert!(begins(1).is_none() && begins(10_000).is_none());
    tokio::time::advance(STOPPED_FOR).await;
    running.obey(&control(1, [20_000]));
    assert!(begins(10_000).is_some());
    assert!(begins(20_000).is_none());
    let state = running.0.lock();
    assert_eq!(
        (state.stopped.names.len(), state.stopped.order.len()),
        (1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn an_absurd_token_fences_owners_out_for_a_while_and_not_for_ever() {
    let running = Arc::new(Running::default());
    running.obey(&control(u64::MAX, []));
    running.obey(&control(7, [1]));
    assert!(!running.is_stopped(&name(1)), "its sender seems replaced");
    tokio::time::advance(FENCED_FOR).await;
    running.obey(&control(7, [1]));
    assert!(running.is_stopped(&name(1)));
    running.obey(&control(6, [2]));
    assert!(!running.is_stopped(&name(2)));
}

#[tokio::test(start_paused = true)]
async fn only_its_own_owner_stops_an_attempt() {
    let running = Arc::new(Running::default());
    let attempt = running.attempt(name(1), CancellationToken::new()).unwrap();
    let mut of_another = control(u64::MAX, [1]);
    of_another.owner = owner(1);
    running.obey(&of_another);
    assert!(!attempt.token.is_cancelled() && !running.is_stopped(&name(1)));
    running.obey(&control(1, [1]));
    assert!(attempt.token.is_cancelled() && running.is_stopped(&name(1)));
}

#[tokio::test(start_paused = true)]
async fn owners_that_nobody_has_do_not_fill_the_memory() {
    let running = Arc::new(Running::default());
    for number in 0..3 * FENCES {
        let mut control = control(1, []);
        control.owner = QueueName::new(format!("forged.{number}")).unwrap();
        running.obey(&control);
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    assert!(running.0.lock().fences.len() <= FENCES);
}

#[tokio::test(start_paused = true)]
async fn what_begins_after_the_halt_is_told_to_stop_at_once() {
    let running = Arc::new(Running::default());
    let before = running.request(MessageId::new(), CancellationToken::new());
    let before = before.expect("somebody waits for it");
    running.halt();
    let after = running.attempt(name(1), CancellationToken::new()).unwrap();
    assert!(before.token.is_cancelled() && after.token.is_cancelled());
    drop(before);
    assert!(running.0.lock().requests.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_nobody_waits_for_is_stopped_or_does_not_begin() {
    let running = Arc::new(Running::default());
    let [known, coming, other] = std::array::from_fn(|_| MessageId::new());
    let begin = |id| running.request(id, CancellationToken::new());
    let (first, again) = (begin(known).unwrap(), begin(known).unwrap());
    let wanted = begin(other).unwrap();
    running.unwanted(&[known, coming]);
    assert!(first.token.is_cancelled() && again.token.is_cancelled());
    assert!(!wanted.token.is_cancelled());
    assert!(begin(coming).is_none() && begin(known).is_none());
    drop((first, again, wanted));
    assert!(running.0.lock().requests.is_empty());
}
