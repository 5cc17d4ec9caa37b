use super::*;
use crate::journal::PartitionCount;
use crate::journal::conformance::Subject;

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
