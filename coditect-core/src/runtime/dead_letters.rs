//! What was set aside, whatever it was: listed with its reason, and put back on purpose.

use std::fmt;

use coditect_bus::{
    DeadLetter, DeadLetterCursor, DeadLetterFilter, Destination, Envelope, Page, QueueName,
};
use coditect_dag::{Attempt, RunId};
use coditect_registry::Requirement;
use coditect_telemetry::TraceContext;
use serde::Serialize;

use super::Runtime;
use crate::agent::encode_output;
use crate::error::Error;
use crate::wire::{self, TaskMessage};

/// The dead letters of a deployment; made by [`Runtime::dead_letters`].
///
/// # Examples
///
/// ```
/// # use coditect_core::prelude::*;
/// use coditect_core::SetAsideKind;
///
/// # async fn example(runtime: Runtime) -> Result<(), coditect_core::Error> {
/// let dead = runtime.dead_letters();
/// let queue = dead.queue_of("summarize@1")?;
/// for letter in dead.list(&queue, None).await?.letters {
///     println!("{}: {}", letter.id(), letter.reason());
///     if let SetAsideKind::Request { .. } | SetAsideKind::Message = letter.kind() {
///         dead.redrive(&letter).await?;
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DeadLetters {
    runtime: Runtime,
}

/// Some dead letters of a queue, and where the next ones begin.
#[derive(Debug)]
pub struct SetAsidePage {
    /// The oldest first.
    pub letters: Vec<SetAside>,
    /// Where to go on; none if these were the last.
    pub next: Option<DeadLetterCursor>,
}

/// A message that was set aside, and what it was.
#[derive(Clone, Debug)]
pub struct SetAside {
    letter: DeadLetter,
    kind: SetAsideKind,
}

/// What a message was that was set aside.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SetAsideKind {
    /// An attempt of a task. It counts as lost, so that another has followed, or the task has failed.
    Task {
        /// The run that it belongs to.
        run: RunId,
        /// Its key within its plan.
        key: String,
        /// Which attempt it was.
        attempt: Attempt,
        /// Whose run it is.
        tenant: String,
        /// What was asked for.
        requirement: Requirement,
    },
    /// A question outside of runs.
    Request {
        /// What was asked for, where it can be read.
        requirement: Option<Requirement>,
    },
    /// Anything else: a message of the program's own, or one that cannot be read.
    Message,
}

impl SetAside {
    fn new(letter: DeadLetter) -> Self {
        let envelope = &letter.envelope;
        let kind = match envelope.header(wire::KIND) {
            _ if TaskMessage::is_in(envelope) => {
                TaskMessage::read(envelope)
                    .ok()
                    .map(|task| SetAsideKind::Task {
                        run: task.run,
                        key: task.key.to_string(),
                        attempt: task.attempt,
                        tenant: task.tenant.to_string(),
                        requirement: task.requirement,
                    })
            }
            Some("request") => Some(SetAsideKind::Request {
                requirement: wire::requirement_of(envelope).ok().flatten(),
            }),
            _ => None,
        };
        Self {
            kind: kind.unwrap_or(SetAsideKind::Message),
            letter,
        }
    }

    /// What it was.
    #[must_use]
    pub const fn kind(&self) -> &SetAsideKind {
        &self.kind
    }

    /// The message's id, as text.
    #[must_use]
    pub fn id(&self) -> String {
        self.letter.envelope.id().to_string()
    }

    /// Why it was set aside, with the words of whoever rejected it.
    #[must_use]
    pub fn reason(&self) -> String {
        self.letter.reason.to_string()
    }

    /// What it carried: the input of a task or a request.
    #[must_use]
    pub fn input(&self) -> &[u8] {
        self.letter.envelope.payload()
    }

    /// The trace that it belongs to.
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext> {
        wire::trace_of(&self.letter.envelope)
    }

    /// All that the bus knows of it: its queue, how often it was delivered, and when.
    #[must_use]
    pub const fn letter(&self) -> &DeadLetter {
        &self.letter
    }
}

impl Runtime {
    /// What was set aside in the queues of the deployment, to be looked at and put back.
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
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for what is no requirement such as `summarize` or `summarize@2`.
    pub fn queue_of(&self, requirement: &str) -> Result<QueueName, Error> {
        let parsed = requirement
            .parse()
            .map_err(|error: coditect_registry::Error| {
                Error::invalid(format!("`{requirement}` is no requirement")).with_source(error)
            })?;
        wire::expected_queue(&parsed)
    }

    /// Lists what was set aside in a queue, the oldest first, a hundred at a time.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if the bus cannot be reached, or has no such queue.
    pub async fn list(
        &self,
        queue: &QueueName,
        from: Option<DeadLetterCursor>,
    ) -> Result<SetAsidePage, Error> {
        let page = Page {
            from,
            ..Page::default()
        };
        let all = DeadLetterFilter::all();
        let page = self.runtime.bus().dead_letters(queue, &all, page).await?;
        Ok(SetAsidePage {
            letters: page.letters.into_iter().map(SetAside::new).collect(),
            next: page.next,
        })
    }

    /// Puts a message back into its queue, as new.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for an attempt of a task: it has ended, and putting it back would only
    /// repeat it. [Redrive](crate::RunHandle::redrive) the task instead, if it has failed.
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if it is not there any more, because somebody else has put it back.
    ///
    /// # Cancel safety
    ///
    /// It may have been put back; it is not lost.
    pub async fn redrive(&self, letter: &SetAside) -> Result<(), Error> {
        letter.check_redrivable()?;
        let queue = &letter.letter.queue;
        let one = DeadLetterFilter::id(letter.letter.envelope.id());
        match self.runtime.bus().redrive(queue, &one).await? {
            0 => Err(letter.is_gone()),
            _ => Ok(()),
        }
    }

    /// Puts a message back with another input.
    ///
    /// # Errors
    ///
    /// As [`redrive`](Self::redrive), and [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for an input that is no JSON.
    ///
    /// # Cancel safety
    ///
    /// Both may be there then, the changed one in the queue and the other set aside.
    pub async fn redrive_with<I: Serialize>(
        &self,
        letter: &SetAside,
        input: &I,
    ) -> Result<(), Error> {
        letter.check_redrivable()?;
        let bus = self.runtime.bus();
        let DeadLetter {
            queue, envelope, ..
        } = &letter.letter;
        let one = DeadLetterFilter::id(envelope.id());
        let there = bus.dead_letters(queue, &one, Page::default()).await?;
        if there.letters.is_empty() {
            return Err(letter.is_gone());
        }
        let input = encode_output(input).map_err(Error::of_run)?;
        let changed = Envelope::new(input)
            .with_headers(envelope.headers().clone())
            .with_content_type(coditect_bus::ContentType::JSON)
            .with_priority(envelope.priority());
        let changed = match envelope.reply_to() {
            Some(to) => changed.with_reply_to(to.clone()),
            None => changed,
        };
        let changed = match envelope.correlation_id() {
            Some(id) => changed.with_correlation_id(id.clone()),
            None => changed,
        };
        let to = Destination::Queue(queue.clone());
        bus.publish(&to, changed)
            .await
            .map_err(coditect_bus::Error::from)?;
        // Only now: it is there twice rather than not at all.
        bus.purge_dead_letters(queue, &one).await?;
        Ok(())
    }
}

impl SetAside {
    fn check_redrivable(&self) -> Result<(), Error> {
        match &self.kind {
            SetAsideKind::Task { run, key, .. } => Err(Error::invalid(format!(
                "an attempt that has ended is not put back: redrive the task `{key}` of run {run}, if it has failed"
            ))),
            _ => Ok(()),
        }
    }

    fn is_gone(&self) -> Error {
        let text = format!("the dead letter {} is not there any more", self.id());
        Error::new(crate::error::ErrorKind::NotFound, text)
    }
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetters").finish_non_exhaustive()
    }
}
