//! A run as a file: what was asked for, every record, and what else belongs to it, so that another journal can take it in.
//!
//! Lines of JSON: a heading with the format's version, the submission, the records as the journal over a store keeps them,
//! what belongs to the run, and an end with the counts and a hash of all lines before.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::line;
use super::payload::Payload;
use crate::journal::{Error, ErrorKind, Record, RunLog, Seq, Submission};
use crate::{RunId, Timestamp};

/// What the heading says of itself.
const NAME: &str = "coditect-run";

/// Is a run as it travels from one journal to another, with its records and what belongs to it.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use coditect_dag::journal::{RunArchive, RunJournal, MemoryJournal, Submission};
/// use coditect_dag::{RunId, Timestamp};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), coditect_dag::journal::Error> {
/// let here = MemoryJournal::default();
/// let run = here.submit(Submission::new(RunId::new(), "{}", Timestamp::from_millis(1))).await?.run;
/// let log = here.load(run).await?.expect("it was accepted");
/// let file = RunArchive::new(log).to_bytes()?;
///
/// let there = MemoryJournal::default();
/// there.import(RunArchive::from_bytes(&file)?.log).await?;
/// assert!(there.run(run).await?.is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunArchive {
    /// What was asked for, and what has happened.
    pub log: RunLog,
    /// What lies beside the journal.
    pub belongings: Vec<Belonging>,
}

/// Is a value that belongs to a run and is not the journal's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Belonging {
    /// What kind of thing it is.
    pub space: String,
    /// Its key among those of its kind and run.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
}

#[derive(Serialize, Deserialize)]
struct Heading<'a> {
    #[serde(borrow)]
    format: Cow<'a, str>,
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct SubmissionLine<'a> {
    run: RunId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<String>,
    #[serde(borrow)]
    tenant: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start_at: Option<Timestamp>,
    #[serde(borrow)]
    spec: Payload<'a>,
}

#[derive(Serialize, Deserialize)]
struct BelongingLine<'a> {
    #[serde(borrow)]
    space: Cow<'a, str>,
    /// In hexadecimal.
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow)]
    value: Payload<'a>,
}

#[derive(Serialize, Deserialize)]
struct End<'a> {
    records: usize,
    belongings: usize,
    /// Of all lines before, in hexadecimal.
    #[serde(borrow)]
    blake3: Cow<'a, str>,
}

impl RunArchive {
    /// The version of the form that this release writes, and the highest that it reads.
    pub const VERSION: u32 = 1;

    /// Makes an archive of a log, without belongings.
    #[must_use]
    pub const fn new(log: RunLog) -> Self {
        Self {
            log,
            belongings: Vec::new(),
        }
    }

    /// Returns the archive as the content of a file.
    ///
    /// # Errors
    ///
    /// `Invalid` if the log begins with a snapshot: the records before it are not there.
    pub fn to_bytes(&self) -> Result<Bytes, Error> {
        if self.log.snapshot.is_some() {
            let text = "the beginning of the run's log is no longer kept";
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        let submission = &self.log.submission;
        let mut out = Vec::new();
        let (format, version) = (NAME.into(), Self::VERSION);
        write(&mut out, &Heading { format, version })?;
        let heading = SubmissionLine {
            run: submission.run,
            idempotency_key: submission.idempotency_key.clone(),
            tenant: (&*submission.tenant).into(),
            labels: submission.labels.clone(),
            at: submission.at,
            start_at: submission.start_at,
            spec: Payload::new(&submission.spec, usize::MAX),
        };
        write(&mut out, &heading)?;
        for record in &self.log.tail {
            line::encode(record, usize::MAX, &mut out)?;
        }
        for belonging in &self.belongings {
            let key: String = belonging.key.iter().map(|it| format!("{it:02x}")).collect();
            let line = BelongingLine {
                space: (&*belonging.space).into(),
                key: key.into(),
                value: Payload::new(&belonging.value, usize::MAX),
            };
            write(&mut out, &line)?;
        }
        let end = End {
            records: self.log.tail.len(),
            belongings: self.belongings.len(),
            blake3: blake3::hash(&out).to_hex().to_string().into(),
        };
        write(&mut out, &end)?;
        Ok(out.into())
    }

    /// Reads the content of a file.
    ///
    /// # Errors
    ///
    /// `Invalid` if it is something else; `Corrupt` if it is damaged or cut off, or a newer release wrote it.
    pub fn from_bytes(file: &Bytes) -> Result<Self, Error> {
        let heading = file.split(|byte| *byte == b'\n').next();
        let heading = heading.and_then(|line| serde_json::from_slice::<Heading<'_>>(line).ok());
        let heading = heading.filter(|heading| heading.format == NAME);
        let Some(Heading { version, .. }) = heading else {
            let text = "the file is no exported run";
            return Err(Error::new(ErrorKind::Invalid, text));
        };
        if version > Self::VERSION {
            let text = format!("it has version {version}, this one knows {}", Self::VERSION);
            let newer = Error::new(ErrorKind::Corrupt, "a newer release exported the run");
            return Err(newer.with_source(text));
        }
        let body = file
            .strip_suffix(b"\n")
            .ok_or_else(|| damaged("it is cut off"))?;
        let last = body
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let end: End<'_> = read(&body[last..])?;
        if blake3::hash(&file[..last]).to_hex().as_str() != end.blake3 {
            return Err(damaged("its hash is another one"));
        }
        let mut lines = Lines(file.slice(..last));
        lines.next()?;
        let first = lines.next()?;
        let submission = submission(read(&first)?, &first)?;
        let mut tail = Vec::new();
        for _ in 0..end.records {
            tail.push(record(&lines.next()?)?);
        }
        let mut belongings = Vec::new();
        for _ in 0..end.belongings {
            let line = lines.next()?;
            belongings.push(belonging(read(&line)?, &line)?);
        }
        if !lines.0.is_empty() {
            return Err(damaged("there is more than its end says"));
        }
        let log = RunLog {
            submission: Arc::new(submission),
            snapshot: None,
            snapshot_upto: Seq::ZERO,
            tail,
        };
        Ok(Self { log, belongings })
    }
}

/// Hands out line after line.
struct Lines(Bytes);

impl Lines {
    fn next(&mut self) -> Result<Bytes, Error> {
        let end = self.0.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or_else(|| damaged("a line is missing"))?;
        let line = self.0.split_to(end + 1);
        Ok(line.slice(..end))
    }
}

fn submission(line: SubmissionLine<'_>, within: &Bytes) -> Result<Submission, Error> {
    Ok(Submission {
        run: line.run,
        idempotency_key: line.idempotency_key,
        tenant: line.tenant.into(),
        labels: line.labels,
        spec: content(line.spec, within)?,
        at: line.at,
        start_at: line.start_at,
    })
}

fn record(line: &Bytes) -> Result<Record, Error> {
    let decoded = line::decode(line)?.pop();
    let decoded = decoded.filter(|decoded| decoded.blob.is_none());
    let decoded = decoded.ok_or_else(|| damaged("a record is not whole"))?;
    Ok(decoded.value)
}

fn belonging(line: BelongingLine<'_>, within: &Bytes) -> Result<Belonging, Error> {
    let odd = || damaged("a key is not in hexadecimal");
    let digits: Option<Vec<_>> = line.key.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits
        .filter(|digits| digits.len() % 2 == 0)
        .ok_or_else(odd)?;
    let key = digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8);
    Ok(Belonging {
        space: line.space.into_owned(),
        key: key.collect(),
        value: content(line.value, within)?,
    })
}

fn content(payload: Payload<'_>, within: &Bytes) -> Result<Bytes, Error> {
    payload
        .content(within)?
        .map_err(|_| damaged("content is missing"))
}

fn write<T: Serialize>(out: &mut Vec<u8>, line: &T) -> Result<(), Error> {
    let unwritable =
        |error| Error::new(ErrorKind::Invalid, "the run cannot be written").with_source(error);
    serde_json::to_writer(&mut *out, line).map_err(unwritable)?;
    out.push(b'\n');
    Ok(())
}

fn read<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(line).map_err(damaged)
}

fn damaged(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Corrupt, "the file of the run is damaged").with_source(why)
}
