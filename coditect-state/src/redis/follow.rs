//! Following the log of commits, for the watches of this process.
//!
//! Versions of commits have no gaps, so whatever was missed, over a lost connection or a log that was cut, is noticed, and
//! then every watch is told.

use std::sync::Weak;
use std::time::Duration;

use bytes::Bytes;
use redis::streams::StreamReadReply;
use tokio::time::sleep;

use super::Shared;
use super::error::Fault;
use super::link::send;

/// How long a read waits for news; one that takes much longer has lost its connection.
const BLOCK: Duration = Duration::from_secs(1);

const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Tells the watches of changes after a version, until the store is dropped.
pub(super) async fn follow(shared: Weak<Shared>, mut seen: u64) {
    let mut wait = AGAIN.0;
    loop {
        let fault = match follow_once(&shared, &mut seen, &mut wait).await {
            Ok(()) => return,
            Err(fault) => fault,
        };
        tracing::debug!(%fault, "following the commits in redis was interrupted");
        sleep(wait).await;
        wait = (wait * 2).min(AGAIN.1);
    }
}

/// Follows over one connection; returns when the store is gone.
async fn follow_once(
    shared: &Weak<Shared>,
    seen: &mut u64,
    wait: &mut Duration,
) -> Result<(), Fault> {
    let (at, mut connection) = {
        let Some(shared) = shared.upgrade() else {
            return Ok(());
        };
        let mut connection = shared.link.open(BLOCK).await?;
        let latest = shared.link.attach(&mut connection).await?;
        if latest < *seen {
            // The server has other data than before.
            *seen = latest;
            shared.watches.lock().notify_all(|_| true);
        }
        (shared.link.at().to_owned(), connection)
    };
    *wait = AGAIN.0;
    loop {
        let command = {
            let Some(shared) = shared.upgrade() else {
                return Ok(());
            };
            shared.link.script.read_log(*seen, BLOCK.as_millis() as u64)
        };
        let answer = send(&at, &mut connection, &command).await?;
        let Some(shared) = shared.upgrade() else {
            return Ok(());
        };
        let read: Option<StreamReadReply> =
            redis::from_redis_value(answer).map_err(|_| Fault::Strange("of the log"))?;
        let entries = read.into_iter().flat_map(|read| read.keys);
        for entry in entries.flat_map(|log| log.ids) {
            let number = entry.id.split('-').next().and_then(|it| it.parse().ok());
            let version: u64 = number.ok_or(Fault::Strange("of the log"))?;
            let mut watches = shared.watches.lock();
            if version != *seen + 1 || !entry.map.contains_key("k") {
                // Something was cut off, or there were too many keys to name them.
                watches.notify_all(|_| true);
            }
            for (name, key) in &entry.map {
                if let (true, redis::Value::BulkString(keys)) = (name == "k", key) {
                    unpack(keys, |key| watches.notify(key));
                }
            }
            *seen = version;
        }
    }
}

/// Takes the keys out of one field: each is preceded by its length in four bytes.
fn unpack(mut packed: &[u8], mut each: impl FnMut(&Bytes)) {
    while let Some((length, rest)) = packed.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some((key, rest)) = rest.split_at_checked(length) else {
            return;
        };
        each(&Bytes::copy_from_slice(key));
        packed = rest;
    }
}
