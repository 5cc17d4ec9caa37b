//! What is read of a namespace: its state, and its records in pages.

use std::collections::HashSet;

use redis::Value;

use super::error::Failure;
use super::link::Link;
use super::wire::{self, Stored, Unreadable, next_number, next_text, words};
use crate::{Filter, Instance};

/// The most members of an index that one page goes through.
const PAGE: usize = 256;

/// Which data there are, and how far they have come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Status {
    /// Where the numbers come from: the data, and the run of the server that keeps them.
    pub(super) origin: (String, String),
    pub(super) sequence: u64,
}

pub(super) async fn status(link: &Link) -> Result<Status, Failure> {
    let mut words = words(link.call(&link.script.call("status")).await?)?;
    let origin = (next_text(&mut words)?, next_text(&mut words)?);
    Ok(Status {
        origin,
        sequence: next_number(&mut words)?,
    })
}

/// A part of an index, in alphabetical order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    index: &'static str,
    from: String,
    to: String,
}

impl Range {
    pub(super) fn all() -> Self {
        Self::new("name", "-".to_owned(), "+".to_owned())
    }

    fn new(index: &'static str, from: String, to: String) -> Self {
        Self { index, from, to }
    }

    /// Returns the parts that hold everything that a filter lets pass, and perhaps more.
    pub(super) fn of(filter: &Filter) -> Vec<Self> {
        if let Some(agent) = &filter.agent {
            // The ends are the characters after `#` and `/`.
            return vec![
                Self::new("name", format!("[{agent}#"), format!("({agent}$")),
                Self::new("name", format!("[{agent}/"), format!("({agent}0")),
            ];
        }
        if let Some(requirement) = &filter.requirement {
            let name = &requirement.name;
            // `A` comes after `@`.
            let (from, to) = (format!("[{name}@"), format!("({name}A"));
            return vec![Self::new("offer", from, to)];
        }
        vec![Self::all()]
    }
}

/// One record as it was found: readable, or not.
pub(super) type Found = Result<Stored, Unreadable>;

/// Reads the next page of a range, and moves its beginning to where the page ends; `None` after the last page.
pub(super) async fn page(link: &Link, range: &mut Option<Range>) -> Result<Vec<Found>, Failure> {
    let Some(part) = range else {
        return Ok(Vec::new());
    };
    let mut command = link.script.call("page");
    command
        .arg(part.index)
        .arg(&part.from)
        .arg(&part.to)
        .arg(PAGE);
    let mut words = words(link.call(&command).await?)?;
    let _epoch = next_text(&mut words)?;
    let end = next_text(&mut words)?;
    match end.is_empty() {
        true => *range = None,
        false => part.from = format!("({end}"),
    }
    found(words)
}

/// Reads one record.
pub(super) async fn fetch(link: &Link, instance: &Instance) -> Result<Option<Found>, Failure> {
    let mut command = link.script.call("fetch");
    command.arg(wire::name(instance));
    let mut words = words(link.call(&command).await?)?;
    let _epoch = next_text(&mut words)?;
    Ok(found(words)?.pop())
}

/// Reads all records of some ranges, each once, the longest registered first.
pub(super) async fn all(link: &Link, ranges: Vec<Range>) -> Result<Vec<Stored>, Failure> {
    let (mut seen, mut records) = (HashSet::new(), Vec::new());
    for range in ranges {
        let mut rest = Some(range);
        while rest.is_some() {
            for found in page(link, &mut rest).await? {
                match found {
                    Ok(stored) => {
                        if seen.insert(stored.record.instance.clone()) {
                            records.push(stored);
                        }
                    }
                    Err(unreadable) => unreadable.warn(),
                }
            }
        }
    }
    records.sort_by_key(|stored| stored.token);
    Ok(records)
}

fn found(words: impl Iterator<Item = Value>) -> Result<Vec<Found>, Failure> {
    let mut words = words.peekable();
    let mut records = Vec::new();
    while words.peek().is_some() {
        let mut next = || next_text(&mut words);
        let (name, record, lease, verdict) = (next()?, next()?, next()?, next()?);
        records.push(wire::stored(&name, &record, &lease, &verdict));
    }
    Ok(records)
}
