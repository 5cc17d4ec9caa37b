//! Which records a lookup wants.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{AgentId, AgentRecord, Health, Requirement, TenantId};

/// Selects records; what is not set excludes nothing.
///
/// # Examples
///
/// ```
/// use coditect_registry::{AgentRecord, Filter, Health, Incarnation};
///
/// let ready = Filter::all().with_health(Health::Ready).with_label("zone", "eu-1");
/// let record = AgentRecord::new("writer".parse()?, Incarnation::fresh()).with_label("zone", "eu-1");
/// assert!(ready.matches(&record));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Filter {
    /// Only this agent.
    pub agent: Option<AgentId>,
    /// Only those that offer this.
    pub requirement: Option<Requirement>,
    /// Only those that may serve this tenant: its own, and those that serve all.
    pub tenant: Option<TenantId>,
    /// Only those of this health.
    pub health: Option<Health>,
    /// Only those that have all these labels.
    pub labels: BTreeMap<String, String>,
}

impl Filter {
    /// Selects every record of every tenant.
    pub fn all() -> Self {
        Self::default()
    }

    /// Restricts it to one agent.
    #[must_use]
    pub fn with_agent(mut self, agent: AgentId) -> Self {
        self.agent = Some(agent);
        self
    }

    /// Restricts it to those that offer what is required.
    #[must_use]
    pub fn with_requirement(mut self, requirement: Requirement) -> Self {
        self.requirement = Some(requirement);
        self
    }

    /// Restricts it to those that may serve this tenant: its own, and those that serve all.
    #[must_use]
    pub fn with_tenant(mut self, tenant: TenantId) -> Self {
        self.tenant = Some(tenant);
        self
    }

    /// Restricts it to those of one health.
    #[must_use]
    pub fn with_health(mut self, health: Health) -> Self {
        self.health = Some(health);
        self
    }

    /// Restricts it to those with a label; several must all be there.
    #[must_use]
    pub fn with_label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Tells whether a record passes.
    pub fn matches(&self, record: &AgentRecord) -> bool {
        self.agent
            .as_ref()
            .is_none_or(|agent| agent == record.agent())
            && self.health.is_none_or(|health| health == record.health)
            && self
                .tenant
                .as_ref()
                .is_none_or(|own| record.tenant().is_none_or(|tenant| tenant == own))
            && self
                .labels
                .iter()
                .all(|(key, value)| record.labels.get(key) == Some(value))
            && self
                .requirement
                .as_ref()
                .is_none_or(|requirement| record.offers(requirement))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Capability, Incarnation};

    fn record(tenant: Option<&str>) -> AgentRecord {
        let record = AgentRecord::new("writer".parse().unwrap(), Incarnation::fresh())
            .with_capabilities([Capability::new("summarize", "1.2.0".parse().unwrap()).unwrap()])
            .with_label("zone", "a");
        match tenant {
            Some(tenant) => record.with_tenant(tenant.parse().unwrap()),
            None => record,
        }
    }

    #[test]
    fn each_field_excludes() {
        let record = record(None);
        assert!(Filter::all().matches(&record));
        assert!(
            !Filter::all()
                .with_agent("other".parse().unwrap())
                .matches(&record)
        );
        assert!(!Filter::all().with_health(Health::Draining).matches(&record));
        assert!(!Filter::all().with_label("zone", "b").matches(&record));
        assert!(
            Filter::all()
                .with_requirement("summarize@^1".parse().unwrap())
                .matches(&record)
        );
        assert!(
            !Filter::all()
                .with_requirement("summarize@^2".parse().unwrap())
                .matches(&record)
        );
    }

    #[test]
    fn a_tenant_sees_its_own_agents_and_the_shared_ones() {
        let acme = Filter::all().with_tenant("acme".parse().unwrap());
        assert!(acme.matches(&record(None)));
        assert!(acme.matches(&record(Some("acme"))));
        assert!(!acme.matches(&record(Some("rival"))));
    }
}
