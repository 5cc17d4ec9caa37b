//! R5 to R8: who owns a partition.

use std::time::SystemTime;

use tokio::time::sleep;

use super::{RecordKind, Subject, TTL, refused};
use crate::Timestamp;
use crate::journal::{ErrorKind, Partition};

const HOME: Partition = Partition::new(0);

async fn claim(subject: &Subject, owner: &str) -> Option<crate::journal::PartitionLease> {
    let claim = subject.other.claim(HOME, owner, TTL).await;
    claim.expect("a claim is answered")
}

/// While a lease lasts, nobody else gets the partition, not even under the same name.
pub async fn r5_a_partition_has_one_owner(subject: Subject) {
    let lease = claim(&subject, "a").await.expect("the partition is free");
    assert_eq!(
        (lease.partition(), lease.owner(), lease.ttl()),
        (HOME, "a", TTL)
    );
    assert!(!lease.is_expired());
    assert!(claim(&subject, "b").await.is_none());
    assert!(claim(&subject, "a").await.is_none());
    sleep(TTL / 2).await;
    assert!(claim(&subject, "b").await.is_none());
    let elsewhere = subject.journal.claim(Partition::new(1), "b", TTL).await;
    assert!(elsewhere.expect("a claim is answered").is_some());
    let beyond = Partition::new(subject.journal.partitions().get());
    refused(
        subject.journal.claim(beyond, "b", TTL).await,
        ErrorKind::Invalid,
    );
}

/// When a lease has expired or was released, the next claim succeeds.
pub async fn r6_a_lease_expires_and_can_be_released(subject: Subject) {
    let first = claim(&subject, "a").await.expect("the partition is free");
    sleep(TTL * 2).await;
    assert!(first.is_expired());
    let second = claim(&subject, "b").await.expect("the lease has expired");
    refused(subject.journal.release(first).await, ErrorKind::Fenced);
    assert!(
        claim(&subject, "a").await.is_none(),
        "the release of a stale lease does nothing"
    );
    subject
        .journal
        .release(second)
        .await
        .expect("the lease is released");
    assert!(claim(&subject, "a").await.is_some());
}

/// Each claim of a partition has a greater token, and the first is at least the time.
pub async fn r7_tokens_grow_and_start_from_server_time(subject: Subject) {
    // A server's clock may be a little behind this one.
    let skew = 60_000;
    let now = Timestamp::from(SystemTime::now()).as_millis();
    let mut last = None;
    for _ in 0..5 {
        let lease = claim(&subject, "a").await.expect("the partition is free");
        assert!(lease.token().get() >= now - skew);
        assert!(last < Some(lease.token()));
        last = Some(lease.token());
        subject
            .journal
            .release(lease)
            .await
            .expect("the lease is released");
    }
}

/// A renewal keeps the token and lasts a full span, until somebody else has claimed the partition.
pub async fn r8_renewal_extends_until_somebody_else_claims(subject: Subject) {
    let run = subject.accept().await;
    let mut lease = subject.own(run).await;
    for _ in 0..3 {
        sleep(TTL * 3 / 4).await;
        let renewed = subject
            .journal
            .renew(&lease)
            .await
            .expect("the lease is renewed");
        assert_eq!(renewed.token(), lease.token());
        assert!(renewed.until() > lease.until());
        lease = renewed;
        let home = lease.partition();
        let claim = subject.other.claim(home, "b", TTL).await;
        assert!(claim.expect("a claim is answered").is_none());
    }
    sleep(TTL * 2).await;
    let late = subject.journal.renew(&lease).await;
    lease = late.expect("nobody has claimed the partition meanwhile");
    let write = subject.append(&lease, run, [RecordKind::Started]).await;
    write.expect("a renewed lease may write");
    sleep(TTL * 2).await;
    let second = subject.take_over(run).await;
    refused(subject.journal.renew(&lease).await, ErrorKind::Fenced);
    subject
        .other
        .release(second.clone())
        .await
        .expect("the lease is released");
    refused(subject.journal.renew(&lease).await, ErrorKind::Fenced);
    refused(subject.other.renew(&second).await, ErrorKind::Fenced);
}
