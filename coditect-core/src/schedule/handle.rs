//! A schedule by its name: looked at, paused, triggered, deleted.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use coditect_dag::RunId;

use super::book::{Book, not_found};
use super::info::ScheduleInfo;
use super::row::Occurrence;
use super::submission;
use crate::error::Error;
use crate::ports::Ports;

/// A schedule, which submits runs when it is time to; in this or another process.
///
/// Made by [`Submit::on_schedule`](crate::Submit::on_schedule), and found again by its name with
/// [`Runtime::schedule`](crate::Runtime::schedule). Dropping it changes nothing. What is asked of it is written down when the call returns.
///
/// # Cancel safety
///
/// A dropped future may have done what it was asked for.
#[derive(Clone)]
pub struct Schedule {
    name: Arc<str>,
    ports: Arc<Ports>,
}

impl Schedule {
    pub(crate) fn new(name: impl Into<Arc<str>>, ports: Arc<Ports>) -> Self {
        let name = name.into();
        Self { name, ports }
    }

    pub(super) fn book(&self) -> Book {
        Book::new(&self.ports)
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the schedule does, and how far it has come.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable).
    pub async fn info(&self) -> Result<ScheduleInfo, Error> {
        let rows = self.book().read(&self.name).await?;
        let (definition, state) = rows.ok_or_else(|| not_found(&self.name))?;
        ScheduleInfo::new(&self.name, &definition, &state)
    }

    /// Lets occurrences pass by until the schedule is [resumed](Self::resume). Runs go on, and it can be triggered.
    ///
    /// # Errors
    ///
    /// As [`info`](Self::info).
    pub async fn pause(&self, reason: impl Into<String>) -> Result<(), Error> {
        let reason = &reason.into();
        let pause = |state: &mut super::row::State| {
            state.paused.get_or_insert_with(|| reason.clone());
        };
        let (book, mark) = (self.book(), mark(&self.ports));
        book.change(&self.name, mark, &pause).await.map(drop)
    }

    /// Goes on after a [pause](Self::pause), from now: what came meanwhile is not made up for.
    ///
    /// # Errors
    ///
    /// As [`info`](Self::info).
    pub async fn resume(&self) -> Result<(), Error> {
        let (book, mark) = (self.book(), mark(&self.ports));
        let now = book.now().await?;
        let resume = |state: &mut super::row::State| {
            if state.paused.take().is_some() {
                state.cursor = state.cursor.max(now);
            }
        };
        book.change(&self.name, mark, &resume).await.map(drop)
    }

    /// Submits a run now, whatever goes on, and tells its id; also where the schedule is paused or has ended.
    ///
    /// # Errors
    ///
    /// As [`info`](Self::info).
    pub async fn trigger(&self) -> Result<RunId, Error> {
        let (book, mark) = (self.book(), mark(&self.ports));
        let occurrence = Occurrence {
            nominal: book.now().await?,
            run: self.ports.chance.run(),
            triggered: true,
            replaces: Vec::new(),
        };
        let trigger = |state: &mut super::row::State| {
            // The store may have done it before, and not have known.
            if !state.pending.contains(&occurrence) {
                state.pending.push(occurrence.clone());
            }
        };
        let definition = book.change(&self.name, mark, &trigger).await?;
        // The owner does the same, for one that ends here.
        let submission = submission(&self.name, &definition, &occurrence, &self.ports)?;
        Ok(self.ports.journal.submit(submission).await?.run)
    }

    /// Deletes the schedule; says whether there was one. Its runs go on.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable).
    pub async fn delete(&self) -> Result<bool, Error> {
        self.book().delete(&self.name, mark(&self.ports)).await
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Schedule").field(&self.name).finish()
    }
}

/// What nothing was ever marked with.
pub(super) fn mark(ports: &Ports) -> Bytes {
    Bytes::copy_from_slice(ports.chance.run().as_uuid().as_bytes())
}
