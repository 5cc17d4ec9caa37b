//! What an agent says of itself.

use std::time::Duration;

use coditect_registry::Capability;
use semver::Version;
use serde_json::Value;

use crate::error::Error;

/// How many tasks an agent takes at once where its card says nothing.
pub(crate) const DEFAULT_CONCURRENCY: usize = 128;

/// Describes an agent: its name, what it can do, and how much of it at once.
///
/// Names and versions are checked when the runtime starts.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use coditect_core::AgentCard;
///
/// let card = AgentCard::new("reader")
///     .with_capability("read-pdf@2.1.0")
///     .with_capability("read-html")
///     .with_description("turns documents into text")
///     .with_concurrency(8)
///     .with_timeout(Duration::from_secs(60));
/// assert_eq!((card.name(), card.concurrency()), ("reader", 8));
/// ```
#[derive(Clone, Debug)]
pub struct AgentCard {
    name: String,
    description: String,
    /// Each as `name` or `name@version`; empty stands for the agent's own name.
    capabilities: Vec<String>,
    concurrency: usize,
    timeout: Option<Duration>,
    exclusive: bool,
    input_schema: Option<Value>,
    output_schema: Option<Value>,
}

impl AgentCard {
    /// Describes an agent that offers one capability under its own name, such as `summarize` or
    /// `summarize@1.2.0`. Where no version is said it is 1.0.0.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            capabilities: Vec::new(),
            concurrency: DEFAULT_CONCURRENCY,
            timeout: None,
            exclusive: false,
            input_schema: None,
            output_schema: None,
        }
    }

    /// Renames the agent; what it offers stays the same.
    ///
    /// The agents of one process have different names, so where two offer the same capability, in other versions or with
    /// other means, at least one needs a name of its own.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        let former = std::mem::replace(&mut self.name, name.into());
        if self.capabilities.is_empty() {
            self.capabilities.push(former);
        }
        self
    }

    /// Adds a capability, as `name` or `name@version`. From the first one on, the agent's own name is only
    /// a name.
    #[must_use]
    pub fn with_capability(mut self, capability: impl Into<String>) -> Self {
        self.capabilities.push(capability.into());
        self
    }

    /// Says for people what the agent does.
    #[must_use]
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Sets how many tasks the agent takes at once; 128 where nothing is said, never less than 1.
    #[must_use]
    pub fn with_concurrency(mut self, tasks: usize) -> Self {
        self.concurrency = tasks.max(1);
        self
    }

    /// Lets one start of the agent work at a time: a newer one takes the name over, and the older one stops, with all that
    /// it is doing.
    ///
    /// It is for an agent that must not be there twice, such as the one writer of a file. The older one notices at its next
    /// renewal, a third of its lease later, so that both may work for that long.
    #[must_use]
    pub fn with_exclusive(mut self) -> Self {
        self.exclusive = true;
        self
    }

    /// Limits every attempt for which the plan sets no timeout.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Publishes the JSON schema of the input in the registry.
    #[must_use]
    pub fn with_input_schema(mut self, schema: Value) -> Self {
        self.input_schema = Some(schema);
        self
    }

    /// Publishes the JSON schema of the output in the registry.
    #[must_use]
    pub fn with_output_schema(mut self, schema: Value) -> Self {
        self.output_schema = Some(schema);
        self
    }

    /// The agent's name, without a version.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name
            .split_once('@')
            .map_or(&self.name, |(name, _)| name)
    }

    /// How many tasks the agent takes at once.
    #[must_use]
    pub const fn concurrency(&self) -> usize {
        self.concurrency
    }

    pub(crate) const fn is_exclusive(&self) -> bool {
        self.exclusive
    }

    pub(crate) const fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// The capabilities as the registry knows them.
    pub(crate) fn capabilities(&self) -> Result<Vec<Capability>, Error> {
        let own = std::slice::from_ref(&self.name);
        let offered = if self.capabilities.is_empty() {
            own
        } else {
            &self.capabilities
        };
        offered.iter().map(|text| self.capability(text)).collect()
    }

    fn capability(&self, text: &str) -> Result<Capability, Error> {
        let (name, version) = text.split_once('@').unwrap_or((text, "1.0.0"));
        let version = Version::parse(version).map_err(|error| {
            Error::invalid(format!(
                "agent `{}` offers `{text}`: what follows `@` must be a version such as 1.2.0",
                self.name()
            ))
            .with_source(error)
        })?;
        let mut capability = Capability::new(name, version)
            .map_err(|error| {
                Error::invalid(format!("agent `{}` cannot offer `{text}`", self.name()))
                    .with_source(error)
            })?
            .with_description(self.description.as_str());
        if let Some(schema) = &self.input_schema {
            capability = capability.with_input_schema(schema.clone());
        }
        if let Some(schema) = &self.output_schema {
            capability = capability.with_output_schema(schema.clone());
        }
        Ok(capability)
    }
}
