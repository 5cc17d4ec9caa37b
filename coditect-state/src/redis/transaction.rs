//! A transaction of the store in Redis.
//!
//! Redis keeps no older states. So each read after the first is answered only if what it reads has not changed since the
//! first; otherwise it is a conflict, as it would be at the commit.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use redis::{Cmd, Value};

use super::Shared;
use super::error::Fault;
use crate::draft::{Draft, Write};
use crate::error::{Error, Result};
use crate::range::{Entry, Page, Range};
use crate::transaction::Transaction;
use crate::version::{CommitVersion, Stamped};

/// How many entries are asked for at once.
const ENTRIES: usize = 1_000;

pub(super) struct RedisTransaction {
    shared: Arc<Shared>,
    /// The connection and the version of the first read.
    seen: Option<(u64, u64)>,
    draft: Draft,
}

impl RedisTransaction {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let draft = Draft::new(shared.limits);
        Self {
            shared,
            seen: None,
            draft,
        }
    }

    fn version(&self) -> Option<u64> {
        self.seen.map(|(_, version)| version)
    }

    /// Sends a read, and takes note of the version that the answer begins with.
    async fn read(&mut self, command: &Cmd) -> Result<std::vec::IntoIter<Value>> {
        let what = "reading from redis";
        let answer = self.shared.link.call(command).await;
        let (generation, answer) = answer.map_err(|fault| fault.during(what))?;
        let strange = || Fault::Strange("of a read").during(what);
        let Value::Array(words) = answer else {
            return Err(strange());
        };
        let mut words = words.into_iter();
        let version = words.next().map(redis::from_redis_value::<u64>);
        let version = version
            .and_then(std::result::Result::ok)
            .ok_or_else(strange)?;
        let (first, _) = *self.seen.get_or_insert((generation, version));
        if first != generation {
            return Err(replaced());
        }
        Ok(words)
    }

    async fn look_up(&mut self, key: &[u8], snapshot: bool) -> Result<Option<Bytes>> {
        if let Some(own) = self.draft.own(key)? {
            return Ok(own);
        }
        if !snapshot {
            self.draft.note_key(key);
        }
        let mut command = self.shared.link.script.call("get", self.version());
        command.arg(key);
        let value = self.read(&command).await?.next();
        Ok(value.and_then(bytes))
    }

    /// Reads stored entries of a range until there are enough that were not cleared.
    async fn entries(&mut self, range: &Range) -> Result<Vec<Entry>> {
        let wanted = self.draft.wanted(range);
        let mut entries = Vec::new();
        let mut rest = range.clone();
        loop {
            let mut command = self.shared.link.script.call("range", self.version());
            let limit = (wanted - entries.len()).min(ENTRIES);
            command
                .arg(&rest.begin()[..])
                .arg(&rest.end()[..])
                .arg(limit);
            command.arg(if rest.is_reversed() { "1" } else { "0" });
            let mut words = self.read(&command).await?;
            let more = words.next().and_then(bytes).is_some_and(|more| more == "1");
            let mut last = None;
            while let (Some(key), Some(value)) =
                (words.next().and_then(bytes), words.next().and_then(bytes))
            {
                last = Some(key.clone());
                if !self.draft.writes.cleared.contains(&key) {
                    entries.push(Entry { key, value });
                }
            }
            match last {
                Some(last) if more && entries.len() < wanted => rest = rest.after(&last),
                _ => return Ok(entries),
            }
        }
    }
}

fn replaced() -> Error {
    Error::conflict("the connection over which the transaction has read is gone")
}

fn bytes(value: Value) -> Option<Bytes> {
    match value {
        Value::BulkString(bytes) => Some(bytes.into()),
        _ => None,
    }
}

/// Writes down what the script is to check and to change.
fn commit(command: &mut Cmd, draft: &Draft) {
    command.arg(draft.reads.keys.len());
    for key in &draft.reads.keys {
        command.arg(&key[..]);
    }
    let pairs = |command: &mut Cmd, ranges: &mut dyn ExactSizeIterator<Item = (&Bytes, &Bytes)>| {
        command.arg(ranges.len());
        for (begin, end) in ranges {
            command.arg(&begin[..]).arg(&end[..]);
        }
    };
    let writes = &draft.writes;
    pairs(
        command,
        &mut draft.reads.ranges.iter().map(|(begin, end)| (begin, end)),
    );
    let cleared: Vec<_> = writes.cleared.iter().collect();
    pairs(command, &mut cleared.into_iter());
    pairs(
        command,
        &mut writes.late_clears.iter().map(|(begin, end)| (begin, end)),
    );
    command.arg(writes.stamped.len());
    for stamped in &writes.stamped {
        gap(command, &stamped.key);
        command.arg(&stamped.value[..]).arg(stamped.clears);
    }
    command.arg(writes.writes.len());
    for (key, write) in &writes.writes {
        command.arg(&key[..]);
        match write {
            Write::Set(value) => {
                command.arg("s").arg(&value[..]);
            }
            Write::Stamped(value) => gap(command.arg("v"), value),
            Write::Clear => {
                command.arg("c");
            }
        }
    }
}

fn gap(command: &mut Cmd, stamped: &Stamped) {
    command.arg(&stamped.prefix()[..]).arg(stamped.user());
    command.arg(&stamped.suffix()[..]);
}

#[async_trait]
impl Transaction for RedisTransaction {
    async fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>> {
        self.look_up(key, false).await
    }

    async fn get_snapshot(&mut self, key: &[u8]) -> Result<Option<Bytes>> {
        self.look_up(key, true).await
    }

    async fn range(&mut self, range: Range) -> Result<Page> {
        if range.is_empty() {
            return Ok(Page::default());
        }
        let stored = self.entries(&range).await?;
        let stored = stored.iter().map(|entry| (&entry.key, &entry.value));
        let page = self.draft.page(&range, stored)?;
        self.draft.note_page(&range, &page);
        Ok(page)
    }

    fn set(&mut self, key: &[u8], value: Bytes) -> Result<()> {
        self.draft.set(key, value)
    }

    fn set_stamped_key(&mut self, key: Stamped, value: Bytes) -> Result<()> {
        self.draft.set_stamped_key(key, value)
    }

    fn set_stamped_value(&mut self, key: &[u8], value: Stamped) -> Result<()> {
        self.draft.set_stamped_value(key, value)
    }

    fn clear(&mut self, key: &[u8]) -> Result<()> {
        self.draft.clear(key)
    }

    fn clear_range(&mut self, begin: &[u8], end: &[u8]) -> Result<()> {
        self.draft.clear_range(begin, end)
    }

    fn size(&self) -> usize {
        self.draft.writes.size
    }

    async fn commit(mut self: Box<Self>) -> Result<CommitVersion> {
        if self.draft.writes.is_empty() {
            if self.seen.is_none() {
                self.look_up(b"", true).await?;
            }
            return Ok(CommitVersion::new(self.version().unwrap_or_default(), 0));
        }
        let reads = !self.draft.reads.is_empty();
        let link = &self.shared.link;
        if let Some((generation, _)) = self.seen.filter(|_| reads)
            && link.generation() != Some(generation)
        {
            return Err(replaced());
        }
        let seen = self.version().filter(|_| reads);
        let mut command = link.script.call("commit", seen);
        commit(&mut command, &self.draft);
        let (_, answer) = link.call(&command).await.map_err(Fault::during_commit)?;
        let version = redis::from_redis_value(answer);
        let version =
            version.map_err(|_| Fault::Strange("of a commit").during("commit to redis"))?;
        Ok(CommitVersion::new(version, 0))
    }
}

impl fmt::Debug for RedisTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisTransaction")
            .field("version", &self.version())
            .field("size", &self.draft.writes.size)
            .finish_non_exhaustive()
    }
}
