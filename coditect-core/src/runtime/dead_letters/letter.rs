//! One thing that was set aside: what it was, why, and what is known of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use coditect_bus::{DeadLetter, DeadLetterReason};
use coditect_dag::journal::RunSummary;
use coditect_dag::{Attempt, RunId, TaskId, Timestamp};
use coditect_registry::Requirement;
use coditect_telemetry::TraceContext;

use crate::agent::Performer;
use crate::error::CAUSED_BY;
use crate::failure::FailureKind;
use crate::run::FailedTask;
use crate::wire::{self, Outcome, TaskMessage};

/// Something that was set aside, and what it was.
#[derive(Clone, Debug)]
pub struct SetAside {
    kind: SetAsideKind,
    reason_name: &'static str,
    reason: String,
    chain: Vec<String>,
    attempts: u32,
    by: Option<Performer>,
    requirement: Option<Requirement>,
    tenant: Option<String>,
    labels: BTreeMap<String, String>,
    trace: Option<TraceContext>,
    first_failed_at: Timestamp,
    failed_at: Timestamp,
    redrive_at: Option<Timestamp>,
    redriven_from: Option<String>,
    input: Option<Bytes>,
    letter: Option<Box<DeadLetter>>,
}

/// What was set aside.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SetAsideKind {
    /// A task of a run that has failed for good, or waits to be put back by itself.
    Task {
        /// The run that it belongs to.
        run: RunId,
        /// The keys that lead to it, joined by `/`.
        path: String,
        /// The attempt that failed.
        attempt: Attempt,
    },
    /// The message of an attempt of a task. It counts as lost, so that another has followed, or the task has failed.
    Attempt {
        /// The run that it belongs to.
        run: RunId,
        /// Its key within its plan.
        key: String,
        /// Which attempt it was.
        attempt: Attempt,
    },
    /// What a worker told of an attempt, and no owner could make anything of.
    Outcome {
        /// The run that it belongs to, where that can be read.
        run: Option<RunId>,
    },
    /// A question outside of runs.
    Request,
    /// Anything else: a message of the program's own, or one that cannot be read.
    Message,
}

impl SetAside {
    pub(super) fn of_task(run: &RunSummary, task: FailedTask) -> (TaskId, Self) {
        let failure = task.failure;
        let set_aside = Self {
            kind: SetAsideKind::Task {
                run: run.run,
                path: task.path,
                attempt: task.attempt,
            },
            reason_name: failure.kind.name(),
            reason: failure.message,
            chain: failure.chain,
            attempts: task.attempt.get(),
            by: failure.by.map(|by| (*by).clone()),
            requirement: Some(task.requirement),
            tenant: Some(run.tenant.to_string()),
            labels: run.labels.clone(),
            trace: task.trace,
            first_failed_at: task.first_failed_at,
            failed_at: task.failed_at,
            redrive_at: task.redrive_at,
            redriven_from: task.origin.map(|attempt| attempt.to_string()),
            input: task.input,
            letter: None,
        };
        (task.task, set_aside)
    }

    pub(super) fn of_letter(letter: DeadLetter) -> Self {
        let envelope = &letter.envelope;
        let (mut attempts, mut by, mut tenant) = (letter.deliveries, None, None);
        let mut requirement = wire::requirement_of(envelope).ok().flatten();
        let kind = match envelope.header(wire::KIND) {
            _ if TaskMessage::is_in(envelope) => TaskMessage::read(envelope).ok().map(|task| {
                attempts = task.attempt.get();
                tenant = Some(task.tenant.to_string());
                requirement = Some(task.requirement);
                SetAsideKind::Attempt {
                    run: task.run,
                    key: task.key.to_string(),
                    attempt: task.attempt,
                }
            }),
            Some("outcome" | Outcome::SEVERAL) => {
                let read = Outcome::read(envelope);
                let outcome = read.or_else(|unreadable| unreadable.outcome.ok_or(())).ok();
                by = outcome.as_ref().and_then(|outcome| outcome.by.clone());
                let run = outcome.map(|outcome| outcome.run);
                Some(SetAsideKind::Outcome { run })
            }
            Some("request") => Some(SetAsideKind::Request),
            _ => None,
        };
        let words = match &letter.reason {
            DeadLetterReason::Rejected(words) => words.to_string(),
            other => other.to_string(),
        };
        let mut levels = words.split(CAUSED_BY).map(str::to_owned);
        Self {
            kind: kind.unwrap_or(SetAsideKind::Message),
            reason_name: letter.reason.name(),
            reason: levels.next().unwrap_or_default(),
            chain: levels.collect(),
            attempts,
            by: by.map(|by| (*by).clone()),
            requirement,
            tenant,
            labels: BTreeMap::new(),
            trace: wire::trace_of(envelope),
            first_failed_at: letter.first_failed_at.into(),
            failed_at: letter.dead_lettered_at.into(),
            redrive_at: None,
            redriven_from: envelope.header(wire::REDRIVEN_FROM).map(str::to_owned),
            input: Some(envelope.payload().clone()),
            letter: Some(Box::new(letter)),
        }
    }

    /// What it was.
    #[must_use]
    pub const fn kind(&self) -> &SetAsideKind {
        &self.kind
    }

    /// What tells it from others: a task's run and path, or the message's id.
    #[must_use]
    pub fn id(&self) -> String {
        match (&self.kind, &self.letter) {
            (SetAsideKind::Task { run, path, .. }, _) => format!("{run}/{path}"),
            (_, Some(letter)) => letter.envelope.id().to_string(),
            (_, None) => String::new(),
        }
    }

    /// The name of the reason: a [kind of failure](crate::FailureKind::name) for a task, and for a message `rejected`,
    /// `expired`, `overflow` or `delivery_limit`.
    #[must_use]
    pub const fn reason_name(&self) -> &'static str {
        self.reason_name
    }

    /// Says whether it may have had an effect that must not be had twice.
    pub(super) fn is_unclear(&self) -> bool {
        self.reason_name == FailureKind::OutcomeUnknown.name()
    }

    /// Why it was set aside, in the words of the agent, or of whoever rejected it.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The causes below the reason, outermost first.
    #[must_use]
    pub fn chain(&self) -> &[String] {
        &self.chain
    }

    /// Which attempt of a task it was, or how often a message was delivered.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Who had it last, where that is known.
    #[must_use]
    pub const fn by(&self) -> Option<&Performer> {
        self.by.as_ref()
    }

    /// What was asked for, where it can be read.
    #[must_use]
    pub const fn requirement(&self) -> Option<&Requirement> {
        self.requirement.as_ref()
    }

    /// On whose behalf a task was to be done.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    /// The labels of a task's run.
    #[must_use]
    pub const fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    /// The trace that it belongs to.
    #[must_use]
    pub const fn trace(&self) -> Option<&TraceContext> {
        self.trace.as_ref()
    }

    /// When it first failed, was given back or refused.
    #[must_use]
    pub const fn first_failed_at(&self) -> Timestamp {
        self.first_failed_at
    }

    /// When it was set aside.
    #[must_use]
    pub const fn failed_at(&self) -> Timestamp {
        self.failed_at
    }

    /// When it is put back [by itself](crate::RedrivePolicy); none where a person has to.
    #[must_use]
    pub const fn redrive_at(&self) -> Option<Timestamp> {
        self.redrive_at
    }

    /// What it had followed when it was put back before: the number of the attempt for a task, the id of the message for a
    /// message with another input.
    #[must_use]
    pub fn redriven_from(&self) -> Option<&str> {
        self.redriven_from.as_deref()
    }

    /// What it carried: the input of a task or a request. Empty for a task whose input cannot be made any more.
    #[must_use]
    pub fn input(&self) -> &[u8] {
        self.input.as_deref().unwrap_or_default()
    }

    /// All that the bus knows of a message: its queue, how often it was delivered, its headers; none of a task.
    #[must_use]
    pub fn letter(&self) -> Option<&DeadLetter> {
        self.letter.as_deref()
    }
}
