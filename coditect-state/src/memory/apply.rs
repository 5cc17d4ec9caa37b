//! What a commit does once nothing can go wrong any more.

use bytes::Bytes;

use super::Inner;
use crate::draft::{Buffer, Write};
use crate::version::CommitVersion;

/// Applies writes under the next version and tells the watches.
pub(super) fn apply(inner: &mut Inner, buffer: Buffer) -> CommitVersion {
    let version = CommitVersion::new(inner.history.begin_version(), 0);
    let watched = !inner.watches.is_empty();
    let mut changed = Vec::new();
    let mut note = |key: &Bytes| {
        if watched {
            changed.push(key.clone());
        }
    };
    for (begin, end) in buffer.cleared.iter() {
        inner.history.clear_range(begin, end, &mut note);
    }
    for stamped in &buffer.stamped {
        let key = stamped.key.resolve(version);
        if !buffer.cleared_later(stamped, &key) {
            note(&key);
            inner.history.set(key, stamped.value.clone());
        }
    }
    for (key, write) in buffer.writes {
        note(&key);
        match write {
            Write::Set(value) => inner.history.set(key, value),
            Write::Stamped(value) => inner.history.set(key, value.resolve(version)),
            Write::Clear => inner.history.clear(key),
        }
    }
    for key in changed {
        inner.watches.notify(&key);
    }
    version
}
