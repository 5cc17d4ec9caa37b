//! Choosing among what was set aside, and where a look at it goes on.

use std::time::Duration;

use coditect_bus::{DeadLetterCursor, QueueName};
use coditect_dag::{RunId, TaskId, Timestamp};
use coditect_registry::{AgentId, CapabilityName};
use serde::{Deserialize, Serialize};

use super::SetAside;
use crate::error::Error;

/// Chooses among what was set aside; all conditions must hold, and nothing that is not known of a letter meets one.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use coditect_core::SetAsideFilter;
///
/// let filter = SetAsideFilter::tasks()
///     .with_capability("summarize")?
///     .with_reason("timeout")
///     .with_older_than(Duration::from_secs(3_600));
/// # let _ = filter;
/// # Ok::<(), coditect_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct SetAsideFilter {
    pub(super) places: Places,
    pub(super) capability: Option<CapabilityName>,
    pub(super) agent: Option<AgentId>,
    pub(super) version: Option<semver::Version>,
    reason: Option<String>,
    tenant: Option<String>,
    label: Option<(String, String)>,
    older_than: Option<Duration>,
    /// Only what was set aside before.
    pub(super) before: Option<Timestamp>,
}

/// Where to look.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// The tasks of runs.
    pub(super) tasks: bool,
    /// The queues of the agents that are known, and of outcomes.
    pub(super) known: bool,
    /// These queues.
    pub(super) queues: Vec<QueueName>,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            tasks: true,
            known: true,
            queues: Vec::new(),
        }
    }
}

impl SetAsideFilter {
    /// Chooses everything: failed tasks of all runs, and the dead letters in the queues of the agents that are known, and of
    /// outcomes. Queues of the program's own are [added](Self::with_queue) by name.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Chooses failed tasks of runs.
    #[must_use]
    pub fn tasks() -> Self {
        let places = Places {
            known: false,
            ..Places::default()
        };
        Self {
            places,
            ..Self::default()
        }
    }

    /// Chooses what lies with one queue.
    #[must_use]
    pub fn queue(queue: QueueName) -> Self {
        let places = Places {
            tasks: false,
            known: false,
            queues: vec![queue],
        };
        Self {
            places,
            ..Self::default()
        }
    }

    /// Adds what lies with a queue that the bus alone knows, such as that of a subscriber's group.
    #[must_use]
    pub fn with_queue(mut self, queue: QueueName) -> Self {
        self.places.queues.push(queue);
        self
    }

    /// Narrows to a capability, in all its versions.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for what is no name of one.
    pub fn with_capability(mut self, capability: &str) -> Result<Self, Error> {
        let name = CapabilityName::new(capability).map_err(|error| {
            Error::invalid(format!("`{capability}` is no capability")).with_source(error)
        })?;
        self.capability = Some(name);
        Ok(self)
    }

    /// Narrows to what this agent had last.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for what is no name of one.
    pub fn with_agent(mut self, agent: &str) -> Result<Self, Error> {
        let id = AgentId::new(agent).map_err(|error| {
            Error::invalid(format!("`{agent}` is no name for an agent")).with_source(error)
        })?;
        self.agent = Some(id);
        Ok(self)
    }

    /// Narrows to what an agent had last that offers the capability in this version.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for what is no version such as `1.2.0`.
    pub fn with_version(mut self, version: &str) -> Result<Self, Error> {
        let parsed = version.parse().map_err(|error: semver::Error| {
            Error::invalid(format!("`{version}` is no version")).with_source(error)
        })?;
        self.version = Some(parsed);
        Ok(self)
    }

    /// Narrows to a reason by its [name](SetAside::reason_name), such as `timeout` or `expired`.
    #[must_use]
    pub fn with_reason(mut self, name: impl Into<String>) -> Self {
        self.reason = Some(name.into());
        self
    }

    /// Narrows to a tenant.
    #[must_use]
    pub fn with_tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// Narrows to the tasks of runs that have this label.
    #[must_use]
    pub fn with_label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.label = Some((name.into(), value.into()));
        self
    }

    /// Narrows to what has been set aside for this long.
    #[must_use]
    pub fn with_older_than(mut self, age: Duration) -> Self {
        self.older_than = Some(age);
        self
    }

    /// The same, with the age reckoned from now.
    pub(super) fn at(&self, now: Timestamp) -> Self {
        let mut filter = self.clone();
        if let Some(age) = filter.older_than.take() {
            let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
            let latest = Timestamp::from_millis(now.as_millis().saturating_sub(age));
            // What is exactly that old is old enough.
            filter.before = Some(latest.saturating_add(Duration::from_millis(1)));
        }
        filter
    }

    /// The conditions that a run meets as a whole.
    pub(super) fn of_runs(&self) -> coditect_dag::journal::RunFilter {
        coditect_dag::journal::RunFilter {
            tenant: self.tenant.as_deref().map(Into::into),
            label: self.label.clone(),
            ..Default::default()
        }
    }

    /// Says whether only what was set aside for this reason is chosen.
    pub(super) fn names(&self, reason: &str) -> bool {
        self.reason.as_deref() == Some(reason)
    }

    /// Says whether a letter is chosen.
    pub(super) fn matches(&self, letter: &SetAside) -> bool {
        let by = letter.by();
        let is = |wanted: &Option<String>, known: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| known == Some(wanted))
        };
        let labelled = |(name, value): &(String, String)| letter.labels().get(name) == Some(value);
        let capability = letter.requirement().map(|requirement| &requirement.name);
        self.capability
            .as_ref()
            .is_none_or(|wanted| capability == Some(wanted))
            && self
                .agent
                .as_ref()
                .is_none_or(|wanted| by.is_some_and(|by| by.agent == *wanted))
            && self
                .version
                .as_ref()
                .is_none_or(|wanted| by.is_some_and(|by| by.version == *wanted))
            && is(&self.reason, Some(letter.reason_name()))
            && is(&self.tenant, letter.tenant())
            && self.label.as_ref().is_none_or(labelled)
            && self.before.is_none_or(|before| letter.failed_at() < before)
    }
}

/// Marks where a look at what was set aside goes on. It can be kept as text, in any encoding that serde knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAsideCursor(pub(super) Position);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Position {
    /// In the run after this one, beyond this task of it.
    Runs {
        after: Option<RunId>,
        beyond: Option<TaskId>,
    },
    /// With this queue or one after it; with the first where none is named.
    Queue {
        name: Option<QueueName>,
        from: Option<u64>,
    },
}

impl Position {
    pub(super) const START: Self = Self::Runs {
        after: None,
        beyond: None,
    };

    pub(super) const QUEUES: Self = Self::Queue {
        name: None,
        from: None,
    };

    pub(super) fn in_queue(name: &QueueName, from: Option<DeadLetterCursor>) -> Self {
        Self::Queue {
            name: Some(name.clone()),
            from: from.map(|cursor| cursor.0),
        }
    }
}
