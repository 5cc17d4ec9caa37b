//! The record of one agent: what it offers, where, how loaded and how healthy it is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    AgentId, Capability, Error, Incarnation, Instance, Reason, Requirement, Result, TenantId,
    Verdict,
};

/// Describes one live instance of an agent, as it is registered under a lease.
///
/// Cloning is cheap: what does not change with a heartbeat is shared.
///
/// # Examples
///
/// ```
/// use coditect_registry::{AgentRecord, Capability, Incarnation, Load};
///
/// let record = AgentRecord::new("writer".parse()?, Incarnation::fresh())
///     .with_capabilities([Capability::new("summarize", "1.0.0".parse()?)?])
///     .with_load(Load::idle(8))
///     .with_label("zone", "eu-1");
/// assert!(record.offers(&"summarize@^1".parse()?));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentRecord {
    /// Whose record it is.
    #[serde(flatten)]
    pub instance: Instance,
    /// What it can do; the same name may stand there in several versions.
    pub capabilities: Arc<[Capability]>,
    /// Where it can be reached directly, if it can; the registry does not interpret it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Arc<str>>,
    /// Its share of the work, in proportion to the weights of the others.
    #[serde(default)]
    pub weight: Weight,
    /// How much it is doing, as of its last renewal.
    pub load: Load,
    /// Whether it wants work, as of its last renewal.
    #[serde(default)]
    pub health: Health,
    /// Why it reports this health, if it says so; a renewal that reports another health drops it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_reason: Option<Reason>,
    /// What a checker has found out about it; set by [`Registry::judge`](crate::Registry::judge) alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Whether a new start replaces the older ones of the same name, instead of standing beside them.
    #[serde(default)]
    pub exclusive: bool,
    /// Facts for filters and people, such as a zone or a release.
    #[serde(default)]
    pub labels: Arc<BTreeMap<String, String>>,
}

impl AgentRecord {
    /// The most capabilities one record may have.
    pub const MAX_CAPABILITIES: usize = 1024;
    /// The most labels one record may have.
    pub const MAX_LABELS: usize = 64;
    /// The largest record, in bytes of its JSON.
    pub const MAX_BYTES: usize = 1 << 20;

    /// Describes an idle, ready instance that offers nothing yet.
    pub fn new(agent: AgentId, incarnation: Incarnation) -> Self {
        Self {
            instance: Instance::new(agent, incarnation),
            capabilities: Arc::new([]),
            endpoint: None,
            weight: Weight::default(),
            load: Load::default(),
            health: Health::Ready,
            health_reason: None,
            verdict: None,
            exclusive: false,
            labels: Arc::default(),
        }
    }

    /// Sets what it can do.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: impl IntoIterator<Item = Capability>) -> Self {
        self.capabilities = capabilities.into_iter().collect();
        self
    }

    /// Sets where it can be reached directly.
    #[must_use]
    pub fn with_endpoint(mut self, endpoint: impl Into<Arc<str>>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// Sets its share of the work.
    #[must_use]
    pub fn with_weight(mut self, weight: Weight) -> Self {
        self.weight = weight;
        self
    }

    /// Sets how much it is doing.
    #[must_use]
    pub fn with_load(mut self, load: Load) -> Self {
        self.load = load;
        self
    }

    /// Sets whether it wants work.
    #[must_use]
    pub fn with_health(mut self, health: Health) -> Self {
        self.health = health;
        self
    }

    /// Sets whether it wants work, and why; hand it to [`Registry::update`](crate::Registry::update) to report both.
    #[must_use]
    pub fn with_health_reason(mut self, health: Health, reason: Reason) -> Self {
        self.health = health;
        self.health_reason = Some(reason);
        self
    }

    /// Gives it to one tenant, whose work alone it then takes.
    #[must_use]
    pub fn with_tenant(mut self, tenant: TenantId) -> Self {
        self.instance.tenant = Some(tenant);
        self
    }

    /// Makes a new start of this agent replace the older ones.
    #[must_use]
    pub fn with_exclusive(mut self, exclusive: bool) -> Self {
        self.exclusive = exclusive;
        self
    }

    /// Adds a label, replacing one with the same key.
    #[must_use]
    pub fn with_label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.labels).insert(key.into(), value.into());
        self
    }

    /// Returns the record after a renewal, which reports load and health: what backends store.
    #[must_use]
    pub fn reported(&self, load: Load, health: Health) -> Self {
        let mut record = self.clone();
        record.load = load;
        if record.health != health {
            record.health = health;
            record.health_reason = None;
        }
        record
    }

    /// Returns the record with a checker's verdict, or without any: what backends store.
    #[must_use]
    pub fn judged(&self, verdict: Option<Verdict>) -> Self {
        let mut record = self.clone();
        record.verdict = verdict;
        record
    }

    /// Returns the agent's logical identity.
    pub fn agent(&self) -> &AgentId {
        &self.instance.agent
    }

    /// Returns the start of the process it lives in.
    pub fn incarnation(&self) -> Incarnation {
        self.instance.incarnation
    }

    /// Returns the tenant it belongs to; `None` if it serves all.
    pub fn tenant(&self) -> Option<&TenantId> {
        self.instance.tenant.as_ref()
    }

    /// Tells whether one of its capabilities meets the requirement, whatever its health.
    pub fn offers(&self, requirement: &Requirement) -> bool {
        self.capabilities
            .iter()
            .any(|capability| requirement.matches(capability))
    }

    /// Checks the limits that every backend keeps; backends call it before they store a record.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid), naming the limit: [`MAX_CAPABILITIES`](Self::MAX_CAPABILITIES),
    /// [`MAX_LABELS`](Self::MAX_LABELS), [`MAX_BYTES`](Self::MAX_BYTES), or one capability listed twice in one version.
    pub fn validate(&self) -> Result<()> {
        let agent = self.agent();
        if self.capabilities.len() > Self::MAX_CAPABILITIES {
            let (count, max) = (self.capabilities.len(), Self::MAX_CAPABILITIES);
            return Err(Error::invalid(format!(
                "agent {agent} offers {count} capabilities, more than {max}"
            )));
        }
        if self.labels.len() > Self::MAX_LABELS {
            let (count, max) = (self.labels.len(), Self::MAX_LABELS);
            return Err(Error::invalid(format!(
                "agent {agent} has {count} labels, more than {max}"
            )));
        }
        let mut offered: Vec<_> = self
            .capabilities
            .iter()
            .map(|c| (&c.name, &c.version))
            .collect();
        offered.sort_unstable();
        if let Some(twice) = offered.windows(2).find(|pair| pair[0] == pair[1]) {
            let (name, version) = twice[0];
            return Err(Error::invalid(format!(
                "agent {agent} lists {name}@{version} twice"
            )));
        }
        self.check_size()
    }

    fn check_size(&self) -> Result<()> {
        let mut size = Counter(0);
        serde_json::to_writer(&mut size, self).map_err(|e| {
            Error::invalid(format!(
                "the record of agent {} cannot be written",
                self.agent()
            ))
            .with_source(e)
        })?;
        if size.0 > Self::MAX_BYTES {
            let (agent, size, max) = (self.agent(), size.0, Self::MAX_BYTES);
            return Err(Error::invalid(format!(
                "the record of agent {agent} has {size} bytes, more than {max}"
            )));
        }
        Ok(())
    }
}

/// Counts what is written to it.
struct Counter(usize);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Says how much an agent is doing and how much it can do at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Load {
    /// Tasks that it is working on.
    pub in_flight: u32,
    /// Tasks that it can work on at once.
    pub slots: u32,
}

impl Load {
    /// States a load.
    pub const fn new(in_flight: u32, slots: u32) -> Self {
        Self { in_flight, slots }
    }

    /// States that all `slots` are free.
    pub const fn idle(slots: u32) -> Self {
        Self::new(0, slots)
    }

    /// Returns how many slots are free.
    pub const fn free(self) -> u32 {
        self.slots.saturating_sub(self.in_flight)
    }
}

/// Says whether an instance wants work, as it reports itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It takes work.
    #[default]
    Ready,
    /// It takes work, but only if nobody is ready.
    Degraded,
    /// It finishes what it has and takes no more.
    Draining,
}

/// States an instance's share of the work: 1 (the default) to 65,535.
///
/// An instance that should get nothing is [`Health::Draining`]; there is no weight 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Weight(std::num::NonZeroU16);

impl Weight {
    /// Validates a weight.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if it is 0 or over 65,535.
    pub fn new(weight: u32) -> Result<Self> {
        u16::try_from(weight)
            .ok()
            .and_then(std::num::NonZeroU16::new)
            .map(Self)
            .ok_or_else(|| Error::invalid(format!("a weight must be 1 to 65535, not {weight}")))
    }

    /// Returns the weight as a number.
    pub const fn as_u32(self) -> u32 {
        self.0.get() as u32
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(std::num::NonZeroU16::MIN)
    }
}

impl TryFrom<u32> for Weight {
    type Error = Error;

    fn try_from(weight: u32) -> Result<Self> {
        Self::new(weight)
    }
}

impl From<Weight> for u32 {
    fn from(weight: Weight) -> Self {
        weight.as_u32()
    }
}

impl fmt::Debug for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Weight({})", self.0)
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
