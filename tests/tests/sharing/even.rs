//! From one coordinator to three and back: shares are even at each step, long before any lease ends.

use std::sync::Arc;
use std::time::Duration;

use coditect_core::dag::journal::RunJournal;
use coditect_core::{Error, Roster, RuntimeBuilder};
use tokio::time::{Instant, sleep, timeout};

use crate::stage::Shared;

/// So long that nothing in these tests can have waited for the end of one.
pub(crate) const LEASE: Duration = Duration::from_secs(600);
/// Within which partitions must be where they belong: before anybody looks who is not called.
pub(crate) const SOON: Duration = Duration::from_secs(4);

pub(crate) fn coordinator(shared: &Shared) -> RuntimeBuilder {
    shared.runtime().leases(LEASE, Duration::from_secs(2))
}

/// Waits until so many coordinators own all partitions evenly.
pub(crate) async fn even(journal: &Arc<dyn RunJournal>, coordinators: usize) -> Roster {
    let watching = async {
        let mut watch = journal.watch_roster().await.expect("a watch");
        loop {
            let roster = journal.roster().await.expect("a roster");
            if is_even(&roster, coordinators) {
                return roster;
            }
            watch.changed().await;
        }
    };
    let Ok(roster) = timeout(SOON, watching).await else {
        let roster = journal.roster().await.expect("a roster");
        panic!("{coordinators} coordinators do not share evenly: {roster:#?}");
    };
    roster
}

pub(crate) fn is_even(roster: &Roster, coordinators: usize) -> bool {
    let partitions = roster.owners().count();
    let fair = partitions / coordinators..=partitions.div_ceil(coordinators);
    let mut counts = roster.members().map(|member| roster.count(member));
    roster.members().len() == coordinators
        && roster.unowned().count() == 0
        && counts.all(|count| fair.contains(&count))
}

#[tokio::test(start_paused = true)]
async fn shares_are_even_at_each_step_from_one_to_three_and_back() -> Result<(), Error> {
    for partitions in [1, 3, 7, 16, 64] {
        let shared = Shared::new().with_partitions(partitions);
        let mut running = Vec::new();
        for coordinators in 1..=3 {
            running.push(coordinator(&shared).start().await?);
            even(&shared.journal, coordinators).await;
        }
        let roster = shared.journal.roster().await?;
        for runtime in &running {
            // A partition is told to be owned a moment after its claim.
            let own = async {
                while runtime.own_partitions().is_empty() && partitions >= 3 {
                    sleep(Duration::from_millis(1)).await;
                }
            };
            timeout(SOON, own).await.expect("it owns its share");
        }
        assert_eq!(running[0].roster().await?, roster);
        for coordinators in (1..=2).rev() {
            let begun = Instant::now();
            running.remove(0).shutdown().await?;
            assert!(begun.elapsed() < SOON);
            even(&shared.journal, coordinators).await;
        }
        running.remove(0).shutdown().await?;
        let roster = shared.journal.roster().await?;
        assert_eq!(roster.members().len(), 0);
        assert_eq!(roster.unowned().count(), usize::from(partitions));
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_is_shared_evenly_stays_where_it_is() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(8);
    let lease = Duration::from_secs(2);
    let start = || shared.runtime().leases(lease, lease).start();
    let _running = [start().await?, start().await?, start().await?];
    let before = even(&shared.journal, 3).await;
    for _ in 0..200 {
        sleep(lease / 4).await;
        assert_eq!(shared.journal.roster().await?, before);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn coordinators_that_come_at_once_share_from_the_beginning() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(16);
    let starting = (0..5).map(|_| coordinator(&shared).start());
    let running = futures::future::try_join_all(starting).await?;
    even(&shared.journal, 5).await;
    let leaving = running[1..].iter().map(|runtime| runtime.shutdown());
    futures::future::try_join_all(leaving).await?;
    even(&shared.journal, 1).await;
    assert_eq!(running[0].roster().await?.unowned().count(), 0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn one_whose_bus_is_its_own_keeps_what_it_has() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(4);
    let alone = || {
        let runtime = shared.runtime().bus("memory:");
        runtime.leases(Duration::from_secs(2), Duration::from_secs(2))
    };
    let first = alone().start().await?;
    let second = alone().start().await?;
    sleep(SOON).await;
    let roster = first.roster().await?;
    assert_eq!(roster.members().len(), 2);
    assert_eq!(
        (first.own_partitions().len(), second.own_partitions().len()),
        (4, 0)
    );
    first.shutdown().await?;
    even(&shared.journal, 1).await;
    second.shutdown().await
}
