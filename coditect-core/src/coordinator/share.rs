//! Which partitions a coordinator takes and which it gives away, so that all have the same share.
//!
//! Shares are counted, not assigned: with the roster in hand each coordinator works out how many partitions it should
//! have, and those that have more give some away, which those that have fewer take. Whatever does not disturb
//! that balance stays where it is.

use std::cmp::Reverse;

use coditect_dag::journal::{Partition, Roster};

/// What a coordinator goes by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight<'a> {
    pub(super) me: &'a str,
    pub(super) roster: &'a Roster,
    /// What it owns, or is about to, whatever the roster says of that.
    pub(super) mine: &'a [Partition],
    /// What it is giving away already, which is not among `mine`.
    pub(super) leaving: usize,
    /// What of that it has taken above its share, and keeps.
    pub(super) rescued: &'a [Partition],
    /// What nobody owns and nobody has taken for so long that somebody has to.
    pub(super) forgotten: &'a [Partition],
}

/// What a coordinator is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Moves {
    pub(super) take: Vec<Partition>,
    /// To be taken above the share.
    pub(super) rescue: Vec<Partition>,
    pub(super) give: Vec<Partition>,
}

/// Says how many partitions a coordinator should have that has so many.
///
/// Where they cannot be divided evenly, those who have most already have one more: so nothing moves for nothing.
pub(super) fn quota(roster: &Roster, me: &str, mine: usize) -> usize {
    let partitions = roster.owners().count();
    let others = roster.members().filter(|member| *member != me);
    let (mut members, mut before) = (1, 0);
    for member in others {
        members += 1;
        let has = (roster.count(member), Reverse(member));
        before += usize::from(has > (mine, Reverse(me)));
    }
    partitions / members + usize::from(before < partitions % members)
}

/// Says how many partitions may be on their way from one to another at once: without an owner, nothing moves in them.
fn at_once(partitions: usize) -> usize {
    (partitions / 8).clamp(1, 16)
}

/// Decides what to take and what to give away.
pub(super) fn moves(sight: Sight<'_>) -> Moves {
    let Sight {
        me, roster, mine, ..
    } = sight;
    let counted = mine.len().saturating_sub(sight.rescued.len());
    let quota = quota(roster, me, counted);
    let mut moves = Moves::default();
    let mut free: Vec<_> = roster
        .unowned()
        .filter(|partition| !mine.contains(partition))
        .collect();
    // Each begins elsewhere, so that not all try for the same.
    free.sort_by_key(|partition| Reverse(affinity(me, *partition)));
    let room = quota.saturating_sub(counted);
    moves.take = free.iter().take(room).copied().collect();
    let left = free.iter().skip(room).copied();
    let forgotten = left.filter(|partition| sight.forgotten.contains(partition));
    moves.rescue = forgotten.collect();
    let surplus = counted.saturating_sub(quota);
    let under_way = sight.leaving + free.len();
    let may_move = at_once(roster.owners().count()).saturating_sub(under_way);
    if surplus > 0 && may_move > 0 {
        let stays = |partition: &&Partition| sight.rescued.contains(partition);
        let mut mine: Vec<_> = mine.iter().filter(|it| !stays(it)).copied().collect();
        mine.sort_by_key(|partition| affinity(me, *partition));
        mine.truncate(surplus.min(may_move));
        moves.give = mine;
    }
    moves
}

/// How much a coordinator would rather have a partition than another: the same in every process, and different for each.
fn affinity(member: &str, partition: Partition) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let number = partition.get().to_be_bytes();
    for byte in member.bytes().chain(number) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    // FNV alone hardly changes its upper bits with the last bytes.
    hash ^= hash >> 32;
    hash.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests;
