//! Limits in the state store: which there are, and how the partitions divide them.
//!
//! | key, below `limit` | value |
//! |---|---|
//! | `set`, kind, name | how many, and whether a person has set it |
//! | `revision` | changes with each of them, for those who watch |
//! | `board`, kind, name | who holds how much of it; none where nobody has anything of it |
//! | `of`, partition, kind, name | there as long as the partition is on that board |
//! | `call`, partition, kind, name | there until the partition has heard that it should look at that board |
//! | `wake`, partition | changes with each call, for the owner who watches |

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use coditect_state::{Error, Stamped, StateStore, StateStoreExt, TransactionExt, Tx, Watch};
use serde::{Deserialize, Serialize};

use super::board::{Ask, Board, Given};
use super::{Group, Limit, LimitOn, LimitUse, key, subspace};

/// How many boards one transaction changes.
pub(crate) const TOGETHER: usize = 32;

/// A limit as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) max: u32,
    /// A person has set it.
    #[serde(default)]
    pub(crate) is_set: bool,
}

/// What came of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Given(Given),
    /// There is no limit.
    Unlimited,
}

/// Why nothing came of asking.
#[derive(Debug)]
pub(crate) enum NotTold {
    /// The partition has a later owner.
    Stale,
    Failed(Error),
}

fn set_key(on: &LimitOn) -> Bytes {
    let (kind, name) = on.parts();
    key(&("set", kind, name))
}

fn board_key(group: &Group) -> Bytes {
    let (kind, name) = group.parts();
    key(&("board", kind, name))
}

fn of_key(partition: u16, group: &Group) -> Bytes {
    let (kind, name) = group.parts();
    key(&("of", partition, kind, name))
}

fn call_key(partition: u16, group: &Group) -> Bytes {
    let (kind, name) = group.parts();
    key(&("call", partition, kind, name))
}

fn revision_key() -> Bytes {
    key(&("revision",))
}

fn wake_key(partition: u16) -> Bytes {
    key(&("wake", partition))
}

/// A value that is another with each commit.
fn stamp() -> Stamped {
    Stamped::new("", 0, "")
}

async fn get_kept(tx: &mut Tx, on: &LimitOn) -> Result<Option<Kept>, Error> {
    tx.get_json(&set_key(on)).await
}

/// The limit that holds for a group.
async fn limit_of(tx: &mut Tx, group: &Group) -> Result<Option<u32>, Error> {
    let mut kept = get_kept(tx, &group.on()).await?;
    if kept.is_none() && matches!(group, Group::Tenant(_)) {
        kept = get_kept(tx, &LimitOn::EachTenant).await?;
    }
    Ok(kept.map(|kept| kept.max))
}

/// All limits there are.
pub(crate) async fn read(store: &dyn StateStore) -> Result<BTreeMap<LimitOn, Kept>, Error> {
    let mut tx = store.begin().await?;
    let under = subspace().child(&("set",));
    let mut limits = BTreeMap::new();
    for entry in tx.range_all(under.range().snapshot()).await? {
        let (kind, name): (String, String) = under.unpack(&entry.key)?;
        // What a later release wrote is not for this one.
        let kept = serde_json::from_slice(&entry.value).ok();
        limits.extend(LimitOn::of(&kind, &name).zip(kept));
    }
    Ok(limits)
}

/// Has told of each change of what [`read`] finds.
pub(crate) async fn watch(store: &dyn StateStore) -> Result<Watch, Error> {
    store.watch(&revision_key()).await
}

/// Writes down what a process was started with, but for what people have set.
pub(crate) async fn offer(store: &Arc<dyn StateStore>, limits: &[Limit]) -> Result<(), Error> {
    if limits.is_empty() {
        return Ok(());
    }
    let write = store.transact(|mut tx| async move {
        let mut changed = false;
        for limit in limits {
            let known = get_kept(&mut tx, &limit.on).await?;
            let kept = Kept {
                max: limit.max,
                is_set: false,
            };
            if known != Some(kept) && !known.is_some_and(|known| known.is_set) {
                tx.set_json(&set_key(&limit.on), &kept)?;
                changed = true;
            }
        }
        if changed {
            tx.set_stamped_value(&revision_key(), stamp())?;
        }
        Ok(())
    });
    write.await
}

/// Sets a limit as a person wants it.
pub(crate) async fn set(store: &Arc<dyn StateStore>, limit: &Limit) -> Result<(), Error> {
    let write = store.transact(|mut tx| async move {
        let kept = Kept {
            max: limit.max,
            is_set: true,
        };
        tx.set_json(&set_key(&limit.on), &kept)?;
        tx.set_stamped_value(&revision_key(), stamp())
    });
    write.await
}

/// Takes a limit away; tells whether there was one.
pub(crate) async fn lift(store: &Arc<dyn StateStore>, on: &LimitOn) -> Result<bool, Error> {
    let write = store.transact(|mut tx| async move {
        let was_there = get_kept(&mut tx, on).await?.is_some();
        tx.clear(&set_key(on))?;
        tx.set_stamped_value(&revision_key(), stamp())?;
        Ok(was_there)
    });
    write.await
}

/// How far limits are used.
pub(crate) async fn uses(store: &dyn StateStore) -> Result<Vec<LimitUse>, Error> {
    let limits = read(store).await?;
    let mut tx = store.begin().await?;
    let under = subspace().child(&("board",));
    let mut boards = BTreeMap::new();
    for entry in tx.range_all(under.range().snapshot()).await? {
        let (kind, name): (String, String) = under.unpack(&entry.key)?;
        let board: Option<Board> = serde_json::from_slice(&entry.value).ok();
        if let Some((group, board)) = Group::of(&kind, &name).zip(board) {
            boards.insert(group.on(), board.totals());
        }
    }
    let line = |on: LimitOn, kept: &Kept, (held, waiting)| LimitUse {
        on,
        max: kept.max,
        is_set: kept.is_set,
        held,
        waiting,
    };
    let mut uses: Vec<_> = limits
        .iter()
        .map(|(on, kept)| line(on.clone(), kept, boards.remove(on).unwrap_or_default()))
        .collect();
    if let Some(each) = limits.get(&LimitOn::EachTenant) {
        let tenants = boards.into_iter();
        let tenants = tenants.filter(|(on, _)| matches!(on, LimitOn::Tenant(_)));
        uses.extend(tenants.map(|(on, totals)| line(on, each, totals)));
    }
    uses.sort_by(|a, b| a.on.cmp(&b.on));
    Ok(uses)
}

/// Takes over all that a partition has, and what it was called for.
pub(crate) async fn adopt(
    store: &Arc<dyn StateStore>,
    partition: u16,
    token: u64,
) -> Result<Vec<(Group, u32)>, NotTold> {
    let of = groups(&**store, "of", partition)
        .await
        .map_err(NotTold::Failed)?;
    let mut adopted = Vec::new();
    for part in of.chunks(TOGETHER) {
        let taken = store.transact(|mut tx| async move {
            let mut taken = Vec::new();
            for group in part {
                let key = board_key(group);
                let mut board: Board = tx.get_json(&key).await?.unwrap_or_default();
                let Ok(held) = board.adopt(partition, token) else {
                    return Ok(None);
                };
                tx.set_json(&key, &board)?;
                taken.push((group.clone(), held));
            }
            Ok(Some(taken))
        });
        match taken.await.map_err(NotTold::Failed)? {
            Some(taken) => adopted.extend(taken),
            None => return Err(NotTold::Stale),
        }
    }
    Ok(adopted)
}

/// Asks for shares; answers in the same order.
pub(crate) async fn ask(
    store: &Arc<dyn StateStore>,
    asks: &[(Group, Ask)],
) -> Result<Vec<Told>, NotTold> {
    let told = store.transact(|mut tx| async move {
        let mut told = Vec::with_capacity(asks.len());
        let mut woken = Vec::new();
        for (group, ask) in asks {
            let key = board_key(group);
            let limit = limit_of(&mut tx, group).await?;
            let known: Option<Board> = tx.get_json(&key).await?;
            let mut board = known.clone().unwrap_or_default();
            let one = match limit {
                Some(limit) => {
                    let Ok((given, called)) = board.ask(limit, *ask) else {
                        return Ok(None);
                    };
                    for partition in called {
                        tx.set(&call_key(partition, group), Bytes::new())?;
                        woken.push(partition);
                    }
                    Told::Given(given)
                }
                None => {
                    board.remove(ask.partition);
                    Told::Unlimited
                }
            };
            told.push(one);
            let was_there = known.as_ref().is_some_and(|known| known.has(ask.partition));
            match (was_there, board.has(ask.partition)) {
                (false, true) => tx.set(&of_key(ask.partition, group), Bytes::new())?,
                (true, false) => tx.clear(&of_key(ask.partition, group))?,
                _ => {}
            }
            match board.is_empty() {
                true if known.is_some() => tx.clear(&key)?,
                true => {}
                false => tx.set_json(&key, &board)?,
            }
        }
        woken.sort_unstable();
        woken.dedup();
        for partition in woken {
            tx.set_stamped_value(&wake_key(partition), stamp())?;
        }
        Ok(Some(told))
    });
    match told.await {
        Ok(Some(told)) => Ok(told),
        Ok(None) => Err(NotTold::Stale),
        Err(error) => Err(NotTold::Failed(error)),
    }
}

/// Has the owner of a partition told of calls.
pub(crate) async fn watch_calls(store: &dyn StateStore, partition: u16) -> Result<Watch, Error> {
    store.watch(&wake_key(partition)).await
}

/// Takes what a partition was called for.
pub(crate) async fn take_calls(
    store: &Arc<dyn StateStore>,
    partition: u16,
) -> Result<Vec<Group>, Error> {
    let calls = groups(&**store, "call", partition).await?;
    for part in calls.chunks(TOGETHER) {
        // One that comes again meanwhile is heard with these.
        let clear = store.transact(|mut tx| async move {
            part.iter()
                .try_for_each(|group| tx.clear(&call_key(partition, group)))
        });
        clear.await?;
    }
    Ok(calls)
}

/// The groups that are named under a partition.
async fn groups(
    store: &dyn StateStore,
    what: &'static str,
    partition: u16,
) -> Result<Vec<Group>, Error> {
    let mut tx = store.begin().await?;
    let under = subspace().child(&(what, partition));
    let mut groups = Vec::new();
    for entry in tx.range_all(under.range().snapshot()).await? {
        let (kind, name): (String, String) = under.unpack(&entry.key)?;
        groups.extend(Group::of(&kind, &name));
    }
    Ok(groups)
}
