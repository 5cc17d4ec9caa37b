//! What a range read sees: the store's entries under the transaction's own writes.

use std::iter::Peekable;

use bytes::Bytes;

use super::buffer::Write;
use super::unreadable;
use crate::error::Result;
use crate::range::Entry;

/// Joins stored entries and own writes, which win, into one ordered list.
pub(super) fn merge<'a>(
    mut stored: Peekable<impl Iterator<Item = (&'a Bytes, &'a Bytes)>>,
    mut own: Peekable<impl Iterator<Item = (&'a Bytes, &'a Write)>>,
    comes_first: impl Fn(&Bytes, &Bytes) -> bool,
    wanted: usize,
) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    while entries.len() < wanted {
        let take_stored = match (stored.peek(), own.peek()) {
            (None, None) => break,
            (Some((stored, _)), Some((own, _))) => comes_first(stored, own),
            (stored, _) => stored.is_some(),
        };
        if take_stored {
            entries.extend(stored.next().map(|(key, value)| Entry {
                key: key.clone(),
                value: value.clone(),
            }));
            continue;
        }
        let Some((key, write)) = own.next() else {
            break;
        };
        stored.next_if(|(stored, _)| *stored == key);
        match write {
            Write::Set(value) => entries.push(Entry {
                key: key.clone(),
                value: value.clone(),
            }),
            Write::Clear => {}
            Write::Stamped(_) => return Err(unreadable()),
        }
    }
    Ok(entries)
}
