//! How long a view is chosen from while its registry cannot be reached.

use super::interruption::{Scripted, until};
use super::*;
use crate::{Change, Event};

fn resync(records: &[AgentRecord]) -> Event {
    let records = records.iter().cloned().map(Arc::new).collect();
    Event {
        sequence: 1,
        change: Change::Resync(records),
    }
}

async fn stale(limit: Option<Duration>) -> (Arc<Scripted>, View, AgentRecord) {
    let (registry, known) = (Arc::new(Scripted::default()), record("a", &["1.0.0"]));
    let first = registry.prepare();
    first
        .send(resync(std::slice::from_ref(&known)))
        .await
        .unwrap();
    let view = View::builder()
        .with_stale_limit(limit)
        .follow(Arc::clone(&registry) as _)
        .await
        .unwrap();
    assert_eq!((view.is_stale(), view.stale_since()), (false, None));
    drop(first);
    until(|| view.is_stale()).await;
    (registry, view, known)
}

#[tokio::test(start_paused = true)]
async fn after_the_limit_picks_give_nothing_until_the_registry_is_back() {
    let (registry, view, known) = stale(Some(Duration::from_secs(60))).await;
    let since = view.stale_since().unwrap();
    let in_flight = view.pick(&work("*"), &RoundRobin, 0).unwrap();
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(view.pick(&work("*"), &RoundRobin, 0).is_some());
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(view.is_expired(Instant::now()) && view.stale_since() == Some(since));
    assert!(view.pick(&work("*"), &RoundRobin, 0).is_none());
    // What is known is told all the same.
    assert!(view.offers(&work("*")) && view.len() == 1);

    let again = registry.prepare();
    again.send(resync(&[known])).await.unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(!view.is_stale() && !view.is_expired(Instant::now()));
    let next = view.pick(&work("*"), &RoundRobin, 0).unwrap();
    assert_eq!(
        next.candidate().own_in_flight(),
        2,
        "what was in flight still counts"
    );
    drop(in_flight);
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_it_is_chosen_from_for_ever() {
    let (_registry, view, _) = stale(None).await;
    tokio::time::advance(Duration::from_secs(7 * 24 * 3600)).await;
    assert!(view.is_stale() && !view.is_expired(Instant::now()));
    assert!(view.pick(&work("*"), &RoundRobin, 0).is_some());
}
