//! How records, reports and changes are written in Redis, and read from whatever stands there.

use std::fmt::Write;

use redis::Value;

use super::error::Failure;
use crate::{
    AgentRecord, FencingToken, Health, Instance, Load, RemovalReason, Result, TenantId, Verdict,
};

/// A record as it is stored under its lease.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stored {
    pub(super) token: FencingToken,
    pub(super) record: AgentRecord,
}

/// What stands under a name and cannot be read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Unreadable {
    pub(super) name: String,
    pub(super) why: String,
}

impl Unreadable {
    /// Says so, once for each time that it is met.
    pub(super) fn warn(&self) {
        let Self { name, why } = self;
        tracing::warn!(%name, %why, "a record in redis cannot be read and is left out");
    }
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// The number of its last change.
    pub(super) sequence: u64,
    /// How many changes it holds.
    pub(super) count: u64,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// An instance has been registered or its record replaced; `None`: the record has to be fetched.
    Put(Instance, Option<Box<AgentRecord>>),
    Reported(Vec<(Instance, Load, Health)>),
    Judged(Instance, Option<Verdict>),
    Gone(Instance, RemovalReason),
    /// A record that this version cannot read.
    Foreign(Instance),
    /// Written by a newer version, or by nobody who knows this format.
    Unreadable(String),
}

/// Writes what a renewal reports.
pub(super) fn report(load: Load, health: Health) -> String {
    let health = match health {
        Health::Ready => 'r',
        Health::Degraded => 'd',
        Health::Draining => 'x',
    };
    format!("{health} {} {}", load.in_flight, load.slots)
}

pub(super) fn parse_report(text: &str) -> Option<(Load, Health)> {
    let mut words = text.split(' ');
    let health = match words.next()? {
        "r" => Health::Ready,
        "d" => Health::Degraded,
        "x" => Health::Draining,
        _ => return None,
    };
    let load = Load::new(words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    words.next().is_none().then_some((load, health))
}

/// Writes an instance as `agent[/tenant]#incarnation`, so that those of one agent stand together.
pub(super) fn name(instance: &Instance) -> String {
    let Instance {
        tenant,
        agent,
        incarnation,
    } = instance;
    match tenant {
        Some(tenant) => format!("{agent}/{tenant}#{incarnation}"),
        None => format!("{agent}#{incarnation}"),
    }
}

pub(super) fn parse_instance(text: &str) -> Option<Instance> {
    let (name, incarnation) = text.split_once('#')?;
    let (agent, tenant) = match name.split_once('/') {
        Some((agent, tenant)) => (agent, Some(TenantId::new(tenant).ok()?)),
        None => (name, None),
    };
    let mut instance = Instance::new(agent.parse().ok()?, incarnation.parse().ok()?);
    instance.tenant = tenant;
    Some(instance)
}

/// Writes the capabilities of a record for the index.
pub(super) fn capabilities(record: &AgentRecord) -> String {
    let mut text = String::new();
    for capability in record.capabilities.iter() {
        let gap = if text.is_empty() { "" } else { " " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{gap}{capability}");
    }
    text
}

/// Writes a record; what a checker has found stands elsewhere.
pub(super) fn json(record: &AgentRecord) -> Result<String> {
    serde_json::to_string(&record.judged(None)).map_err(|source| {
        super::error::invalid(format!("record of {} cannot be written", record.agent()))
            .with_source(source)
    })
}

/// Reads a record with its lease and verdict, as the script shows them.
pub(super) fn stored(
    name: &str,
    record: &str,
    lease: &str,
    verdict: &str,
) -> Result<Stored, Unreadable> {
    let unreadable = |why: String| Unreadable {
        name: name.to_owned(),
        why,
    };
    let (head, json) = record.split_once('\n').unwrap_or((record, ""));
    if head.split(' ').next() != Some("1") {
        return Err(unreadable("its format is not 1".to_owned()));
    }
    let mut parsed: AgentRecord =
        serde_json::from_str(json).map_err(|error| unreadable(error.to_string()))?;
    if parse_instance(name).as_ref() != Some(&parsed.instance) {
        let why = format!("it is about {}", parsed.instance);
        return Err(unreadable(why));
    }
    parsed.verdict = parse_verdict(verdict).map_err(unreadable)?;
    let mut words = lease.splitn(4, ' ');
    let mut word = || words.next().unwrap_or_default();
    let (token, _ttl, fresh, reported) = (word(), word(), word(), word());
    let lease_fault = || unreadable("its lease cannot be read".to_owned());
    let token = token.parse().map_err(|_| lease_fault())?;
    (parsed.load, parsed.health) = parse_report(reported).ok_or_else(lease_fault)?;
    if fresh != "1" {
        parsed.health_reason = None;
    }
    Ok(Stored {
        token: FencingToken::new(token),
        record: parsed,
    })
}

fn parse_verdict(text: &str) -> Result<Option<Verdict>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    serde_json::from_str(text)
        .map(Some)
        .map_err(|error| format!("its verdict: {error}"))
}

/// Reads the answer to `XREAD`; nothing new is an empty list.
pub(super) fn entries(answer: Value) -> Result<Vec<Entry>, Failure> {
    let strange = || Failure::Strange("a log that is no stream");
    let streams = match answer {
        Value::Nil => return Ok(Vec::new()),
        Value::Array(streams) => streams,
        _ => return Err(strange()),
    };
    let Some(Value::Array(stream)) = streams.into_iter().next() else {
        return Err(strange());
    };
    let Some(Value::Array(entries)) = stream.into_iter().nth(1) else {
        return Err(strange());
    };
    entries
        .into_iter()
        .map(|entry| read_entry(entry).ok_or_else(strange))
        .collect()
}

fn read_entry(entry: Value) -> Option<Entry> {
    let Value::Array(parts) = entry else {
        return None;
    };
    let mut parts = parts.into_iter();
    let id = text(parts.next()?)?;
    let sequence = id.split('-').next()?.parse().ok()?;
    let Value::Array(fields) = parts.next()? else {
        return None;
    };
    let fields: Vec<_> = fields.into_iter().filter_map(text).collect();
    let field = |name: &str| {
        let pairs = fields.chunks_exact(2);
        let found = pairs.into_iter().find(|pair| pair[0] == name);
        found.map_or("", |pair| pair[1].as_str())
    };
    // A foreign entry stands for one change; what it is is unknown.
    let count = field("n").parse().unwrap_or(1);
    let kind = read_kind(field).unwrap_or_else(|| Kind::Unreadable(field("k").to_owned()));
    let kind = match kind {
        Kind::Reported(reports) if reports.len() as u64 != count => {
            Kind::Unreadable("report".to_owned())
        }
        Kind::Reported(reports) => Kind::Reported(reports),
        _ if count != 1 => Kind::Unreadable(field("k").to_owned()),
        other => other,
    };
    Some(Entry {
        sequence,
        count,
        kind,
    })
}

fn read_kind<'a>(field: impl Fn(&str) -> &'a str) -> Option<Kind> {
    let instance = || parse_instance(field("i"));
    Some(match field("k") {
        "new" | "set" => {
            let instance = instance()?;
            let json = field("d");
            if json.is_empty() {
                return Some(Kind::Put(instance, None));
            }
            let record = serde_json::from_str::<AgentRecord>(json).ok();
            match (record, parse_verdict(field("v"))) {
                (Some(record), Ok(verdict)) if record.instance == instance => {
                    Kind::Put(instance, Some(Box::new(record.judged(verdict))))
                }
                _ => Kind::Foreign(instance),
            }
        }
        "report" => {
            let lines = field("d").split('\n').map(|line| {
                let (name, reported) = line.split_once(' ')?;
                let (load, health) = parse_report(reported)?;
                Some((parse_instance(name)?, load, health))
            });
            Kind::Reported(lines.collect::<Option<_>>()?)
        }
        "judge" => Kind::Judged(instance()?, parse_verdict(field("v")).ok()?),
        "gone" => {
            let reason = match field("r") {
                "expired" => RemovalReason::Expired,
                "left" => RemovalReason::Deregistered,
                "replaced" => RemovalReason::Replaced,
                _ => return None,
            };
            Kind::Gone(instance()?, reason)
        }
        _ => return None,
    })
}

/// Takes the answer of the script apart: all of it is numbers and texts.
pub(super) fn words(answer: Value) -> Result<std::vec::IntoIter<Value>, Failure> {
    match answer {
        Value::Array(words) => Ok(words.into_iter()),
        _ => Err(Failure::Strange("an answer that is no list")),
    }
}

pub(super) fn text(value: Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => Some(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }),
        Value::SimpleString(text) => Some(text),
        Value::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Takes the next text of an answer.
pub(super) fn next_text(words: &mut impl Iterator<Item = Value>) -> Result<String, Failure> {
    words
        .next()
        .and_then(text)
        .ok_or(Failure::Strange("an answer that lacks a text"))
}

/// Takes the next number of an answer.
pub(super) fn next_number<T: std::str::FromStr>(
    words: &mut impl Iterator<Item = Value>,
) -> Result<T, Failure> {
    let number = next_text(words)?.parse();
    number.map_err(|_| Failure::Strange("an answer that lacks a number"))
}

#[cfg(test)]
mod tests;
