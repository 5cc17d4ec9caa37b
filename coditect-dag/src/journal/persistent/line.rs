//! Records as they lie in the store: one line of JSON each, in the form of the port.
//!
//! It differs from the serde form of [`Record`] in one thing: the content of agents is JSON or text where it is that,
//! instead of a list of numbers, and only a name where it is large.

mod kind;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use coditect_state::Result;
use serde::{Deserialize, Serialize};

use self::kind::Kind;
use super::error::corrupt;
use super::payload::{BlobRef, Payload};
use crate::Timestamp;
use crate::journal::{Record, RecordKind, Settlement};

#[derive(Debug, Serialize, Deserialize)]
struct Line<'a> {
    at: Timestamp,
    #[serde(borrow)]
    kind: Kind<'a>,
}

/// Is a [`Settlement`] as it lies in the store.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum End<'a> {
    Succeeded {
        #[serde(borrow)]
        result: Payload<'a>,
    },
    Failed {
        #[serde(borrow)]
        failure: Payload<'a>,
    },
    Cancelled {
        #[serde(borrow)]
        reason: Cow<'a, str>,
    },
}

/// Is something decoded whose content may still have to be fetched.
#[derive(Debug)]
pub(super) struct Decoded<T> {
    pub(super) value: T,
    pub(super) blob: Option<BlobRef>,
}

impl Decoded<Record> {
    /// Puts fetched content where it belongs.
    pub(super) fn fill(&mut self, content: Bytes) {
        if let Some(place) = content_mut(&mut self.value.kind) {
            *place = content;
        }
    }
}

/// Returns the content of agents that a record carries.
pub(super) fn content(kind: &RecordKind) -> Option<&Bytes> {
    match kind {
        RecordKind::Succeeded { output, .. } | RecordKind::Resolved { output, .. } => Some(output),
        RecordKind::Failed { failure, .. } | RecordKind::ScopeFailed { failure, .. } => {
            Some(failure)
        }
        RecordKind::Expanded { plan, .. } => Some(plan),
        RecordKind::Patched { patch } => Some(patch),
        RecordKind::Signalled { payload, .. } => Some(payload),
        RecordKind::Redriven { input, .. } => input.as_ref(),
        RecordKind::Settled(Settlement::Succeeded { result }) => Some(result),
        RecordKind::Settled(Settlement::Failed { failure }) => Some(failure),
        _ => None,
    }
}

fn content_mut(kind: &mut RecordKind) -> Option<&mut Bytes> {
    match kind {
        RecordKind::Succeeded { output, .. } | RecordKind::Resolved { output, .. } => Some(output),
        RecordKind::Failed { failure, .. } | RecordKind::ScopeFailed { failure, .. } => {
            Some(failure)
        }
        RecordKind::Expanded { plan, .. } => Some(plan),
        RecordKind::Patched { patch } => Some(patch),
        RecordKind::Signalled { payload, .. } => Some(payload),
        RecordKind::Redriven { input, .. } => input.as_mut(),
        RecordKind::Settled(settlement) => settlement_mut(settlement),
        _ => None,
    }
}

/// Returns the content that a settlement carries.
pub(super) fn settlement_mut(settlement: &mut Settlement) -> Option<&mut Bytes> {
    match settlement {
        Settlement::Succeeded { result } => Some(result),
        Settlement::Failed { failure } => Some(failure),
        Settlement::Cancelled { .. } => None,
    }
}

/// Appends the line of a record. Content that is longer than `inline` must lie in the store by itself.
pub(super) fn encode(record: &Record, inline: usize, out: &mut Vec<u8>) -> Result<()> {
    let line = Line {
        at: record.at,
        kind: Kind::new(&record.kind, inline),
    };
    let invalid = |error| corrupt("a record cannot be written", error);
    serde_json::to_writer(&mut *out, &line).map_err(invalid)?;
    out.push(b'\n');
    Ok(())
}

/// Decodes the lines of a chunk.
pub(super) fn decode(chunk: &Bytes) -> Result<Vec<Decoded<Record>>> {
    let lines = serde_json::Deserializer::from_slice(chunk).into_iter::<Line<'_>>();
    let unreadable = |error| corrupt("a stored record cannot be read", error);
    lines
        .map(|line| {
            let line = line.map_err(unreadable)?;
            let (kind, blob) = line.kind.into_kind(chunk)?;
            let value = kind.at(line.at);
            Ok(Decoded { value, blob })
        })
        .collect()
}

impl<'a> End<'a> {
    pub(super) fn new(settlement: &'a Settlement, inline: usize) -> Self {
        match settlement {
            Settlement::Succeeded { result } => Self::Succeeded {
                result: Payload::new(result, inline),
            },
            Settlement::Failed { failure } => Self::Failed {
                failure: Payload::new(failure, inline),
            },
            Settlement::Cancelled { reason } => Self::Cancelled {
                reason: (&**reason).into(),
            },
        }
    }

    pub(super) fn into_settlement(self, within: &Bytes) -> Result<Decoded<Settlement>> {
        let (value, blob) = match self {
            Self::Succeeded { result } => {
                let (result, blob) = part(result, within)?;
                (Settlement::Succeeded { result }, blob)
            }
            Self::Failed { failure } => {
                let (failure, blob) = part(failure, within)?;
                (Settlement::Failed { failure }, blob)
            }
            Self::Cancelled { reason } => {
                let reason = owned(reason);
                (Settlement::Cancelled { reason }, None)
            }
        };
        Ok(Decoded { value, blob })
    }
}

fn part(payload: Payload<'_>, within: &Bytes) -> Result<(Bytes, Option<BlobRef>)> {
    Ok(match payload.content(within)? {
        Ok(content) => (content, None),
        Err(blob) => (Bytes::new(), Some(blob)),
    })
}

fn owned(text: Cow<'_, str>) -> Arc<str> {
    text.into()
}
