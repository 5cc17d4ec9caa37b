//! R22 to R25: who is there, who owns what, and how a partition goes from one to the next.

use tokio::time::{sleep, timeout};

use super::{RecordKind, Subject, TTL, refused};
use crate::journal::{ErrorKind, Partition, Roster, Watch};

const HOME: Partition = Partition::new(0);
const NEXT: Partition = Partition::new(1);

async fn attend(subject: &Subject, member: &str) {
    let attended = subject.journal.attend(member, TTL).await;
    attended.expect("a member attends");
}

/// As another process sees it.
async fn roster(subject: &Subject) -> Roster {
    let roster = subject.other.roster().await;
    roster.expect("the roster is read")
}

async fn members(subject: &Subject) -> Vec<String> {
    let roster = roster(subject).await;
    roster.members().map(str::to_owned).collect()
}

async fn watch(subject: &Subject) -> Watch {
    let watch = subject.other.watch_roster().await;
    watch.expect("the roster is watched")
}

/// Waits for a hint that must come.
async fn hinted(watch: &mut Watch) {
    let hinted = timeout(TTL * 5, watch.changed()).await;
    hinted.expect("the change is hinted");
}

/// A member is there until it leaves, or until its span has passed since it last attended.
pub async fn r22_members_are_there_until_they_leave_or_fall_silent(subject: Subject) {
    assert!(members(&subject).await.is_empty());
    for member in ["b", "a", "c"] {
        attend(&subject, member).await;
    }
    assert_eq!(members(&subject).await, ["a", "b", "c"]);
    for _ in 0..2 {
        let left = subject.journal.leave("b").await;
        left.expect("a member leaves, and may do so again");
    }
    assert_eq!(members(&subject).await, ["a", "c"]);
    for _ in 0..3 {
        sleep(TTL * 3 / 4).await;
        attend(&subject, "a").await;
    }
    assert_eq!(members(&subject).await, ["a"], "the other was silent");
    assert!(roster(&subject).await.contains("a"));
    sleep(TTL * 2).await;
    assert!(members(&subject).await.is_empty());
}

/// Whoever left or was silent is a member again as soon as it attends, and is not taken for a second one.
pub async fn r22_a_former_member_may_come_back(subject: Subject) {
    attend(&subject, "a").await;
    attend(&subject, "b").await;
    subject.journal.leave("a").await.expect("a member leaves");
    sleep(TTL * 2).await;
    attend(&subject, "a").await;
    assert_eq!(members(&subject).await, ["a"]);
    attend(&subject, "b").await;
    attend(&subject, "b").await;
    assert_eq!(members(&subject).await, ["a", "b"]);
}

/// The roster has the owner of each partition as long as the lease lasts, whether or not it is a member.
pub async fn r23_the_roster_names_the_owner_of_every_partition(subject: Subject) {
    let count = usize::from(subject.journal.partitions().get());
    let before = roster(&subject).await;
    assert_eq!(before.owners().count(), count);
    assert_eq!(before.unowned().count(), count);

    let claim = |partition, owner| subject.journal.claim(partition, owner, TTL);
    let lease = claim(HOME, "a").await.expect("a claim is answered");
    let lease = lease.expect("the partition is free");
    let other = claim(NEXT, "b").await.expect("a claim is answered");
    other.expect("the partition is free");
    let owned = roster(&subject).await;
    assert_eq!(
        (owned.owner(HOME), owned.owner(NEXT)),
        (Some("a"), Some("b"))
    );
    assert_eq!((owned.count("a"), owned.unowned().count()), (1, count - 2));
    assert_eq!(owned.members().count(), 0, "to own is not to attend");

    let released = subject.journal.release(lease).await;
    released.expect("the lease is released");
    let owned = roster(&subject).await;
    assert_eq!((owned.owner(HOME), owned.owner(NEXT)), (None, Some("b")));
    sleep(TTL * 2).await;
    assert_eq!(roster(&subject).await.unowned().count(), count);
}

/// Only the lease that follows a hand-over says so: not one that follows a release, or another one's end.
pub async fn r24_a_hand_over_is_told_to_the_next_owner_alone(subject: Subject) {
    let claim = async |owner| {
        let claim = subject.other.claim(HOME, owner, TTL).await;
        let lease = claim.expect("a claim is answered");
        lease.expect("the partition is free")
    };
    let first = claim("a").await;
    assert!(!first.follows_hand_over(), "nobody was there before");
    let handed = subject.journal.hand_over(first).await;
    handed.expect("the partition is handed over");

    let second = claim("b").await;
    assert!(second.follows_hand_over());
    let renewed = subject.journal.renew(&second).await;
    assert!(renewed.expect("the lease is renewed").follows_hand_over());
    sleep(TTL * 2).await;
    let third = claim("c").await;
    assert!(!third.follows_hand_over(), "the one before fell silent");

    let handed = subject.journal.hand_over(third).await;
    handed.expect("the partition is handed over");
    let fourth = claim("d").await;
    assert!(fourth.follows_hand_over());
    let released = subject.journal.release(fourth).await;
    released.expect("the lease is released");
    assert!(!claim("e").await.follows_hand_over());
}

/// Whoever was replaced hands nothing over, and whoever has handed over writes nothing any more.
pub async fn r24_a_stale_lease_hands_nothing_over(subject: Subject) {
    let run = subject.accept().await;
    let stale = subject.own(run).await;
    sleep(TTL * 2).await;
    let current = subject.take_over(run).await;
    let late = subject.journal.hand_over(stale).await;
    refused(late, ErrorKind::Fenced);
    let still = subject.append(&current, run, [RecordKind::Started]).await;
    still.expect("the owner may write");
    let handed = subject.other.hand_over(current.clone()).await;
    handed.expect("the partition is handed over");
    let late = subject.append(&current, run, [RecordKind::Started]).await;
    refused(late, ErrorKind::Fenced);
    refused(subject.other.renew(&current).await, ErrorKind::Fenced);
    refused(subject.other.hand_over(current).await, ErrorKind::Fenced);
    assert!(subject.own(run).await.follows_hand_over());
}

/// A member that comes, leaves or comes back is hinted.
pub async fn r25_watches_see_who_comes_and_leaves(subject: Subject) {
    let mut watch = watch(&subject).await;
    attend(&subject, "a").await;
    hinted(&mut watch).await;
    subject.journal.leave("a").await.expect("a member leaves");
    hinted(&mut watch).await;
    attend(&subject, "a").await;
    hinted(&mut watch).await;
    assert_eq!(members(&subject).await, ["a"]);
}

/// A partition that is claimed, released or handed over is hinted.
pub async fn r25_watches_see_partitions_come_and_go(subject: Subject) {
    let run = subject.accept().await;
    let mut watch = watch(&subject).await;
    let lease = subject.own(run).await;
    hinted(&mut watch).await;
    let released = subject.journal.release(lease).await;
    released.expect("the lease is released");
    hinted(&mut watch).await;
    let lease = subject.own(run).await;
    hinted(&mut watch).await;
    let handed = subject.journal.hand_over(lease).await;
    handed.expect("the partition is handed over");
    hinted(&mut watch).await;
    assert_eq!(roster(&subject).await.owner(subject.home(run)), None);
}
