//! Many processes at once: what they do to a server that comes back, and what each says of it.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use coditect_registry::{Registry, View};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::support::*;

#[tokio::test]
async fn a_crowd_that_waits_for_the_server_does_not_come_all_at_once() {
    const PROCESSES: usize = 40;
    const BUCKET: Duration = Duration::from_millis(500);
    let Some(redis) = server().await else {
        return;
    };
    let (mut registries, mut views) = (Vec::new(), Vec::new());
    for _ in 0..PROCESSES {
        let registry = connect(redis.url()).await;
        views.push(View::follow(registry.clone()).await.unwrap());
        registries.push(registry);
    }
    redis.kill().await.unwrap();
    // In its place stands one that counts who comes.
    let counter = TcpListener::bind(redis.place()).await.unwrap();
    let begun = Instant::now();
    let (settled, end) = (
        begun + Duration::from_secs(4),
        begun + Duration::from_secs(9),
    );
    let mut buckets = [0_usize; 10];
    while let Ok(accepted) = timeout_at(end, counter.accept()).await {
        drop(accepted.unwrap());
        // At first all have noticed at once that the server is gone.
        if let Some(since) = Instant::now().checked_duration_since(settled) {
            let bucket = (since.as_millis() / BUCKET.as_millis()) as usize;
            buckets[bucket.min(9)] += 1;
        }
    }
    drop(counter);
    let (all, most) = (
        buckets.iter().sum::<usize>(),
        buckets.iter().max().copied().unwrap(),
    );
    println!("{PROCESSES} processes tried {all} times in 5 s, at most {most} in {BUCKET:?}");
    assert!(all >= PROCESSES, "they have given up: {all}");
    // Each has two connections, and waits one to two seconds between two attempts: a crowd in step would be twice as many.
    assert!(all <= PROCESSES * 2 * 6, "{all} attempts in 5 s");
    assert!(most <= PROCESSES * 3 / 2, "{most} at once: {buckets:?}");

    redis.restart().await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    for (registry, view) in registries.iter().zip(&views) {
        registry.register(record("back"), LONG).await.unwrap();
        while !view.is_current() || view.is_empty() {
            assert!(Instant::now() < deadline, "a view does not follow again");
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Counts the warnings that contain a text.
struct Warnings {
    about: &'static str,
    count: Arc<AtomicUsize>,
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, _: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, "{value:?} ").unwrap();
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        if message.0.contains(self.about) {
            self.count.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn what_is_unsafe_about_a_server_is_logged_once_however_often_it_is_connected_to() {
    let unsafe_policy = ["maxmemory-policy allkeys-lru"];
    let Some(redis) =
        coditect_harness::required(coditect_harness::Redis::private(&unsafe_policy)).await
    else {
        return;
    };
    let count = Arc::new(AtomicUsize::new(0));
    let warnings = Warnings {
        about: "maxmemory-policy is allkeys-lru",
        count: Arc::clone(&count),
    };
    let _guard = tracing::subscriber::set_default(warnings);
    let registry = connect(redis.url()).await;
    let registration = registry.register(record("writer"), LONG).await.unwrap();
    for _ in 0..3 {
        let killed = redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]).await;
        killed.unwrap();
        renew(&registry, &registration).await.unwrap();
    }
    redis.restart().await.unwrap();
    renew(&registry, &registration).await.unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 1);
}
