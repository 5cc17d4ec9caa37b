//! The durable log of runs, and who may write it.
//!
//! A run belongs to one of a fixed number of partitions. Anybody may submit runs, send commands and
//! read; what arrives waits in the partition's inbox. One process at a time owns a partition, under a
//! [`PartitionLease`], and it alone appends to the logs of its runs. Its schedulers live in its memory;
//! whoever takes the partition over replays them from here.
//!
//! ```
//! use std::time::Duration;
//!
//! use coditect_dag::journal::{
//!     Batch, Error, MemoryJournal, RecordKind, RunJournal, Seq, Settlement, Submission, partition_of,
//! };
//! use coditect_dag::{RunId, Timestamp};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! let journal = MemoryJournal::default();
//! let now = Timestamp::from(std::time::SystemTime::now());
//!
//! // Somebody submits a run. Watching before reading misses nothing.
//! let run = RunId::new();
//! let mut watch = journal.watch(run).await?;
//! journal.submit(Submission::new(run, r#"{"task":"audit"}"#, now)).await?;
//!
//! // Somebody owns the run's partition, takes the run in, and ends it.
//! let partition = partition_of(run, journal.partitions());
//! let claimed = journal.claim(partition, "coordinator-1", Duration::from_secs(10)).await?;
//! let lease = claimed.expect("nobody else owns the partition");
//! let mut batch = Batch::new();
//! for entry in journal.inbox(&lease, Seq::ZERO, 100).await? {
//!     batch.consume(entry.seq);
//!     batch.push(entry.run, RecordKind::Started.at(now));
//! }
//! let settlement = Settlement::Succeeded { result: "42".into() };
//! batch.push(run, RecordKind::Settled(settlement).at(now));
//! journal.append(&lease, &mut batch).await?;
//!
//! watch.changed().await;
//! let summary = journal.run(run).await?.expect("a settled run is kept for a while");
//! assert_eq!(summary.result().map(|result| &result[..]), Some(&b"42"[..]));
//! # Ok(())
//! # }
//! ```

#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
mod error;
mod inbox;
mod memory;
mod partition;
#[cfg(feature = "persistent")]
mod persistent;
mod port;
mod record;
mod roster;
mod run;
mod text;
mod watch;

pub use error::{Error, ErrorKind};
pub use inbox::{Batch, Command, InboxEntry, Request};
pub use memory::{MemoryConfig, MemoryJournal};
pub use partition::{FencingToken, Partition, PartitionCount, PartitionLease, partition_of};
#[cfg(feature = "persistent")]
pub use persistent::{Belonging, RunArchive, StoreJournal, StoreJournalConfig};
pub use port::RunJournal;
pub use record::{Record, RecordKind, Seq, Settlement};
pub use roster::Roster;
pub use run::{
    DEFAULT_TENANT, EventPage, PARENT_LABEL, RunCounts, RunFilter, RunLog, RunState, RunSummary,
    Submission, Submitted,
};
pub use watch::{Hint, Watch};
