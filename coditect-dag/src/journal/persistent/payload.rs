//! Content of agents as it lies in the store: readable where it is JSON or text, elsewhere where it is large.

use std::borrow::Cow;

use bytes::Bytes;
use coditect_state::Result;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::error::corrupt;
use super::key::Hash;

/// Is some content; decoding gives back exactly the bytes that were encoded.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Payload<'a> {
    #[serde(borrow)]
    Json(&'a RawValue),
    #[serde(borrow)]
    Text(Cow<'a, str>),
    Bytes(Vec<u8>),
    /// The hash in hexadecimal, and the length.
    Blob(Cow<'a, str>, u64),
}

/// Names content that lies by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlobRef {
    pub(super) hash: Hash,
    pub(super) length: u64,
}

impl BlobRef {
    pub(super) fn of(content: &[u8]) -> Self {
        let mut hash = Hash::default();
        hash.copy_from_slice(&blake3::hash(content).as_bytes()[..16]);
        let length = content.len() as u64;
        Self { hash, length }
    }
}

impl From<BlobRef> for Payload<'static> {
    fn from(blob: BlobRef) -> Self {
        let hash = u128::from_be_bytes(blob.hash);
        Self::Blob(format!("{hash:032x}").into(), blob.length)
    }
}

impl<'a> Payload<'a> {
    /// Encodes content; what is longer than `inline` is only named.
    pub(super) fn new(content: &'a [u8], inline: usize) -> Self {
        if content.len() > inline {
            return BlobRef::of(content).into();
        }
        match serde_json::from_slice::<&RawValue>(content) {
            // Blanks around a value are not part of it.
            Ok(raw) if raw.get().len() == content.len() => return Self::Json(raw),
            _ => {}
        }
        match std::str::from_utf8(content) {
            Ok(text) => Self::Text(text.into()),
            Err(_) => Self::Bytes(content.into()),
        }
    }

    /// Returns the content, or where it is. `within` is what this was decoded from, and shared where that is possible.
    pub(super) fn content(self, within: &Bytes) -> Result<std::result::Result<Bytes, BlobRef>> {
        Ok(match self {
            Self::Json(raw) => Ok(share(raw.get(), within)),
            Self::Text(Cow::Borrowed(text)) => Ok(share(text, within)),
            Self::Text(Cow::Owned(text)) => Ok(text.into()),
            Self::Bytes(bytes) => Ok(bytes.into()),
            Self::Blob(hash, length) => {
                let what = "the name of stored content is no hash";
                let hash = u128::from_str_radix(&hash, 16).map_err(|error| corrupt(what, error))?;
                let hash = hash.to_be_bytes();
                Err(BlobRef { hash, length })
            }
        })
    }
}

fn share(part: &str, within: &Bytes) -> Bytes {
    within.slice_ref(part.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn there_and_back(content: &[u8], inline: usize) -> std::result::Result<Bytes, BlobRef> {
        let text = Bytes::from(serde_json::to_vec(&Payload::new(content, inline)).unwrap());
        let payload: Payload<'_> = serde_json::from_slice(&text).unwrap();
        payload.content(&text).unwrap()
    }

    #[test]
    fn content_lies_as_readable_as_it_is() {
        let text = |content: &[u8]| serde_json::to_string(&Payload::new(content, 100)).unwrap();
        assert_eq!(text(br#"{"a": [1]}"#), r#"{"json":{"a": [1]}}"#);
        assert_eq!(text(b"plain"), r#"{"text":"plain"}"#);
        assert_eq!(text(b" 1"), r#"{"text":" 1"}"#);
        assert_eq!(text(&[255]), r#"{"bytes":[255]}"#);
        assert!(text(&[b'1'; 101]).starts_with(r#"{"blob":["#));
    }

    #[test]
    fn large_content_is_named_by_its_hash() {
        let content = vec![b'x'; 5_000];
        assert_eq!(there_and_back(&content, 4_096), Err(BlobRef::of(&content)));
    }

    proptest! {
        #[test]
        fn every_content_comes_back_byte_by_byte(content: Vec<u8>) {
            prop_assert_eq!(there_and_back(&content, 4_096).unwrap(), content);
        }

        #[test]
        fn every_text_comes_back_byte_by_byte(content: String) {
            prop_assert_eq!(there_and_back(content.as_bytes(), 4_096).unwrap(), content);
        }
    }
}
