//! The contract of [`StateStore`], as tests: one function per rule, for every backend.
//!
//! A backend calls [`conformance_tests!`](crate::conformance_tests) with a way to make an empty store, and gets a test
//! named after each rule. The crate that calls it needs `tokio` with the features `macros` and `rt-multi-thread`.
//!
//! ```
//! mod conformance {
//!     use std::sync::Arc;
//!     use coditect_state::MemoryStore;
//!
//!     coditect_state::conformance_tests!(async { Arc::new(MemoryStore::new()) });
//! }
//! ```

mod commit;
mod conflict;
mod limit;
pub(crate) mod random;
mod read;
mod serial;
mod watching;

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

pub use self::commit::*;
pub use self::conflict::*;
pub use self::limit::*;
pub use self::read::*;
pub use self::serial::{every_history_is_serial, history_is_serial};
pub use self::watching::*;
use crate::error::{Error, ErrorKind, Result};
use crate::store::StateStore;
use crate::transaction::Transaction;
use crate::version::CommitVersion;

/// Makes a `#[tokio::test]` of each rule, over an expression that is a future of an empty store in an `Arc`.
#[macro_export]
macro_rules! conformance_tests {
    ($store:expr) => {
        $crate::conformance_tests! { @each $store;
            r1_unset_is_none_and_committed_is_read
            r2_own_writes_are_read_back
            r2_own_writes_are_in_ranges
            r3_dropped_transaction_changes_nothing
            r4_reads_see_one_state
            r5_lost_update_conflicts
            r5_failed_commit_changes_nothing
            r6_write_skew_conflicts
            r6_absence_that_was_read_is_guarded
            r7_phantom_conflicts
            r7_key_cleared_in_range_conflicts
            r7_only_what_the_page_covered_conflicts
            r8_snapshot_reads_do_not_conflict
            r8_snapshot_reads_see_own_writes_and_one_state
            r9_blind_writes_do_not_conflict
            r9_read_only_transactions_do_not_conflict
            r10_ranges_are_ordered_both_ways
            r10_pages_neither_repeat_nor_leave_out
            r11_clear_range_keeps_its_end
            r11_later_writes_win
            r12_sizes_up_to_the_limit_are_taken
            r12_larger_keys_and_values_are_refused
            r12_larger_transactions_are_refused
            r13_compare_and_set_compares
            r13_one_of_racing_compare_and_sets_wins
            r14_commit_versions_grow
            r15_stamped_keys_are_in_commit_order
            r15_stamped_values_carry_the_commit
            r15_stamps_wait_for_the_commit
            r16_watch_fires_on_change
            r16_a_reported_change_can_be_read
            r16_change_between_watch_and_wait_is_not_lost
            r16_watch_fires_on_cleared_range_and_stamped_value
            r17_any_bytes_are_keys_and_values
            r17_system_keys_are_refused
            r18_now_does_not_run_backwards
            every_history_is_serial
        }
    };
    (@each $store:expr; $($rule:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $rule() -> $crate::Result<()> {
            let store = $store.await;
            $crate::conformance::$rule(&*store).await
        }
    )*};
}

/// Longer than any answer of a working store takes.
const PATIENCE: Duration = Duration::from_secs(30);

async fn patiently<T>(what: &str, future: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| {
        Error::new(
            ErrorKind::Unavailable,
            format!("{what} took longer than {PATIENCE:?}"),
        )
    };
    tokio::time::timeout(PATIENCE, future).await.map_err(late)?
}

async fn put(store: &dyn StateStore, entries: &[(&str, &str)]) -> Result<CommitVersion> {
    let mut tx = store.begin().await?;
    for (key, value) in entries {
        tx.set(key.as_bytes(), value.to_string().into())?;
    }
    tx.commit().await
}

async fn read(store: &dyn StateStore, key: &str) -> Result<Option<String>> {
    get(&mut *store.begin().await?, key).await
}

async fn get(tx: &mut dyn Transaction, key: &str) -> Result<Option<String>> {
    Ok(tx.get(key.as_bytes()).await?.map(|value| text(&value)))
}

fn set(tx: &mut dyn Transaction, key: &str, value: &str) -> Result<()> {
    tx.set(key.as_bytes(), Bytes::copy_from_slice(value.as_bytes()))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn assert_kind<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind, what: &str) {
    match result {
        Err(error) => assert_eq!(error.kind(), kind, "{what}: {error}"),
        Ok(value) => panic!("{what}: {value:?} instead of an error of kind {kind:?}"),
    }
}

#[track_caller]
fn assert_conflict<T: std::fmt::Debug>(result: Result<T>, what: &str) {
    assert_kind(result, ErrorKind::Conflict, what);
}
