//! The schedules in a state store: each change is one transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use coditect_dag::Timestamp;
use coditect_dag::journal::{Partition, PartitionCount};
use coditect_state::{
    Entry, Range, StateStore, StateStoreExt, Transaction, TransactionExt, Tx, Watch,
};

use uuid::Uuid;

use super::clock::CalendarClock;
use super::row::{Definition, Keys, State, home};
use crate::error::{Error, ErrorKind};
use crate::ports::Ports;

/// How many bytes a definition may have, so that it fits into every store.
const LARGEST: usize = 64 << 10;
/// How many names are read in one transaction.
const PAGE: usize = 1_000;

/// The schedules of a journal.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    store: Arc<dyn StateStore>,
    clock: Arc<CalendarClock>,
    partitions: PartitionCount,
    keys: Keys,
}

/// What became of a step that an owner wanted to take.
#[derive(Debug)]
pub(crate) enum Stepped {
    /// It was taken, and left this.
    Taken(State),
    /// Somebody has changed the schedule since it was read, or deleted it.
    Changed,
    /// A later owner has written.
    Fenced,
}

type Result<T> = std::result::Result<T, coditect_state::Error>;

impl Book {
    pub(crate) fn new(ports: &Ports) -> Self {
        Self {
            store: Arc::clone(&ports.store),
            clock: Arc::clone(&ports.calendar),
            partitions: ports.journal.partitions(),
            keys: Keys::new(),
        }
    }

    /// The time by which occurrences come.
    pub(crate) async fn now(&self) -> std::result::Result<Timestamp, Error> {
        self.clock.now(&*self.store).await
    }

    /// Makes a schedule, or changes it where that was asked for. One that does the same stays as it is.
    pub(crate) async fn put(
        &self,
        name: &str,
        mut new: Definition,
        replace: bool,
        mark: Bytes,
    ) -> std::result::Result<(), Error> {
        let now = self.now().await?;
        (new.created_at, new.updated_at) = (now, now);
        let size = serde_json::to_vec(&new).map_or(usize::MAX, |json| json.len());
        if size > LARGEST {
            let text = format!(
                "the schedule has {size} bytes with its plan, {LARGEST} are allowed; \
                 let it submit a task whose orchestrator makes the plan"
            );
            return Err(Error::invalid(text));
        }
        let (new, mark) = (&new, &mark);
        let put = |mut tx: Tx| async move {
            let mut new = new.clone();
            let known: Option<Definition> = tx.get_json(&self.keys.definition(name)).await?;
            let state = match known {
                None => Some(State {
                    cursor: now,
                    ..State::default()
                }),
                Some(known) if known.does_as(&new) => return Ok(true),
                Some(_) if !replace => return Ok(false),
                Some(known) => {
                    (new.id, new.created_at) = (known.id, known.created_at);
                    new.revision = known.revision + 1;
                    let state: Option<State> = tx.get_json(&self.keys.state(name)).await?;
                    // What the former calendar missed is nobody's any more.
                    let moves = known.timing != new.timing;
                    state.filter(|_| moves).map(|state| State {
                        cursor: state.cursor.max(now),
                        taken: 0,
                        ..state
                    })
                }
            };
            tx.set_json(&self.keys.definition(name), &new)?;
            if let Some(state) = state {
                tx.set_json(&self.keys.state(name), &state)?;
            }
            self.mark(&mut *tx, name, mark)?;
            Ok(true)
        };
        if !self.store.transact(put).await? {
            let text = format!(
                "there is a schedule `{name}` already, which does something else; replace it where that is meant"
            );
            return Err(Error::invalid(text));
        }
        Ok(())
    }

    pub(crate) async fn read(
        &self,
        name: &str,
    ) -> std::result::Result<Option<(Definition, State)>, Error> {
        let read = |mut tx: Tx| async move { self.rows(&mut *tx, name).await };
        Ok(self.store.transact(read).await?)
    }

    /// Changes the state of a schedule on somebody's behalf.
    pub(crate) async fn change(
        &self,
        name: &str,
        mark: Bytes,
        change: &(dyn Fn(&mut State) + Send + Sync),
    ) -> std::result::Result<Definition, Error> {
        let mark = &mark;
        let write = |mut tx: Tx| async move {
            let Some((definition, mut state)) = self.rows(&mut *tx, name).await? else {
                return Ok(None);
            };
            change(&mut state);
            tx.set_json(&self.keys.state(name), &state)?;
            self.mark(&mut *tx, name, mark)?;
            Ok(Some(definition))
        };
        let changed = self.store.transact(write).await?;
        changed.ok_or_else(|| not_found(name))
    }

    /// Deletes a schedule; says whether there was one.
    pub(crate) async fn delete(&self, name: &str, mark: Bytes) -> std::result::Result<bool, Error> {
        let mark = &mark;
        let delete = |mut tx: Tx| async move {
            let key = self.keys.definition(name);
            if tx.get(&key).await?.is_none() {
                return Ok(false);
            }
            let home = home(name, self.partitions);
            for key in [key, self.keys.state(name), self.keys.entry(home, name)] {
                tx.clear(&key)?;
            }
            tx.set(&self.keys.changed(home), mark.clone())?;
            Ok(true)
        };
        Ok(self.store.transact(delete).await?)
    }

    /// Takes a step of an owner, unless the schedule was changed since that read it, or a later owner has written.
    pub(crate) async fn step(
        &self,
        name: &str,
        id: Uuid,
        revision: u64,
        token: u64,
        step: &(dyn Fn(&Definition, &mut State) -> bool + Send + Sync),
    ) -> std::result::Result<Stepped, Error> {
        let write = |mut tx: Tx| async move {
            let Some((definition, mut state)) = self.rows(&mut *tx, name).await? else {
                return Ok(Stepped::Changed);
            };
            if state.token > token {
                return Ok(Stepped::Fenced);
            }
            if (definition.id, definition.revision) != (id, revision) {
                return Ok(Stepped::Changed);
            }
            if step(&definition, &mut state) {
                state.token = token;
                tx.set_json(&self.keys.state(name), &state)?;
            }
            Ok(Stepped::Taken(state))
        };
        Ok(self.store.transact(write).await?)
    }

    /// The names of all schedules after a name, in order.
    pub(crate) async fn names(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> std::result::Result<Vec<String>, Error> {
        let space = self.keys.definitions();
        let mut range = Range::prefix(space.prefix()).with_limit(limit).snapshot();
        if let Some(after) = after {
            range = range.after(&space.pack(&(after,)));
        }
        let page = |mut tx: Tx| {
            let range = range.clone();
            async move { tx.range(range).await }
        };
        let page = self.store.transact(page).await?;
        let name = |entry: Entry| Ok(space.unpack::<(String,)>(&entry.key)?.0);
        page.entries.into_iter().map(name).collect()
    }

    /// The names of the schedules of a partition, each with what its last change was marked with.
    pub(crate) async fn marks(
        &self,
        partition: Partition,
    ) -> std::result::Result<BTreeMap<String, Bytes>, Error> {
        let space = self.keys.entries(partition);
        let mut marks = BTreeMap::new();
        let mut next = Some(Range::prefix(space.prefix()).with_limit(PAGE).snapshot());
        while let Some(range) = next {
            let page = |mut tx: Tx| {
                let range = range.clone();
                async move { tx.range(range).await }
            };
            let page = self.store.transact(page).await?;
            for entry in page.entries {
                marks.insert(space.unpack::<(String,)>(&entry.key)?.0, entry.value);
            }
            next = page.next;
        }
        Ok(marks)
    }

    /// Watches the schedules of a partition for changes that their owner has not made.
    pub(crate) async fn watch(&self, partition: Partition) -> std::result::Result<Watch, Error> {
        Ok(self.store.watch(&self.keys.changed(partition)).await?)
    }

    /// Tells the owner of a schedule that it has changed.
    fn mark(&self, tx: &mut dyn Transaction, name: &str, mark: &Bytes) -> Result<()> {
        let home = home(name, self.partitions);
        tx.set(&self.keys.entry(home, name), mark.clone())?;
        tx.set(&self.keys.changed(home), mark.clone())
    }

    async fn rows(
        &self,
        tx: &mut dyn Transaction,
        name: &str,
    ) -> Result<Option<(Definition, State)>> {
        let Some(definition) = tx.get_json(&self.keys.definition(name)).await? else {
            return Ok(None);
        };
        let state = tx.get_json(&self.keys.state(name)).await?;
        Ok(Some((definition, state.unwrap_or_default())))
    }
}

pub(super) fn not_found(name: &str) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!("there is no schedule `{name}`"),
    )
}
