//! Commit versions and versionstamps: the order of commits, as values and inside keys.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Numbers a commit: a later commit has a greater version.
///
/// Several commits that a store decides together share `batch` and differ in `order`. A read-only
/// transaction gets the version of the state that it has seen.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct CommitVersion {
    batch: u64,
    order: u16,
}

impl CommitVersion {
    /// Creates a version from the store's batch number and the order inside of the batch.
    pub const fn new(batch: u64, order: u16) -> Self {
        Self { batch, order }
    }

    /// Returns the batch number, for stores that decide one commit at a time the version itself.
    pub const fn batch(self) -> u64 {
        self.batch
    }

    /// Returns the order inside of the batch.
    pub const fn order(self) -> u16 {
        self.order
    }
}

impl fmt::Display for CommitVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.batch, self.order)
    }
}

/// Is a [`CommitVersion`] and a number chosen by the writer as 12 bytes whose order is commit order.
///
/// The store fills the first ten bytes in when it commits; the last two order several stamps of one
/// transaction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Versionstamp([u8; Self::LEN]);

impl Versionstamp {
    /// The length in bytes: 8 of batch, 2 of order, 2 of the writer's number, all big-endian.
    pub const LEN: usize = 12;

    /// Creates the stamp that the commit `version` gives to the writer's number `user`.
    pub fn new(version: CommitVersion, user: u16) -> Self {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&version.batch.to_be_bytes());
        bytes[8..10].copy_from_slice(&version.order.to_be_bytes());
        bytes[10..].copy_from_slice(&user.to_be_bytes());
        Self(bytes)
    }

    /// Creates a stamp from its bytes.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes, as they stand in keys and values.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Returns the version of the commit that wrote the stamp.
    pub fn version(&self) -> CommitVersion {
        let mut batch = [0; 8];
        batch.copy_from_slice(&self.0[..8]);
        CommitVersion::new(
            u64::from_be_bytes(batch),
            u16::from_be_bytes([self.0[8], self.0[9]]),
        )
    }

    /// Returns the number that the writer chose.
    pub fn user(&self) -> u16 {
        u16::from_be_bytes([self.0[10], self.0[11]])
    }
}

impl fmt::Debug for Versionstamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Versionstamp({}/{})", self.version(), self.user())
    }
}

/// Is a key or value with a gap into which the commit puts its [`Versionstamp`].
///
/// [`Subspace::stamped`](crate::key::Subspace::stamped) makes one whose result is a tuple key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamped {
    prefix: Bytes,
    suffix: Bytes,
    user: u16,
}

impl Stamped {
    /// Creates `prefix ‖ stamp ‖ suffix`, with `user` as the writer's number in the stamp.
    pub fn new(prefix: impl Into<Bytes>, user: u16, suffix: impl Into<Bytes>) -> Self {
        Self {
            prefix: prefix.into(),
            suffix: suffix.into(),
            user,
        }
    }

    /// Returns the length in bytes with the stamp in place.
    #[allow(
        clippy::len_without_is_empty,
        reason = "never empty: the stamp alone has 12 bytes"
    )]
    pub fn len(&self) -> usize {
        self.prefix.len() + Versionstamp::LEN + self.suffix.len()
    }

    /// Returns what stands before the gap.
    pub fn prefix(&self) -> &Bytes {
        &self.prefix
    }

    /// Returns what stands after the gap.
    pub fn suffix(&self) -> &Bytes {
        &self.suffix
    }

    /// Returns the writer's number.
    pub fn user(&self) -> u16 {
        self.user
    }

    /// Fills the gap: what a store does when it commits.
    pub fn resolve(&self, version: CommitVersion) -> Bytes {
        let mut bytes = Vec::with_capacity(self.len());
        bytes.extend_from_slice(&self.prefix);
        bytes.extend_from_slice(Versionstamp::new(version, self.user).as_bytes());
        bytes.extend_from_slice(&self.suffix);
        bytes.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_ordered_like_commits() {
        let stamp = |batch, order, user| Versionstamp::new(CommitVersion::new(batch, order), user);
        let sorted = [
            stamp(1, 0, 9),
            stamp(1, 1, 0),
            stamp(2, 0, 0),
            stamp(2, 0, 1),
            stamp(256, 0, 0),
        ];
        assert!(sorted.is_sorted());
        assert_eq!(sorted[1].version(), CommitVersion::new(1, 1));
        assert_eq!(sorted[0].user(), 9);
    }

    #[test]
    fn a_gap_is_filled_between_prefix_and_suffix() {
        let version = CommitVersion::new(7, 1);
        let stamped = Stamped::new(&b"a"[..], 3, &b"z"[..]);
        let bytes = stamped.resolve(version);
        assert_eq!(bytes.len(), stamped.len());
        assert_eq!(&bytes[1..13], Versionstamp::new(version, 3).as_bytes());
        assert_eq!((bytes[0], bytes[13]), (b'a', b'z'));
    }
}
