//! The head of a run: how far it has come, rewritten by every append that touches it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use coditect_state::Result;
use serde::{Deserialize, Serialize};

use super::INLINE;
use super::error::corrupt;
use super::line::{End, settlement_mut};
use super::payload::{BlobRef, Payload};
use crate::journal::{RunCounts, RunState, RunSummary, Seq, Submission};
use crate::{RunId, Timestamp};

/// Is the head of a run. Tenant and labels of the summary are empty: they never change and lie elsewhere.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) summary: RunSummary,
    /// Whether the submission has left the inbox.
    pub(super) claimed: bool,
}

#[derive(Serialize, Deserialize)]
struct HeadRow<'a> {
    state: RunState,
    submitted_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settled_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    settlement: Option<End<'a>>,
    counts: RunCounts,
    last: Seq,
    claimed: bool,
}

impl Head {
    pub(super) fn new(submission: &Submission) -> Self {
        let mut summary = RunSummary::submitted(submission);
        summary.tenant = "".into();
        summary.labels = BTreeMap::new();
        Self {
            summary,
            claimed: false,
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.summary.state.is_settled()
    }

    pub(super) fn encode(&self) -> Result<Bytes> {
        let summary = &self.summary;
        encode(&HeadRow {
            state: summary.state,
            submitted_at: summary.submitted_at,
            start_at: summary.start_at,
            started_at: summary.started_at,
            settled_at: summary.settled_at,
            settlement: summary.settlement.as_ref().map(|it| End::new(it, INLINE)),
            counts: summary.counts,
            last: summary.last,
            claimed: self.claimed,
        })
    }

    /// Decodes a head; the content of its settlement may still have to be fetched.
    pub(super) fn decode(run: RunId, bytes: &Bytes) -> Result<(Self, Option<BlobRef>)> {
        let row: HeadRow<'_> = decode(bytes)?;
        let settlement = row.settlement.map(|end| end.into_settlement(bytes));
        let settlement = settlement.transpose()?;
        let blob = settlement.as_ref().and_then(|settlement| settlement.blob);
        let summary = RunSummary {
            run,
            state: row.state,
            tenant: "".into(),
            labels: BTreeMap::new(),
            submitted_at: row.submitted_at,
            start_at: row.start_at,
            started_at: row.started_at,
            settled_at: row.settled_at,
            settlement: settlement.map(|settlement| settlement.value),
            counts: row.counts,
            last: row.last,
        };
        let claimed = row.claimed;
        Ok((Self { summary, claimed }, blob))
    }

    /// Puts the fetched content of the settlement where it belongs.
    pub(super) fn fill(&mut self, content: Bytes) {
        if let Some(place) = self.summary.settlement.as_mut().and_then(settlement_mut) {
            *place = content;
        }
    }
}

#[derive(Serialize, Deserialize)]
struct SubmissionRow<'a> {
    #[serde(borrow)]
    tenant: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start_at: Option<Timestamp>,
    #[serde(borrow)]
    spec: Payload<'a>,
}

pub(super) fn encode_submission(submission: &Submission) -> Result<Bytes> {
    encode(&SubmissionRow {
        tenant: (&*submission.tenant).into(),
        idempotency_key: submission.idempotency_key.clone(),
        labels: submission.labels.clone(),
        at: submission.at,
        start_at: submission.start_at,
        spec: Payload::new(&submission.spec, INLINE),
    })
}

/// Decodes a submission; its spec may still have to be fetched.
pub(super) fn decode_submission(
    run: RunId,
    bytes: &Bytes,
) -> Result<(Submission, Option<BlobRef>)> {
    let row: SubmissionRow<'_> = decode(bytes)?;
    let (spec, blob) = match row.spec.content(bytes)? {
        Ok(spec) => (spec, None),
        Err(blob) => (Bytes::new(), Some(blob)),
    };
    let submission = Submission {
        run,
        idempotency_key: row.idempotency_key,
        tenant: Arc::from(row.tenant),
        labels: row.labels,
        spec,
        at: row.at,
        start_at: row.start_at,
    };
    Ok((submission, blob))
}

/// Encodes a row as JSON.
pub(super) fn encode<T: Serialize>(row: &T) -> Result<Bytes> {
    let text = serde_json::to_vec(row);
    text.map(Bytes::from)
        .map_err(|error| corrupt("a row cannot be written", error))
}

/// Decodes a row from JSON.
pub(super) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| corrupt("a stored row cannot be read", error))
}
