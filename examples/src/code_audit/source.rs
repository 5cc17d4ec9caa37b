//! The bytes of one file, never more of them than the limit, and what they are.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::code_audit::finding::Finding;
use crate::code_audit::model::{LARGE_FILE_HEAD_BYTES, MAX_ANALYSED_BYTES};
use crate::code_audit::rules::Rule;

/// The bytes of a file, as far as anybody looks at them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Content {
    /// All of them.
    Whole(#[serde(with = "base64")] Vec<u8>),
    /// Over the limit: only the first ones.
    Large {
        size: u64,
        #[serde(with = "base64")]
        head: Vec<u8>,
    },
    /// None: they are no text.
    Binary { size: u64 },
    /// None: why they cannot be read.
    Unreadable(String),
}

impl Content {
    /// Reads the file at `path`, relative to `root`.
    pub(crate) fn read(root: &Path, path: &str) -> Self {
        Self::try_read(&root.join(path)).unwrap_or_else(|error| Self::Unreadable(error.to_string()))
    }

    fn try_read(path: &Path) -> io::Result<Self> {
        // Between walk and analysis a file may have become a link out of the tree, or a pipe.
        if !path.symlink_metadata()?.is_file() {
            return Err(io::Error::other("no longer a regular file"));
        }
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        if size > MAX_ANALYSED_BYTES {
            let mut head = Vec::new();
            file.take(LARGE_FILE_HEAD_BYTES).read_to_end(&mut head)?;
            return Ok(Self::Large { size, head });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
        // The file may be growing: the limit holds for what is read, not for what was announced.
        file.take(MAX_ANALYSED_BYTES).read_to_end(&mut bytes)?;
        Ok(Self::Whole(bytes))
    }

    /// Leaves bytes out that are no text.
    pub(crate) fn without_binary(self, path: &str) -> Self {
        match self {
            Self::Whole(bytes) => match Source::of(&bytes, path) {
                Source::Binary { size } => Self::Binary { size },
                Source::Text { .. } => Self::Whole(bytes),
            },
            other => other,
        }
    }

    /// How many bytes are in here.
    pub(crate) fn carried(&self) -> u64 {
        match self {
            Self::Whole(bytes) | Self::Large { head: bytes, .. } => bytes.len() as u64,
            Self::Binary { .. } | Self::Unreadable(_) => 0,
        }
    }
}

/// Bytes as text of four thirds their length, whatever they are.
mod base64 {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(D::Error::custom)
    }
}

/// The content of a file, judged.
#[derive(Debug)]
pub(crate) enum Source {
    /// Text, and what had to be overlooked to read it as such.
    Text {
        text: String,
        findings: Vec<Finding>,
    },
    /// Not text.
    Binary { size: u64 },
}

impl Source {
    /// Judges whether `bytes` are text.
    pub(crate) fn of(bytes: &[u8], path: &str) -> Self {
        let size = bytes.len() as u64;
        let mut findings = Vec::new();
        if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
            let message = "encoded as UTF-16, which most tools do not read as text";
            findings.push(Finding::new(Rule::InvalidUtf8, path, 1, message));
            return Self::Text {
                text: decode_utf16(bytes),
                findings,
            };
        }
        let nuls = bytes.iter().rev().take_while(|byte| **byte == 0).count();
        let bytes = &bytes[..bytes.len() - nuls];
        if bytes.contains(&0) || (bytes.is_empty() && nuls > 0) {
            return Self::Binary { size };
        }
        if nuls > 0 {
            let line = line_at(bytes, bytes.len());
            let message = format!(
                "ends in {nuls} NUL byte{}",
                if nuls == 1 { "" } else { "s" }
            );
            findings.push(Finding::new(Rule::TrailingNul, path, line, message));
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text {
                text: text.to_owned(),
                findings,
            },
            Err(error) => {
                let at = error.valid_up_to();
                let text = String::from_utf8_lossy(bytes).into_owned();
                let replaced = text.matches('\u{fffd}').count();
                if replaced * 10 > text.chars().count() {
                    return Self::Binary { size };
                }
                let message = format!(
                    "byte {:#04x} at offset {at} is not part of any UTF-8 character",
                    bytes[at]
                );
                findings.push(Finding::new(
                    Rule::InvalidUtf8,
                    path,
                    line_at(bytes, at),
                    message,
                ));
                Self::Text { text, findings }
            }
        }
    }
}

/// The line, from 1, of the byte at `offset`.
pub(crate) fn line_at(bytes: &[u8], offset: usize) -> usize {
    bytes[..offset.min(bytes.len())]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}

fn decode_utf16(bytes: &[u8]) -> String {
    let little = bytes.starts_with(&[0xff, 0xfe]);
    let units = bytes[2..].chunks_exact(2).map(|pair| match little {
        true => u16::from_le_bytes([pair[0], pair[1]]),
        false => u16::from_be_bytes([pair[0], pair[1]]),
    });
    char::decode_utf16(units)
        .map(|unit| unit.unwrap_or('\u{fffd}'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(bytes: &[u8]) -> Option<Vec<Rule>> {
        match Source::of(bytes, "x") {
            Source::Text { findings, .. } => Some(findings.iter().map(|f| f.rule).collect()),
            _ => None,
        }
    }

    #[test]
    fn text_is_told_from_binary() {
        assert_eq!(rules("grüß\n".as_bytes()), Some(vec![]));
        assert_eq!(rules(b""), Some(vec![]));
        assert_eq!(rules(b"\x7fELF\0\0\x01"), None);
        assert_eq!(rules(b"\0\0\0"), None);
        assert_eq!(rules(&[0x80; 64]), None);
    }

    #[test]
    fn damaged_text_is_read_and_reported() {
        assert_eq!(
            rules(b"power lost here\0\0\0"),
            Some(vec![Rule::TrailingNul])
        );
        assert_eq!(
            rules(b"caf\xe9 is latin-1, not utf-8"),
            Some(vec![Rule::InvalidUtf8])
        );
        assert_eq!(rules(b"\xff\xfea\0b\0"), Some(vec![Rule::InvalidUtf8]));
        let Source::Text { text, .. } = Source::of(b"\xfe\xff\0h\0i", "x") else {
            unreachable!("UTF-16 with a byte order mark is text");
        };
        assert_eq!(text, "hi");
    }

    #[test]
    fn a_bad_byte_is_located() {
        let Source::Text { findings, .. } = Source::of(b"one line\ntwo \xff bad", "x") else {
            unreachable!("one bad byte makes no binary");
        };
        assert_eq!(findings[0].line, 2);
        assert!(
            findings[0].message.contains("0xff at offset 13"),
            "{}",
            findings[0].message
        );
    }
}
