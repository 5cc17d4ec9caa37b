//! What a range read asks for, and the page that answers.

use std::ops::{Bound, RangeBounds};

use bytes::Bytes;

/// Is a stored key with its value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
}

/// Describes a read of the keys in `begin..end`, one page at a time.
///
/// ```
/// use coditect_state::Range;
///
/// let newest_ten = Range::prefix(b"log/").reversed().with_limit(10);
/// assert_eq!(newest_ten.begin(), &b"log/"[..]);
/// assert_eq!(newest_ten.end(), &b"log0"[..]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    begin: Bytes,
    end: Bytes,
    limit: usize,
    reverse: bool,
    snapshot: bool,
}

impl Range {
    /// How many entries a page has at most when nothing else is asked for.
    pub const DEFAULT_LIMIT: usize = 1_000;

    /// Creates a read of the keys `begin <= key < end`.
    pub fn new(begin: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        Self {
            begin: begin.into(),
            end: end.into(),
            limit: Self::DEFAULT_LIMIT,
            reverse: false,
            snapshot: false,
        }
    }

    /// Creates a read of the keys within any Rust range of keys.
    ///
    /// An unbounded end reaches up to, not including, the keys that start with `0xff`, which are kept
    /// for stores themselves.
    pub fn bounds<K: AsRef<[u8]>>(bounds: impl RangeBounds<K>) -> Self {
        let begin = match bounds.start_bound() {
            Bound::Included(key) => Bytes::copy_from_slice(key.as_ref()),
            Bound::Excluded(key) => successor(key.as_ref()),
            Bound::Unbounded => Bytes::new(),
        };
        let end = match bounds.end_bound() {
            Bound::Included(key) => successor(key.as_ref()),
            Bound::Excluded(key) => Bytes::copy_from_slice(key.as_ref()),
            Bound::Unbounded => Bytes::from_static(&[0xff]),
        };
        Self::new(begin, end)
    }

    /// Creates a read of all keys that start with `prefix`, the prefix itself included.
    pub fn prefix(prefix: &[u8]) -> Self {
        Self::new(Bytes::copy_from_slice(prefix), prefix_end(prefix))
    }

    /// Sets how many entries a page has at most; at least one.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit.max(1);
        self
    }

    /// Reads from the greatest key down.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        self.reverse = true;
        self
    }

    /// Reads without a conflict: changes of these keys by others do not fail the commit.
    #[must_use]
    pub fn snapshot(mut self) -> Self {
        self.snapshot = true;
        self
    }

    /// Returns the first key of the range.
    pub fn begin(&self) -> &Bytes {
        &self.begin
    }

    /// Returns the first key after the range.
    pub fn end(&self) -> &Bytes {
        &self.end
    }

    /// Returns how many entries a page has at most.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Returns whether the greatest keys come first.
    pub fn is_reversed(&self) -> bool {
        self.reverse
    }

    /// Returns whether the read is without a conflict.
    pub fn is_snapshot(&self) -> bool {
        self.snapshot
    }

    /// Returns whether no key can lie in the range.
    pub fn is_empty(&self) -> bool {
        self.begin >= self.end
    }

    /// Returns what is left of the range after a page that ended with `last`.
    #[must_use]
    pub fn after(&self, last: &[u8]) -> Self {
        let mut rest = self.clone();
        if self.reverse {
            rest.end = Bytes::copy_from_slice(last);
        } else {
            rest.begin = successor(last);
        }
        rest
    }
}

/// Is the answer to one range read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The entries, in the order that was asked for.
    pub entries: Vec<Entry>,
    /// What to read next, if the page stopped before the end of the range.
    pub next: Option<Range>,
}

/// Returns the smallest key greater than `key`.
pub(crate) fn successor(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next.into()
}

/// Returns the smallest key greater than all keys that start with `prefix`.
///
/// A prefix of nothing but `0xff` has no such key; 0xff bytes longer than any legal key stand in for it.
pub(crate) fn prefix_end(prefix: &[u8]) -> Bytes {
    match prefix.iter().rposition(|byte| *byte != 0xff) {
        Some(last) => {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            end.into()
        }
        None if prefix.is_empty() => Bytes::from_static(&[0xff]),
        None => {
            let mut end = prefix.to_vec();
            end.extend_from_slice(&[0xff; 32]);
            end.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_its_next_sibling() {
        assert_eq!(prefix_end(b"ab"), &b"ac"[..]);
        assert_eq!(prefix_end(b"a\xff\xff"), &b"b"[..]);
        assert!(prefix_end(b"\xff") > b"\xff\xfe"[..]);
    }

    #[test]
    fn rust_ranges_keep_their_meaning() {
        let range = Range::bounds(&b"a"[..]..=&b"b"[..]);
        assert_eq!(
            (range.begin().as_ref(), range.end().as_ref()),
            (&b"a"[..], &b"b\0"[..])
        );
        assert!(Range::bounds::<&[u8]>(..).begin().is_empty());
        assert!(Range::new(&b"b"[..], &b"a"[..]).is_empty());
    }

    #[test]
    fn what_is_left_after_a_page_depends_on_the_direction() {
        let range = Range::new(&b"a"[..], &b"z"[..]);
        assert_eq!(range.after(b"m").begin(), &b"m\0"[..]);
        assert_eq!(range.clone().reversed().after(b"m").end(), &b"m"[..]);
    }
}
