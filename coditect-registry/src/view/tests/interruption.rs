//! A view outlives its watch: it goes on with what it knows, says so, and follows again.

use std::sync::atomic::AtomicUsize;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::*;
use crate::{Change, Error, ErrorKind, Event, Filter, Registration, Watch};

/// A registry of which only the watch works, and that as the test wants it.
#[derive(Debug, Default)]
pub(super) struct Scripted {
    watches: Mutex<Vec<mpsc::Receiver<Event>>>,
    asked: AtomicUsize,
}

impl Scripted {
    /// Prepares the next watch and returns its other end.
    pub(super) fn prepare(&self) -> mpsc::Sender<Event> {
        let (sender, receiver) = mpsc::channel(16);
        self.watches.lock().insert(0, receiver);
        sender
    }
}

#[async_trait]
impl Registry for Scripted {
    async fn register(&self, _: AgentRecord, _: Duration) -> Result<Registration> {
        Err(Error::new(ErrorKind::Unavailable, "not part of the script"))
    }

    async fn renew(&self, _: &Registration, _: Load, _: Health) -> Result<()> {
        Err(Error::new(ErrorKind::Unavailable, "not part of the script"))
    }

    async fn update(&self, _: &Registration, _: AgentRecord) -> Result<()> {
        Err(Error::new(ErrorKind::Unavailable, "not part of the script"))
    }

    async fn judge(&self, _: &crate::Instance, _: Option<crate::Verdict>) -> Result<()> {
        Err(Error::new(ErrorKind::Unavailable, "not part of the script"))
    }

    async fn elect(
        &self,
        _: &crate::Role,
        _: crate::Incarnation,
        _: Duration,
    ) -> Result<Option<crate::FencingToken>> {
        Err(Error::new(ErrorKind::Unavailable, "not part of the script"))
    }

    async fn resign(&self, _: &crate::Role, _: crate::Incarnation) -> Result<()> {
        Err(Error::new(ErrorKind::Unavailable, "not part of the script"))
    }

    async fn deregister(&self, _: &Registration) -> Result<()> {
        Err(Error::new(ErrorKind::Unavailable, "not part of the script"))
    }

    async fn list(&self, _: &Filter) -> Result<Vec<Arc<AgentRecord>>> {
        Err(Error::new(ErrorKind::Unavailable, "not part of the script"))
    }

    async fn watch(&self) -> Result<Watch> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let receiver = self
            .watches
            .lock()
            .pop()
            .ok_or_else(|| Error::new(ErrorKind::Unavailable, "no connection"))?;
        Ok(Watch::new(futures::stream::unfold(
            receiver,
            |mut receiver| async { receiver.recv().await.map(|event| (event, receiver)) },
        )))
    }
}

#[derive(Debug, Default)]
struct Interruptions(AtomicUsize);

impl Observer for Interruptions {
    fn interrupted(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn resync(sequence: u64, agents: &[&str]) -> Event {
    let records = agents
        .iter()
        .map(|agent| Arc::new(record(agent, &["1.0.0"])))
        .collect();
    Event {
        sequence,
        change: Change::Resync(records),
    }
}

fn added(sequence: u64, agent: &str) -> Event {
    Event {
        sequence,
        change: Change::Added(Arc::new(record(agent, &["1.0.0"]))),
    }
}

pub(super) async fn until(done: impl Fn() -> bool) {
    while !done() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_view_goes_on_with_what_it_knows_and_follows_again() {
    let (registry, interruptions) = (
        Arc::new(Scripted::default()),
        Arc::new(Interruptions::default()),
    );
    let first = registry.prepare();
    first.send(resync(7, &["a"])).await.unwrap();
    let view = View::follow_observed(Arc::clone(&registry) as _, Arc::clone(&interruptions) as _)
        .await
        .unwrap();
    assert!(view.is_current());

    drop(first);
    until(|| !view.is_current()).await;
    assert_eq!(
        name(view.pick(&work("*"), &RoundRobin, 0)).as_deref(),
        Some("a")
    );
    // It asks again and again, although nothing answers for an hour.
    tokio::time::timeout(Duration::from_secs(3600), view.changed())
        .await
        .unwrap_err();
    assert!(
        (700..1500).contains(&registry.asked.load(Ordering::Relaxed)),
        "{:?}",
        registry.asked
    );

    let second = registry.prepare();
    second.send(resync(2, &["b"])).await.unwrap();
    view.changed().await;
    assert!(view.is_current());
    assert_eq!(
        name(view.pick(&work("*"), &RoundRobin, 0)).as_deref(),
        Some("b")
    );
    assert_eq!(interruptions.0.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_skipped_number_makes_it_start_over() {
    let registry = Arc::new(Scripted::default());
    let first = registry.prepare();
    first.send(resync(1, &["a"])).await.unwrap();
    let view = View::builder()
        .with_grace(Duration::ZERO)
        .follow(Arc::clone(&registry) as _)
        .await
        .unwrap();
    let second = registry.prepare();
    second.send(resync(5, &["a", "b", "c", "d"])).await.unwrap();
    first.send(added(2, "b")).await.unwrap();
    first.send(added(4, "d")).await.unwrap();
    // The view waits a moment before it watches again, and paused time passes only while nothing is to do.
    while view.len() != 4 {
        view.changed().await;
    }
    assert_eq!(view.sequence(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_does_not_begin_with_a_resync_is_an_error() {
    let registry = Arc::new(Scripted::default());
    registry.prepare().send(added(1, "a")).await.unwrap();
    let error = View::follow(Arc::clone(&registry) as _).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(
        View::follow(registry).await.unwrap_err().to_string(),
        "no connection"
    );
}

#[tokio::test(start_paused = true)]
async fn following_ends_with_the_last_handle_or_when_closed() {
    let registry = Arc::new(Scripted::default());
    let sender = registry.prepare();
    sender.send(resync(1, &["a"])).await.unwrap();
    let view = View::follow(Arc::clone(&registry) as _).await.unwrap();
    let other = view.clone();
    drop(view);
    sender.send(added(2, "b")).await.unwrap();
    until(|| other.len() == 2).await;
    drop(other);
    sender.closed().await;

    let sender = registry.prepare();
    sender.send(resync(1, &["a"])).await.unwrap();
    let view = View::follow(Arc::clone(&registry) as _).await.unwrap();
    view.close().await;
    assert!(sender.is_closed() && !view.is_current());
    assert_eq!(view.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_change_misses_none_between_the_call_and_the_await() {
    let (registry, view) = following().await;
    let changed = view.changed();
    registry
        .register(record("a", &["1.0.0"]), TTL)
        .await
        .unwrap();
    until(|| view.len() == 1).await;
    tokio::time::timeout(TTL / 2, changed)
        .await
        .expect("the change was missed");
}
