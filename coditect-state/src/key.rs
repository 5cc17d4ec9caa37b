//! Keys from tuples: bytes whose order is the order of the tuples.
//!
//! The idea and the type codes are those of FoundationDB's tuple layer; the code is not. A tuple is the
//! encodings of its elements one after the other, and each encoding is free of prefixes, so that comparing
//! bytes compares tuples, element by element, and a tuple sorts right before all tuples that begin with it.
//!
//! ```
//! use coditect_state::key::{self, Subspace};
//!
//! assert!(key::pack(&("run", 9)) < key::pack(&("run", 10)));
//! assert!(key::pack(&("run", -1)) < key::pack(&("run", 0)));
//!
//! let runs = Subspace::new(&("runs",));
//! let key = runs.pack(&(42u64, "journal"));
//! assert_eq!(runs.unpack::<(u64, String)>(&key)?, (42, "journal".to_owned()));
//! # Ok::<_, coditect_state::Error>(())
//! ```
//!
//! | element | order among elements | Rust types |
//! |---|---|---|
//! | nothing | 1 | `Option` (`None`) |
//! | bytes | 2 | `&[u8]`, `Vec<u8>`, `Bytes` |
//! | string | 3 | `&str`, `String` |
//! | nested tuple | 4 | tuples inside of tuples |
//! | integer | 5 | `i8`…`i64`, `u8`…`u64`, `usize`, one order for all |
//! | bool | 6 | `bool` |
//! | 16 bytes | 7 | `Uuid`, `u128` |
//! | versionstamp | 8 | `Versionstamp` |

mod decode;
mod element;
mod encode;
mod subspace;
mod tuple;

#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use self::element::{Element, Int};
pub use self::subspace::Subspace;
pub use self::tuple::{FromElement, IntoElement, Pack, Unpack};
use crate::error::Result;

/// How deep tuples may be nested in a key that is read.
pub const MAX_DEPTH: usize = 32;

/// Encodes a tuple as a key.
pub fn pack<T: Pack + ?Sized>(tuple: &T) -> Bytes {
    let mut out = Vec::with_capacity(64);
    tuple.pack_into(&mut out);
    out.into()
}

/// Decodes a key into a tuple of known types.
///
/// # Errors
///
/// [`Corrupt`](crate::ErrorKind::Corrupt) if the bytes are no tuple or one of other types.
pub fn unpack<T: Unpack>(key: &[u8]) -> Result<T> {
    T::from_elements(unpack_elements(key)?)
}

/// Decodes a key into the elements of its tuple, whatever they are.
///
/// # Errors
///
/// [`Corrupt`](crate::ErrorKind::Corrupt) if the bytes are no tuple.
pub fn unpack_elements(key: &[u8]) -> Result<Vec<Element>> {
    decode::elements(key)
}
