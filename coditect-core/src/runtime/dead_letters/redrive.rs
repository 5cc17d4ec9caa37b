//! Putting back what was set aside: one letter or many, as it was or changed.

use coditect_bus::{
    ContentType, DeadLetter, DeadLetterFilter, Destination, Envelope, Page, QueueName,
};
use coditect_registry::{AgentId, Requirement, Standing};
use rustc_hash::FxHashSet;
use serde::Serialize;

use super::{DeadLetters, SetAside, SetAsideCursor, SetAsideFilter, SetAsideKind};
use crate::agent::encode_output;
use crate::error::{Error, ErrorKind};
use crate::run::RunHandle;
use crate::wire;

/// Says what is changed when something is put back; nothing by default.
///
/// # Examples
///
/// ```
/// use coditect_core::Redrive;
///
/// let changed = Redrive::default()
///     .with_input(&"a shorter text")?
///     .with_requirement("summarize@2")?;
/// # let _ = changed;
/// # Ok::<(), coditect_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Redrive {
    input: Option<bytes::Bytes>,
    requirement: Option<Requirement>,
    agent: Option<AgentId>,
}

/// What became of many letters that were to be put back.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Redriven {
    /// How many were put back.
    pub redriven: u64,
    /// How many were chosen and could not be: attempts and outcomes, tasks whose run has succeeded without them, what
    /// somebody else has put back, and irreversible tasks of which nobody knows what became, unless the filter named that.
    pub refused: u64,
}

impl Redrive {
    /// Gives another input.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for one that cannot be written as JSON.
    pub fn with_input<I: Serialize>(mut self, input: &I) -> Result<Self, Error> {
        self.input = Some(encode_output(input).map_err(Error::of_run)?);
        Ok(self)
    }

    /// Gives it to other agents: those that offer this, such as another version of the capability, or one that a certain
    /// agent alone offers.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for what is no requirement such as `summarize` or `summarize@2`.
    pub fn with_requirement(mut self, requirement: &str) -> Result<Self, Error> {
        let parsed = requirement.parse();
        self.requirement = Some(parsed.map_err(|error: coditect_registry::Error| {
            Error::invalid(format!("`{requirement}` is no requirement")).with_source(error)
        })?);
        Ok(self)
    }

    /// Gives it to this agent alone, by the name of its card, whichever start of it.
    ///
    /// The agent has to offer what was required, or what [`with_requirement`](Self::with_requirement) says. As long as it does
    /// not, or is not there, a task waits, visibly unserved, until its deadline, and a request in its queue.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for what is no name of one.
    ///
    /// # Examples
    ///
    /// ```
    /// # use coditect_core::prelude::*;
    /// use coditect_core::{Redrive, SetAsideFilter};
    ///
    /// # async fn example(runtime: Runtime) -> Result<(), coditect_core::Error> {
    /// // What the one writer could not do, the other is to try.
    /// let spent = SetAsideFilter::tasks().with_agent("writer")?;
    /// let elsewhere = Redrive::default().with_agent("second-writer")?;
    /// runtime.dead_letters().redrive_all(&spent, &elsewhere).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_agent(mut self, agent: &str) -> Result<Self, Error> {
        let id = AgentId::new(agent).map_err(|error| {
            Error::invalid(format!("`{agent}` is no name for an agent")).with_source(error)
        })?;
        self.agent = Some(id);
        Ok(self)
    }

    fn changes_nothing(&self) -> bool {
        self.input.is_none() && !self.changes_agents()
    }

    /// Says whether others may do it than before.
    const fn changes_agents(&self) -> bool {
        self.requirement.is_some() || self.agent.is_some()
    }

    /// Makes another message of one, which names where it comes from.
    fn change(&self, envelope: &Envelope) -> Envelope {
        let payload = self.input.as_ref().unwrap_or(envelope.payload()).clone();
        let mut changed = Envelope::new(payload)
            .with_headers(envelope.headers().clone())
            .with_content_type(ContentType::JSON)
            .with_priority(envelope.priority())
            .with_header(wire::REDRIVEN_FROM, envelope.id().to_string());
        if let Some(requirement) = &self.requirement {
            changed = changed.with_header(wire::REQUIREMENT, requirement.to_string());
        }
        if self.changes_agents() {
            // Whom it was for before does not count any more.
            changed.headers_mut().remove(wire::AGENT);
        }
        if let Some(agent) = &self.agent {
            changed = changed.with_header(wire::AGENT, agent.to_string());
        }
        if let Some(to) = envelope.reply_to() {
            changed = changed.with_reply_to(to.clone());
        }
        match envelope.correlation_id() {
            Some(id) => changed.with_correlation_id(id.clone()),
            None => changed,
        }
    }
}

impl DeadLetters {
    /// Puts something back as it was.
    ///
    /// A task gets another attempt, with what was skipped because of it, and its run is opened again if that has failed; one that
    /// is put back [by itself](crate::RedrivePolicy) later waits no longer. A message goes back into its queue, as new. Doing it
    /// twice does it once: the second call finds nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for an attempt or an outcome: it has ended, and putting it back would only repeat it; and
    /// for a task that nobody could use any more. [`ErrorKind::NotFound`] if it is not there any more, because
    /// it was put back before, or has failed again since. Two calls at the same moment may both succeed, and put a task back once.
    ///
    /// # Cancel safety
    ///
    /// It may have been put back; it is not lost.
    pub async fn redrive(&self, letter: &SetAside) -> Result<(), Error> {
        self.redrive_as(letter, &Redrive::default()).await
    }

    /// Puts something back with another input, to other agents, or to one agent alone.
    ///
    /// # Errors
    ///
    /// As [`redrive`](Self::redrive), and [`ErrorKind::Invalid`] for an input of a task with more than 64 KiB, and for another
    /// requirement or agent of a message that is no request.
    ///
    /// # Cancel safety
    ///
    /// As [`redrive`](Self::redrive). A changed message may be there twice then, in the queue and set aside.
    pub async fn redrive_as(&self, letter: &SetAside, redrive: &Redrive) -> Result<(), Error> {
        match letter.kind() {
            SetAsideKind::Task { run, path, attempt } => {
                let handle: RunHandle<()> = self.runtime.attach(*run);
                let input = redrive.input.clone();
                let to = (redrive.requirement.clone(), redrive.agent.clone());
                handle.redrive_attempt(path, Some(*attempt), input, to).await
            }
            SetAsideKind::Attempt { run, key, .. } => Err(Error::invalid(format!(
                "an attempt that has ended is not put back: redrive the task `{key}` of run {run}, if it has failed"
            ))),
            SetAsideKind::Outcome { .. } => Err(Error::invalid(
                "what a worker told is not put back: redrive the task, if it has failed",
            )),
            SetAsideKind::Message if redrive.changes_agents() => Err(Error::invalid(
                "a message that is no request has no agents to be given to",
            )),
            SetAsideKind::Request | SetAsideKind::Message => match letter.letter() {
                Some(kept) => self.redrive_message(kept, redrive).await,
                None => Err(gone(letter)),
            },
        }
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => gone(letter).with_source(error),
            _ => error,
        })
    }

    /// Puts everything back that a filter chooses, each once.
    ///
    /// What must not be done twice and may have been done is put back only where the filter names its
    /// [reason](SetAsideFilter::with_reason), `outcome_unknown`: whoever asks for that has looked.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`], [`ErrorKind::Closed`]: some may have been put back; the call may be repeated, and
    /// puts none back twice.
    ///
    /// # Cancel safety
    ///
    /// Some may have been put back; none is lost.
    pub async fn redrive_all(
        &self,
        filter: &SetAsideFilter,
        redrive: &Redrive,
    ) -> Result<Redriven, Error> {
        // What fails again at once is not put back a second time.
        let mut seen = FxHashSet::default();
        let mut done = Redriven::default();
        let mut from: Option<SetAsideCursor> = None;
        loop {
            let page = self.list(filter, from.clone()).await?;
            let (mut here, mut refused) = (0, 0);
            for letter in &page.letters {
                let origin = letter.redriven_from().is_some_and(|id| seen.contains(id));
                if origin || !seen.insert(letter.id()) {
                    continue;
                }
                if letter.is_unclear() && !filter.names(letter.reason_name()) {
                    refused += 1;
                    continue;
                }
                match self.redrive_as(letter, redrive).await {
                    Ok(()) => here += 1,
                    Err(error) if is_of_letter(&error) => refused += 1,
                    Err(error) => return Err(error),
                }
            }
            done.redriven += here;
            let messages = page.letters.iter().any(|letter| letter.letter().is_some());
            done.refused += refused;
            if here > 0 && messages {
                // Those that were put back have left, and the others may have moved up.
                continue;
            }
            from = page.next;
            if from.is_none() {
                return Ok(done);
            }
        }
    }

    async fn redrive_message(&self, letter: &DeadLetter, redrive: &Redrive) -> Result<(), Error> {
        let bus = self.runtime.bus();
        let DeadLetter {
            queue, envelope, ..
        } = letter;
        let one = DeadLetterFilter::id(envelope.id());
        let missing = || Error::new(ErrorKind::NotFound, "somebody has put it back");
        if redrive.changes_nothing() {
            return match bus.redrive(queue, &one).await? {
                0 => Err(missing()),
                _ => Ok(()),
            };
        }
        let there = bus.dead_letters(queue, &one, Page::default()).await?;
        if there.letters.is_empty() {
            return Err(missing());
        }
        let to = match redrive.changes_agents() {
            true => self.queue_for(redrive, envelope)?,
            false => queue.clone(),
        };
        bus.publish(&Destination::Queue(to), redrive.change(envelope))
            .await
            .map_err(coditect_bus::Error::from)?;
        // Only now: it is there twice rather than not at all.
        bus.purge_dead_letters(queue, &one).await?;
        Ok(())
    }
}

impl DeadLetters {
    /// Where those look that are to have a request from now on.
    fn queue_for(&self, redrive: &Redrive, envelope: &Envelope) -> Result<QueueName, Error> {
        let requirement = match &redrive.requirement {
            Some(requirement) => requirement.clone(),
            None => wire::requirement_of(envelope)?.ok_or_else(|| {
                Error::invalid("the request does not say what it requires, of whichever agent")
            })?,
        };
        let records = self.runtime.inner.view.records();
        let meant = records.iter().filter(|record| {
            let agent = redrive.agent.as_ref();
            record.standing() <= Standing::Degraded
                && agent.is_none_or(|agent| record.agent() == agent)
        });
        let offered = meant.flat_map(|record| record.capabilities.iter());
        let highest = offered
            .filter(|capability| requirement.matches(capability))
            .max_by(|a, b| a.version.cmp(&b.version));
        match highest {
            Some(capability) => wire::queue_of(capability),
            None => wire::expected_queue(&requirement),
        }
    }
}

/// Says whether an error is about the letter rather than about whom it was to be put back with.
fn is_of_letter(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Invalid | ErrorKind::NotFound)
}

fn gone(letter: &SetAside) -> Error {
    let text = format!("the dead letter {} is not there any more", letter.id());
    Error::new(ErrorKind::NotFound, text)
}
