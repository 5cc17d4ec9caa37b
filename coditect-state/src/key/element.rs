//! One element of a tuple, of any type.

use bytes::Bytes;
use uuid::Uuid;

use crate::version::Versionstamp;

/// Is one element of a tuple key; its order is the order of keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Element {
    /// Nothing, before everything else.
    Null,
    /// Bytes, in byte order.
    Bytes(Bytes),
    /// A string, in the order of its UTF-8 bytes.
    String(String),
    /// A nested tuple, in the order of its elements.
    Tuple(Vec<Element>),
    /// An integer from `i64::MIN` to `u64::MAX`.
    Int(Int),
    /// A truth value, false first.
    Bool(bool),
    /// Sixteen bytes: a UUID, or an `u128` as big-endian bytes.
    Uuid(Uuid),
    /// The stamp of a commit.
    Versionstamp(Versionstamp),
}

/// Is an integer from `i64::MIN` to `u64::MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Int(i128);

impl Int {
    /// Returns the number.
    pub const fn as_i128(self) -> i128 {
        self.0
    }
}

impl From<i64> for Int {
    fn from(number: i64) -> Self {
        Self(number.into())
    }
}

impl From<u64> for Int {
    fn from(number: u64) -> Self {
        Self(number.into())
    }
}
