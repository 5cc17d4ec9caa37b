//! Subspaces: a part of the key space with one prefix.

use std::fmt;

use bytes::Bytes;

use super::{Pack, Unpack, unpack};
use crate::error::{Error, Result};
use crate::range::Range;
use crate::version::Stamped;

/// Puts a prefix before tuples, so that parts of a program do not meet in the store.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Subspace {
    prefix: Bytes,
}

impl Subspace {
    /// Creates the subspace of all keys that begin with this tuple.
    pub fn new<T: Pack + ?Sized>(tuple: &T) -> Self {
        Self {
            prefix: super::pack(tuple),
        }
    }

    /// Creates a subspace from a prefix that need not be a tuple.
    pub fn from_prefix(prefix: impl Into<Bytes>) -> Self {
        Self {
            prefix: prefix.into(),
        }
    }

    /// Returns the subspace of all keys in this one that begin with `tuple`.
    #[must_use]
    pub fn child<T: Pack + ?Sized>(&self, tuple: &T) -> Self {
        Self {
            prefix: self.pack(tuple),
        }
    }

    /// Returns the prefix, itself a key that no tuple in the subspace has.
    pub fn prefix(&self) -> &Bytes {
        &self.prefix
    }

    /// Encodes a tuple as a key of this subspace.
    pub fn pack<T: Pack + ?Sized>(&self, tuple: &T) -> Bytes {
        let mut out = Vec::with_capacity(self.prefix.len() + 48);
        out.extend_from_slice(&self.prefix);
        tuple.pack_into(&mut out);
        out.into()
    }

    /// Decodes a key of this subspace.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if the key lies elsewhere,
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if the rest is no such tuple.
    pub fn unpack<T: Unpack>(&self, key: &[u8]) -> Result<T> {
        let foreign = || Error::invalid("key does not lie in the subspace");
        unpack(key.strip_prefix(&*self.prefix).ok_or_else(foreign)?)
    }

    /// Returns whether a key lies in this subspace.
    pub fn contains(&self, key: &[u8]) -> bool {
        key.starts_with(&self.prefix)
    }

    /// Returns the range of all tuples in this subspace, without the prefix itself.
    pub fn range(&self) -> Range {
        let bound = |last: u8| {
            let mut key = Vec::with_capacity(self.prefix.len() + 1);
            key.extend_from_slice(&self.prefix);
            key.push(last);
            Bytes::from(key)
        };
        Range::new(bound(0x00), bound(0xff))
    }

    /// Creates the key of `tuple` followed by the versionstamp of the commit, with `user` as the writer's number.
    ///
    /// It unpacks as the tuple with one more element, a [`Versionstamp`](crate::Versionstamp).
    pub fn stamped<T: Pack + ?Sized>(&self, tuple: &T, user: u16) -> Stamped {
        let mut prefix = Vec::with_capacity(self.prefix.len() + 48);
        prefix.extend_from_slice(&self.prefix);
        tuple.pack_into(&mut prefix);
        prefix.push(super::encode::VERSIONSTAMP);
        Stamped::new(prefix, user, Bytes::new())
    }
}

impl fmt::Debug for Subspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subspace({})", self.prefix.escape_ascii())
    }
}
