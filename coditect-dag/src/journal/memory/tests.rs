//! The contract, retention, and two owners at odds.

use super::*;
use crate::Timestamp;
use crate::journal::conformance::Subject;
use crate::journal::{PartitionCount, RecordKind, RunJournal, Settlement};

mod owners;
mod retention;

async fn subject() -> Subject {
    let count = PartitionCount::new(4).unwrap();
    Subject::new(MemoryJournal::new(
        MemoryConfig::default().with_partitions(count),
    ))
}

mod rules {
    crate::journal_conformance!(
        #[tokio::test(start_paused = true)]
        super::subject
    );
}

mod rules_without_events_behind_snapshots {
    use super::*;

    async fn subject() -> Subject {
        let count = PartitionCount::new(4).unwrap();
        let config = MemoryConfig::default().with_partitions(count);
        Subject::new(MemoryJournal::new(config.with_events_behind_snapshot(0)))
    }

    crate::journal_conformance!(
        #[tokio::test(start_paused = true)]
        subject
    );
}

fn settled() -> RecordKind {
    RecordKind::Settled(Settlement::Cancelled {
        reason: "test".into(),
    })
}
