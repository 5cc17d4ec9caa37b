//! How the partitions divide a limit among themselves: one value in the state store, changed by one of them at a time.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What each partition holds of a limit, and what it waits for.
///
/// A partition may have as many attempts open as it holds. What all hold together is never raised beyond the limit; it can be
/// more only where a limit came, or was lowered, while more attempts were open, and then it drains.
///
/// Each is entitled to a part: the limit is dealt out one by one, always to whoever has been dealt the fewest and can use
/// more, and of equals to whoever has stood in the line longest. Where there is not one for each, those who hold something
/// come last, and of them whoever has had it longest, so that it goes round.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Board {
    /// The last place in the line that was given out.
    last: u64,
    shares: BTreeMap<u16, Share>,
}

/// What one partition has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Share {
    /// The fencing token of whoever wrote it last: owners before that one change nothing any more.
    token: u64,
    held: u32,
    /// How many more it could use.
    wants: u32,
    /// Its place in the line, of when it began to wait, or was given something, or gave something back.
    turn: u64,
    /// To what it was entitled when it was last answered.
    told: u32,
}

/// What a partition says, and asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) partition: u16,
    pub(crate) token: u64,
    /// How many of its attempts are open, whatever it holds.
    pub(crate) in_use: u32,
    /// How much of what it holds it keeps.
    pub(crate) keeps: u32,
    /// How many more it could use.
    pub(crate) wants: u32,
}

/// What a partition has from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) held: u32,
    /// What it still waits for.
    pub(crate) wants: u32,
    /// What it is entitled to while others wait.
    pub(crate) part: u32,
    /// Whether others wait.
    pub(crate) is_contested: bool,
    /// Whether more is held than may be, so that nothing is to begin.
    pub(crate) is_over: bool,
}

/// The partition has a later owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stale;

impl Board {
    /// Says whether nobody has anything and nobody waits, so that nothing need be kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }

    /// Says whether a partition holds something or waits.
    pub(crate) fn has(&self, partition: u16) -> bool {
        self.shares.contains_key(&partition)
    }

    /// How many are held, and how many are waited for.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let shares = self.shares.values();
        shares.fold((0, 0), |(held, wants), share| {
            (held + u64::from(share.held), wants + u64::from(share.wants))
        })
    }

    /// Makes somebody the owner of what a partition has; tells what that is.
    pub(crate) fn adopt(&mut self, partition: u16, token: u64) -> Result<u32, Stale> {
        let Some(share) = self.shares.get_mut(&partition) else {
            return Ok(0);
        };
        if token < share.token {
            return Err(Stale);
        }
        share.token = token;
        Ok(share.held)
    }

    /// Changes what a partition has; tells whom to call, as something is free for them, or they hold what is not theirs now.
    pub(crate) fn ask(&mut self, limit: u32, ask: Ask) -> Result<(Given, Vec<u16>), Stale> {
        let me = ask.partition;
        let mut share = self.shares.get(&me).copied().unwrap_or_default();
        if ask.token < share.token {
            return Err(Stale);
        }
        share.token = ask.token;
        let had = share.held;
        share.held = share.held.min(ask.keeps).max(ask.in_use);
        let is_new = ask.wants > share.wants;
        if (share.wants == 0 && ask.wants > 0) || share.held < had {
            share.turn = self.place();
        }
        share.wants = ask.wants;
        self.shares.insert(me, share);
        let more = self.share_of_free(limit, me, share);
        if more > 0 {
            share.held += more;
            share.wants -= more;
            share.turn = self.place();
            self.shares.insert(me, share);
        }
        let parts = self.parts(limit);
        share.told = parts.get(&me).copied().unwrap_or_default();
        self.shares.insert(me, share);
        let mut called = self.callable(limit, &parts, me);
        called.extend(self.holding(limit, &parts, me, is_new && share.wants > 0));
        called.sort_unstable();
        called.dedup();
        let mut others = self
            .shares
            .iter()
            .filter(|(partition, _)| **partition != me);
        let given = Given {
            held: share.held,
            wants: share.wants,
            part: share.told,
            is_contested: others.any(|(_, other)| other.wants > 0),
            is_over: self.held() > u64::from(limit),
        };
        if (share.held, share.wants) == (0, 0) {
            self.shares.remove(&me);
        }
        Ok((given, called))
    }

    /// Takes out what a partition has, as there is no limit any more.
    pub(crate) fn remove(&mut self, partition: u16) {
        self.shares.remove(&partition);
    }

    /// How much of what is free a partition may take: it is for those who stand before it first.
    fn share_of_free(&self, limit: u32, me: u16, share: Share) -> u32 {
        let parts = self.parts(limit);
        let line = self.line(&parts).into_iter();
        let before = line.take_while(|(_, partition, _)| *partition != me);
        let before: u64 = before.map(|(.., missing)| u64::from(missing)).sum();
        let free = u64::from(self.free(limit)).saturating_sub(before);
        let part = parts.get(&me).copied().unwrap_or_default();
        let missing = share.wants.min(part.saturating_sub(share.held));
        u32::try_from(free).unwrap_or(u32::MAX).min(missing)
    }

    /// Those who have less than they are entitled to, with how much that is: whoever has stood in the line longest comes first.
    fn line(&self, parts: &BTreeMap<u16, u32>) -> Vec<(u64, u16, u32)> {
        let all = self.shares.iter().map(|(partition, share)| {
            let part = parts.get(partition).copied().unwrap_or_default();
            let missing = part.saturating_sub(share.held).min(share.wants);
            (share.turn, *partition, missing)
        });
        let mut line: Vec<_> = all.filter(|(.., missing)| *missing > 0).collect();
        line.sort_unstable();
        line
    }

    /// Those for whom something is free.
    fn callable(&self, limit: u32, parts: &BTreeMap<u16, u32>, me: u16) -> Vec<u16> {
        let mut free = self.free(limit);
        let line = self.line(parts).into_iter();
        let called = line.map_while(|(_, partition, missing)| {
            let is_some = free > 0;
            free = free.saturating_sub(missing);
            is_some.then_some(partition)
        });
        called.filter(|partition| *partition != me).collect()
    }

    /// Those who hold what others wait for, and have not been told so; all who hold something, if somebody `has_come`: what they
    /// hold may be idle.
    fn holding<'a>(
        &'a self,
        limit: u32,
        parts: &'a BTreeMap<u16, u32>,
        me: u16,
        has_come: bool,
    ) -> impl Iterator<Item = u16> + use<'a> {
        let part = |partition: &u16| parts.get(partition).copied().unwrap_or_default();
        let line = self.line(parts).into_iter();
        let missing: u64 = line.map(|(.., missing)| u64::from(missing)).sum();
        let is_missing = missing > u64::from(self.free(limit));
        let others = self
            .shares
            .iter()
            .filter(move |(partition, _)| **partition != me);
        let holding = others.filter(move |(partition, share)| {
            let part = part(partition);
            let is_news = is_missing && share.held > part && share.told > part;
            is_news || (has_come && share.held > 0)
        });
        holding.map(|(partition, _)| *partition)
    }

    fn place(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn held(&self) -> u64 {
        self.shares
            .values()
            .map(|share| u64::from(share.held))
            .sum()
    }

    fn free(&self, limit: u32) -> u32 {
        let free = u64::from(limit).saturating_sub(self.held());
        u32::try_from(free).unwrap_or(limit)
    }

    /// What each is entitled to.
    fn parts(&self, limit: u32) -> BTreeMap<u16, u32> {
        let mut rest = limit;
        let mut parts = BTreeMap::new();
        let demands = self.shares.iter().map(|(partition, share)| {
            let demand = share.held.saturating_add(share.wants);
            (demand, share.held > 0, share.turn, *partition)
        });
        let mut demands: Vec<_> = demands.collect();
        // Those who need the least first: as long as one needs no more than an even part of the rest, it gets all of it.
        demands.sort_unstable();
        let mut demands = demands.as_slice();
        while let [(demand, .., partition), others @ ..] = demands {
            let count = u32::try_from(demands.len()).unwrap_or(u32::MAX);
            if *demand > rest / count {
                break;
            }
            parts.insert(*partition, *demand);
            rest -= demand;
            demands = others;
        }
        let count = u32::try_from(demands.len()).unwrap_or(u32::MAX).max(1);
        let (even, odd) = (rest / count, rest % count);
        // All of these need more than an even part, so that one more is of use to each.
        let line = demands
            .iter()
            .map(|(_, holds, turn, partition)| match even {
                0 if *holds => (true, u64::MAX - turn, *partition),
                _ => (false, *turn, *partition),
            });
        let mut line: Vec<_> = line.collect();
        line.sort_unstable();
        for (index, (.., partition)) in (0..).zip(line) {
            parts.insert(partition, even + u32::from(index < odd));
        }
        parts
    }
}
