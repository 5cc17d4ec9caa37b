//! What was set aside, whatever it was: listed with its reason, and put back on purpose.

mod filter;
mod letter;
mod redrive;

use std::collections::BTreeSet;
use std::fmt;

use coditect_bus::{
    DeadLetterCursor, DeadLetterFilter, ErrorKind as BusErrorKind, Page, QueueName,
};
use coditect_dag::{RunId, TaskId};

use self::filter::Position;
pub use self::filter::{SetAsideCursor, SetAsideFilter};
pub use self::letter::{SetAside, SetAsideKind};
pub use self::redrive::{Redrive, Redriven};
use super::Runtime;
use crate::error::{Error, ErrorKind};
use crate::run::{failed_tasks, may_have_failed_tasks};
use crate::wire;

/// How many letters a page has at most.
const LETTERS: usize = 100;
/// After how many bytes of inputs a page ends, but for one that is larger by itself.
const BYTES: usize = 4 << 20;
/// How many runs are looked at for a page, and how many logs are read.
const RUNS: usize = 1_000;
const LOGS: usize = 100;

/// The dead letters of a deployment; made by [`Runtime::dead_letters`].
///
/// # Examples
///
/// ```
/// # use coditect_core::prelude::*;
/// use coditect_core::SetAsideFilter;
///
/// # async fn example(runtime: Runtime) -> Result<(), coditect_core::Error> {
/// let dead = runtime.dead_letters();
/// let timeouts = SetAsideFilter::tasks().with_capability("summarize")?.with_reason("timeout");
/// let mut from = None;
/// loop {
///     let page = dead.list(&timeouts, from.take()).await?;
///     for letter in &page.letters {
///         println!("{}: {} ({} attempts)", letter.id(), letter.reason(), letter.attempts());
///         dead.redrive(letter).await?;
///     }
///     from = page.next;
///     if from.is_none() {
///         break;
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DeadLetters {
    runtime: Runtime,
}

/// Some dead letters, and where the next ones begin.
#[derive(Debug)]
pub struct SetAsidePage {
    /// The tasks of the oldest runs first, then messages by queue, the oldest first. It may be empty and not be the last.
    pub letters: Vec<SetAside>,
    /// Where to go on; none if these were the last.
    pub next: Option<SetAsideCursor>,
}

/// A page while it is filled.
struct Filling<'a> {
    filter: &'a SetAsideFilter,
    letters: Vec<SetAside>,
    bytes: usize,
}

impl Filling<'_> {
    fn take(&mut self, letter: SetAside) {
        if self.filter.matches(&letter) {
            self.bytes = self.bytes.saturating_add(letter.input().len());
            self.letters.push(letter);
        }
    }

    fn is_full(&self) -> bool {
        self.letters.len() >= LETTERS || self.bytes >= BYTES
    }
}

impl Runtime {
    /// What was set aside in the deployment, whatever it was, to be looked at and put back.
    #[must_use]
    pub fn dead_letters(&self) -> DeadLetters {
        DeadLetters {
            runtime: self.clone(),
        }
    }
}

impl DeadLetters {
    /// The queue in which the tasks and requests of a capability wait, and are set aside.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for what is no requirement such as `summarize` or `summarize@2`.
    pub fn queue_of(&self, requirement: &str) -> Result<QueueName, Error> {
        let parsed = requirement
            .parse()
            .map_err(|error: coditect_registry::Error| {
                Error::invalid(format!("`{requirement}` is no requirement")).with_source(error)
            })?;
        wire::expected_queue(&parsed)
    }

    /// Lists what was set aside, a hundred letters or 4 MiB of inputs at a time.
    ///
    /// The tasks of runs are read from the logs of those runs that had failures, so that looking for a few among very many
    /// runs takes several pages, some of them empty. A queue that is not there has no dead letters.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] if the bus or the journal cannot be reached.
    ///
    /// # Cancel safety
    ///
    /// Reading changes nothing.
    pub async fn list(
        &self,
        filter: &SetAsideFilter,
        from: Option<SetAsideCursor>,
    ) -> Result<SetAsidePage, Error> {
        let filter = &filter.at(self.runtime.inner.submitter.ports().clock.now());
        let mut page = Filling {
            filter,
            letters: Vec::new(),
            bytes: 0,
        };
        let mut position = from.map_or(Position::START, |cursor| cursor.0);
        if let Position::Runs { after, beyond } = position {
            let next = match filter.places.tasks {
                true => self.fill_from_runs(&mut page, after, beyond).await?,
                false => None,
            };
            if let Some(next) = next {
                return Ok(page.ends(Some(next)));
            }
            position = Position::QUEUES;
            // A page has either tasks or messages.
            if !page.letters.is_empty() {
                return Ok(page.ends(Some(position)));
            }
        }
        let next = self.fill_from_queues(&mut page, &position).await?;
        Ok(page.ends(next))
    }

    /// Says where to go on, unless all runs have been looked at.
    async fn fill_from_runs(
        &self,
        page: &mut Filling<'_>,
        mut after: Option<RunId>,
        mut beyond: Option<TaskId>,
    ) -> Result<Option<Position>, Error> {
        let ports = self.runtime.inner.submitter.ports();
        let filter = coditect_dag::journal::RunFilter {
            after,
            limit: Some(RUNS),
            ..page.filter.of_runs()
        };
        let runs = ports.journal.list(filter).await?;
        let is_last = runs.len() < RUNS;
        let mut read = 0;
        for run in runs {
            if may_have_failed_tasks(&run) {
                if page.is_full() || read == LOGS {
                    return Ok(Some(Position::Runs { after, beyond }));
                }
                read += 1;
                let tasks = match failed_tasks(&run, ports, beyond.take()).await {
                    Ok(tasks) => tasks,
                    // It was forgotten just now.
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                };
                for task in tasks {
                    if page.is_full() {
                        return Ok(Some(Position::Runs { after, beyond }));
                    }
                    let (task, letter) = SetAside::of_task(&run, task);
                    page.take(letter);
                    beyond = Some(task);
                }
            }
            (after, beyond) = (Some(run.run), None);
        }
        Ok((!is_last).then_some(Position::Runs { after, beyond }))
    }

    async fn fill_from_queues(
        &self,
        page: &mut Filling<'_>,
        position: &Position,
    ) -> Result<Option<Position>, Error> {
        let bus = self.runtime.bus();
        let mut from = None;
        let mut queues = self.queues(page.filter)?;
        if let Position::Queue {
            name: Some(name),
            from: at,
        } = position
        {
            queues = queues.split_off(name);
            from = at.filter(|_| queues.contains(name)).map(DeadLetterCursor);
        }
        let mut chosen = DeadLetterFilter::all();
        chosen.before = page.filter.before.map(Into::into);
        for queue in queues {
            loop {
                if page.is_full() {
                    return Ok(Some(Position::in_queue(&queue, from)));
                }
                let request = Page {
                    from,
                    ..Page::default()
                };
                let found = match bus.dead_letters(&queue, &chosen, request).await {
                    Ok(found) => found,
                    Err(error) if error.kind() == BusErrorKind::NoRoute => break,
                    Err(error) => return Err(error.into()),
                };
                for letter in found.letters {
                    page.take(SetAside::of_letter(letter));
                }
                from = found.next;
                if from.is_none() {
                    break;
                }
            }
            from = None;
        }
        Ok(None)
    }

    /// The queues to look at, by name.
    fn queues(&self, filter: &SetAsideFilter) -> Result<BTreeSet<QueueName>, Error> {
        let mut queues: BTreeSet<_> = filter.places.queues.iter().cloned().collect();
        if !filter.places.known {
            return Ok(queues);
        }
        let ports = self.runtime.inner.submitter.ports();
        for record in self.runtime.inner.view.records() {
            for capability in record.capabilities.iter() {
                queues.insert(wire::queue_of(capability)?);
            }
            queues.extend(wire::own_queue_of(&record));
        }
        if let Some(capability) = &filter.capability {
            queues.insert(self.queue_of(capability.as_str())?);
        }
        for partition in ports.journal.partitions().partitions() {
            queues.insert(ports.outcome_queue(partition)?.name().clone());
        }
        Ok(queues)
    }
}

impl Filling<'_> {
    fn ends(self, next: Option<Position>) -> SetAsidePage {
        SetAsidePage {
            letters: self.letters,
            next: next.map(SetAsideCursor),
        }
    }
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetters").finish_non_exhaustive()
    }
}
