//! What every journal must do: one test for each rule of the contract of [`RunJournal`].
//!
//! A backend runs all of them with [`journal_conformance!`](crate::journal_conformance). Each test gets a
//! [`Subject`] of its own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::journal::{
    Batch, Error, ErrorKind, InboxEntry, Partition, PartitionLease, Record, RecordKind, RunJournal,
    Seq, Settlement, Submission, partition_of,
};
use crate::{Attempt, RunId, TaskId, Timestamp};

mod append;
mod event;
mod inbox;
mod life;
mod list;
mod moving;
mod ownership;
mod reading;
mod roster;

pub use append::*;
pub use event::*;
pub use inbox::*;
pub use life::*;
pub use list::*;
pub use moving::*;
pub use ownership::*;
pub use reading::*;
pub use roster::*;

/// The span of the leases that the suite claims; it sleeps a little longer than that to see them expire.
pub const TTL: Duration = Duration::from_secs(2);

/// Is a journal under test: empty, with at least two partitions.
#[derive(Clone)]
pub struct Subject {
    /// The journal.
    pub journal: Arc<dyn RunJournal>,
    /// The same runs as another process sees them; the same handle where there is but one process.
    pub other: Arc<dyn RunJournal>,
}

impl Subject {
    /// Tests a journal that lives in one process.
    #[must_use]
    pub fn new(journal: impl RunJournal) -> Self {
        let journal: Arc<dyn RunJournal> = Arc::new(journal);
        Self {
            other: Arc::clone(&journal),
            journal,
        }
    }

    /// Reads and takes over through a second handle on the same store.
    #[must_use]
    pub fn with_other(mut self, other: impl RunJournal) -> Self {
        self.other = Arc::new(other);
        self
    }

    async fn accept(&self) -> RunId {
        let submitted = self.journal.submit(submission()).await;
        submitted.expect("a run is accepted").run
    }

    /// Claims the partition of a run.
    async fn own(&self, run: RunId) -> PartitionLease {
        let claim = self.journal.claim(self.home(run), "first", TTL).await;
        claim
            .expect("a claim is answered")
            .expect("the partition is free")
    }

    /// Claims the partition of a run through the other handle.
    async fn take_over(&self, run: RunId) -> PartitionLease {
        let claim = self.other.claim(self.home(run), "second", TTL).await;
        claim
            .expect("a claim is answered")
            .expect("the partition is free")
    }

    fn home(&self, run: RunId) -> Partition {
        partition_of(run, self.journal.partitions())
    }

    async fn append(
        &self,
        lease: &PartitionLease,
        run: RunId,
        kinds: impl IntoIterator<Item = RecordKind>,
    ) -> Result<(), Error> {
        self.journal.append(lease, &mut batch(run, kinds)).await
    }

    async fn inbox(&self, lease: &PartitionLease) -> Vec<InboxEntry> {
        let entries = self.journal.inbox(lease, Seq::ZERO, usize::MAX).await;
        entries.expect("the inbox is read")
    }

    async fn log(&self, run: RunId) -> Vec<Record> {
        let log = self.other.load(run).await.expect("the run is loaded");
        log.expect("the run is known").tail
    }
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject").finish_non_exhaustive()
    }
}

fn submission() -> Submission {
    Submission::new(RunId::new(), "spec", Timestamp::from_millis(1))
}

fn batch(run: RunId, kinds: impl IntoIterator<Item = RecordKind>) -> Batch {
    let mut batch = Batch::new();
    for (kind, at) in kinds.into_iter().zip(1..) {
        batch.push(run, kind.at(Timestamp::from_millis(at)));
    }
    batch
}

fn dispatched(task: u32) -> RecordKind {
    RecordKind::Dispatched {
        task: TaskId::new(task),
        attempt: Attempt::FIRST,
        incarnation: None,
    }
}

fn succeeded(task: u32, output: &str) -> RecordKind {
    RecordKind::Succeeded {
        task: TaskId::new(task),
        attempt: Attempt::FIRST,
        output: Bytes::copy_from_slice(output.as_bytes()),
    }
}

fn settled(result: &str) -> RecordKind {
    RecordKind::Settled(Settlement::Succeeded {
        result: Bytes::copy_from_slice(result.as_bytes()),
    })
}

fn kinds(records: Vec<Record>) -> Vec<RecordKind> {
    records.into_iter().map(|record| record.kind).collect()
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Error>, kind: ErrorKind) {
    let error = result.expect_err("the request is refused");
    assert_eq!(error.kind(), kind, "{error}");
}

/// Instantiates the conformance suite of [`RunJournal`](crate::journal::RunJournal) for a backend.
///
/// Takes the attribute that makes an async function a test, and a function or closure that returns a
/// future of an empty [`Subject`](crate::journal::conformance::Subject). A journal that needs a server
/// takes `#[tokio::test]`: paused time would run away while the server answers.
///
/// # Examples
///
/// ```
/// use coditect_dag::journal::conformance::Subject;
/// use coditect_dag::journal::{MemoryConfig, MemoryJournal, PartitionCount};
///
/// # #[allow(dead_code)]
/// async fn subject() -> Subject {
///     let count = PartitionCount::new(4).expect("four is not zero");
///     Subject::new(MemoryJournal::new(MemoryConfig::default().with_partitions(count)))
/// }
///
/// coditect_dag::journal_conformance!(#[tokio::test(start_paused = true)] subject);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! journal_conformance {
    (# $test:tt $factory:expr) => {
        $crate::journal_conformance!(@each $test [$factory]
            r1_an_accepted_run_waits_without_an_owner
            r2_submitting_a_run_again_is_harmless
            r2_one_key_is_one_run_also_concurrently
            r2_tenants_do_not_share_keys_or_runs
            r3_entries_wait_until_an_append_consumes_them
            r3_entries_come_in_order_and_in_pages
            r4_a_command_reaches_the_inbox_of_a_known_run_only
            r4_every_command_comes_as_it_was_sent
            r5_a_partition_has_one_owner
            r6_a_lease_expires_and_can_be_released
            r7_tokens_grow_and_start_from_server_time
            r8_renewal_extends_until_somebody_else_claims
            r9_a_refused_batch_changes_nothing_and_stays_whole
            r9_an_accepted_batch_is_whole_and_leaves_it_empty
            r10_records_keep_their_order
            r10_the_life_of_a_run_comes_back_as_it_was_written
            r11_a_stale_token_writes_nothing
            r11_a_released_lease_writes_nothing
            r12_what_does_not_belong_is_refused
            r13_a_settled_run_takes_nothing_but_a_redrive
            r13_a_retry_opens_a_settled_run
            r14_a_commit_is_seen_everywhere
            r15_a_load_is_the_snapshot_and_what_follows
            r15_a_snapshot_outside_of_the_log_is_refused
            r16_outputs_outlive_snapshots_and_the_latest_counts
            r17_open_runs_and_inbox_name_each_run_once
            r18_a_list_meets_every_condition
            r18_a_list_is_of_an_age
            r18_a_list_has_pages
            r18_a_paused_run_is_listed_as_paused
            r18_a_run_that_starts_later_is_listed_as_scheduled
            r19_events_have_no_gaps
            r19_events_behind_a_snapshot_are_kept_or_counted
            r20_watches_see_a_run_settle
            r20_watches_of_a_state_see_it_left
            r20_a_run_may_be_watched_before_it_is_submitted
            r20_watches_see_arrivals_in_the_inbox
            r21_an_imported_run_is_the_one_it_was
            r21_an_open_run_is_gone_on_with
            r21_what_is_known_stays_as_it_is
            r22_members_are_there_until_they_leave_or_fall_silent
            r22_a_former_member_may_come_back
            r23_the_roster_names_the_owner_of_every_partition
            r24_a_hand_over_is_told_to_the_next_owner_alone
            r24_a_stale_lease_hands_nothing_over
            r25_watches_see_who_comes_and_leaves
            r25_watches_see_partitions_come_and_go
        );
    };
    (@each $test:tt $factory:tt $($rule:ident)*) => {
        $($crate::journal_conformance!(@one $test $factory $rule);)*
    };
    (@one $test:tt [$factory:expr] $rule:ident) => {
        # $test
        async fn $rule() {
            let subject = ($factory)().await;
            $crate::journal::conformance::$rule(subject).await;
        }
    };
}
