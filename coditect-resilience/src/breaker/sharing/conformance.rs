//! The contract of [`BreakerStore`], rule by rule, for any implementation.
//!
//! ```
//! use std::sync::Arc;
//! use coditect_resilience::{MemoryBreakerStore, breaker::sharing::conformance};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! conformance::all(async || Arc::new(MemoryBreakerStore::new()) as _).await;
//! # }
//! ```

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::store::{BreakerNotice, BreakerStore, Finding};

/// Longer than any test lasts.
const LONG: Duration = Duration::from_secs(600);

/// Holds an implementation to every rule, each on an empty store.
///
/// # Panics
///
/// If a rule is broken.
pub async fn all(empty: impl AsyncFn() -> Arc<dyn BreakerStore>) {
    r1_what_was_published_is_read(&*empty().await).await;
    r2_a_notice_replaces_the_one_before(&*empty().await).await;
    r3_a_notice_vanishes_when_its_time_is_over(&*empty().await).await;
    r4_a_notice_is_read_with_what_is_left(&*empty().await).await;
    r5_no_more_than_the_limit_is_read(&*empty().await).await;
}

fn notice(name: &str, sequence: u64, finding: Finding, left: Duration) -> BreakerNotice {
    BreakerNotice {
        name: name.into(),
        origin: 7,
        sequence,
        finding,
        left,
    }
}

async fn read(store: &dyn BreakerStore, limit: usize) -> Vec<BreakerNotice> {
    let mut notices = store.notices(limit).await.expect("the store answers");
    notices.sort_by(|one, other| one.name.cmp(&other.name));
    notices
}

async fn publish(store: &dyn BreakerStore, notice: BreakerNotice) {
    store.publish(&notice).await.expect("the store answers");
}

/// R1: what was published is read by all who ask after that.
///
/// # Panics
///
/// If the rule is broken.
pub async fn r1_what_was_published_is_read(store: &dyn BreakerStore) {
    assert!(read(store, 10).await.is_empty(), "the store is not empty");
    // A name is any text.
    let names = ["", "a b/c:d*?[x]\r\n", "ä€🙂"];
    for (i, name) in names.into_iter().enumerate() {
        let finding = [Finding::Open, Finding::Closed][i % 2];
        publish(store, notice(name, i as u64, finding, LONG)).await;
    }
    let notices = read(store, 10).await;
    let found: Vec<_> = notices.iter().map(|notice| notice.name.as_str()).collect();
    assert_eq!(found, names);
    for (i, notice) in notices.iter().enumerate() {
        assert_eq!((notice.origin, notice.sequence), (7, i as u64));
        assert_eq!(notice.finding, [Finding::Open, Finding::Closed][i % 2]);
    }
}

/// R2: a notice replaces the one before it under the same name.
///
/// # Panics
///
/// If the rule is broken.
pub async fn r2_a_notice_replaces_the_one_before(store: &dyn BreakerStore) {
    publish(store, notice("a", 9, Finding::Open, LONG)).await;
    let later = BreakerNotice {
        origin: 8,
        ..notice("a", 1, Finding::Closed, LONG)
    };
    publish(store, later).await;
    let notices = read(store, 10).await;
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert_eq!(
        (notices[0].origin, notices[0].finding),
        (8, Finding::Closed)
    );
}

/// R3: a notice vanishes once its time has passed.
///
/// # Panics
///
/// If the rule is broken.
pub async fn r3_a_notice_vanishes_when_its_time_is_over(store: &dyn BreakerStore) {
    publish(store, notice("long", 1, Finding::Open, LONG)).await;
    let short = Duration::from_millis(50);
    publish(store, notice("short", 2, Finding::Open, short)).await;
    sleep(short * 2).await;
    let notices = read(store, 10).await;
    assert!(
        notices.len() == 1 && notices[0].name == "long",
        "{notices:?}"
    );
}

/// R4: a notice is read with what is left of its time.
///
/// # Panics
///
/// If the rule is broken.
pub async fn r4_a_notice_is_read_with_what_is_left(store: &dyn BreakerStore) {
    publish(store, notice("a", 1, Finding::Open, LONG)).await;
    let passed = Duration::from_millis(60);
    sleep(passed).await;
    let left = read(store, 10).await[0].left;
    assert!(
        left <= LONG - passed / 2 && left > LONG / 2,
        "{left:?} of {LONG:?}"
    );
}

/// R5: no more than the limit is read at once.
///
/// # Panics
///
/// If the rule is broken.
pub async fn r5_no_more_than_the_limit_is_read(store: &dyn BreakerStore) {
    for i in 0..20 {
        publish(store, notice(&i.to_string(), i, Finding::Open, LONG)).await;
    }
    assert_eq!(read(store, 5).await.len(), 5);
    assert_eq!(read(store, 100).await.len(), 20);
}
