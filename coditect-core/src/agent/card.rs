//! What an agent says of itself.

use std::time::Duration;

use coditect_registry::Capability;
use coditect_resilience::{AdaptivePolicy, BreakerPolicy, StackPolicy};
use semver::Version;
use serde_json::Value;

use crate::effect::EffectClass;
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
    adaptive: Option<AdaptivePolicy>,
    timeout: Option<Duration>,
    breaker: Option<BreakerPolicy>,
    exclusive: bool,
    effect: EffectClass,
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
            adaptive: None,
            timeout: None,
            breaker: Some(StackPolicy::agent().breaker),
            exclusive: false,
            effect: EffectClass::default(),
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
        self.adaptive = None;
        self
    }

    /// Lets the runtime find out how many tasks the agent bears at once, between the bounds of the policy, in place of a
    /// [number](Self::with_concurrency).
    ///
    /// It is for an agent whose work is done by something else that gets slower the more is asked of it, such as a model or a
    /// database that it shares with others. Tasks are measured from their begin to their end: while they are as fast as they
    /// have been at best, there may be more; when they take longer than the tolerance, or time out, or ask to be
    /// [retried later](crate::AgentError::retry_after), there may be less. What waits for other agents is not measured, nor what fails
    /// otherwise. Tasks of one agent should be alike, or the tolerance wide.
    ///
    /// # Examples
    ///
    /// ```
    /// use coditect_core::AgentCard;
    /// use coditect_core::resilience::AdaptivePolicy;
    ///
    /// # fn main() -> Result<(), coditect_core::resilience::Error> {
    /// // Eight at first, never below two nor above 64.
    /// let card = AgentCard::new("summarize").with_adaptive_concurrency(AdaptivePolicy::new(2, 8, 64)?);
    /// assert_eq!(card.concurrency(), 64);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub const fn with_adaptive_concurrency(mut self, policy: AdaptivePolicy) -> Self {
        self.concurrency = policy.max() as usize;
        self.adaptive = Some(policy);
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

    /// Declares what doing a task of the agent's a second time would do; [`EffectClass::Idempotent`] where nothing is said.
    ///
    /// One whose tasks are irreversible answers no mere [requests](crate::Runtime::request), of which nothing is kept:
    /// submit a run.
    #[must_use]
    pub fn with_effect(mut self, class: EffectClass) -> Self {
        self.effect = class;
        self
    }

    /// Limits every attempt for which the plan sets no timeout.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets when the agent is given no more work of a capability for a while because it fails, or with `None` that it is
    /// given work whatever comes of it.
    ///
    /// There is a circuit breaker for each of its capabilities in each process. By default one opens when half of the last
    /// 20 calls failed, of 10 at least, for half a second to begin with and 1.5 s at most; then one call at a time probes,
    /// and the second success in a row closes it. Errors that may pass, panics, timeouts and, where the policy says what is
    /// slow, slow calls count as failures. What the caller did wrong does not count: inputs that do not fit or are too large,
    /// permanent errors, invalid plans, missed deadlines, and what was cancelled.
    ///
    /// While it is open, tasks wait or go to another agent: none fails for it, and no attempt is spent. Leave it out where
    /// failures say something of the input and nothing of the agent, and cannot be made
    /// [permanent](crate::AgentError::permanent).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use coditect_core::AgentCard;
    /// use coditect_core::resilience::BreakerPolicy;
    ///
    /// # fn main() -> Result<(), coditect_core::resilience::Error> {
    /// let policy = BreakerPolicy::builder()
    ///     .consecutive_failures(5)
    ///     .slow_calls(Duration::from_secs(20), 0.8)
    ///     .build()?;
    /// let card = AgentCard::new("summarize").with_breaker(policy);
    /// let stubborn = AgentCard::new("guess").with_breaker(None);
    /// # let _ = (card, stubborn);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_breaker(mut self, policy: impl Into<Option<BreakerPolicy>>) -> Self {
        self.breaker = policy.into();
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

    /// How many tasks the agent takes at once, at most.
    #[must_use]
    pub const fn concurrency(&self) -> usize {
        self.concurrency
    }

    /// What doing a task of the agent's a second time would do.
    #[must_use]
    pub const fn effect(&self) -> EffectClass {
        self.effect
    }

    pub(crate) const fn adaptive(&self) -> Option<AdaptivePolicy> {
        self.adaptive
    }

    pub(crate) const fn is_exclusive(&self) -> bool {
        self.exclusive
    }

    pub(crate) const fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    pub(crate) const fn breaker(&self) -> Option<BreakerPolicy> {
        self.breaker
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
