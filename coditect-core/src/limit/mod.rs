//! Limits of how many tasks of a capability, or of a tenant, are worked on at once, by all processes together.

pub(crate) mod board;
pub(crate) mod kept;
pub(crate) mod known;

use std::fmt;
use std::sync::Arc;

use coditect_registry::CapabilityName;
use coditect_state::key::{Pack, Subspace};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Says of what no more than so many tasks are worked on at once, by all processes that share the state.
///
/// Given to [`RuntimeBuilder::limit`](crate::RuntimeBuilder::limit), or set while work goes on by
/// [`Runtime::set_limit`](crate::Runtime::set_limit).
///
/// # Examples
///
/// ```
/// use coditect_core::Limit;
/// use coditect_core::prelude::*;
///
/// let builder = Runtime::builder()
///     .limit(Limit::capability("render", 10))
///     .limit(Limit::each_tenant(20))
///     .limit(Limit::tenant("acme", 50));
/// # let _ = builder;
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    on: LimitOn,
    max: u32,
}

/// What a limit is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LimitOn {
    /// The tasks of a capability, in whatever version.
    Capability(String),
    /// The tasks of a tenant.
    Tenant(String),
    /// The tasks of each tenant that has no limit of its own.
    EachTenant,
}

/// A limit as all processes keep it, and how far it is used; told by [`Runtime::limits`](crate::Runtime::limits).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitUse {
    /// What the limit is about. Of tenants that share a limit for [each](LimitOn::EachTenant), those are told that use it.
    pub on: LimitOn,
    /// How many may be worked on at once.
    pub max: u32,
    /// Whether a person has set it, so that no process that starts changes it.
    pub is_set: bool,
    /// How many the partitions hold: what is worked on, and what they have not given back yet.
    pub held: u64,
    /// How many more they would use, as far as they have asked for them: each partition asks for some hundred at most.
    pub waiting: u64,
}

impl Limit {
    /// Lets `max` tasks of a capability be worked on at once.
    #[must_use]
    pub fn capability(name: impl Into<String>, max: u32) -> Self {
        let on = LimitOn::Capability(name.into());
        Self { on, max }
    }

    /// Lets `max` tasks of a tenant be worked on at once.
    #[must_use]
    pub fn tenant(name: impl Into<String>, max: u32) -> Self {
        let on = LimitOn::Tenant(name.into());
        Self { on, max }
    }

    /// Lets `max` tasks of each tenant be worked on at once that has no limit of its own.
    #[must_use]
    pub fn each_tenant(max: u32) -> Self {
        let on = LimitOn::EachTenant;
        Self { on, max }
    }

    /// What it is about.
    #[must_use]
    pub fn on(&self) -> &LimitOn {
        &self.on
    }

    /// How many may be worked on at once.
    #[must_use]
    pub fn max(&self) -> u32 {
        self.max
    }

    /// Refuses what can be no limit.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.max == 0 {
            let text = format!("the limit of {} must be 1 at least", self.on);
            return Err(Error::invalid(text));
        }
        match &self.on {
            LimitOn::Capability(name) => match CapabilityName::new(name) {
                Ok(_) => Ok(()),
                Err(error) => {
                    let text = format!("`{name}` is no capability whose tasks can be limited");
                    Err(Error::invalid(text).with_source(error))
                }
            },
            LimitOn::Tenant(name) if name.is_empty() => Err(Error::invalid(
                "a tenant whose tasks are limited has a name",
            )),
            LimitOn::Tenant(_) | LimitOn::EachTenant => Ok(()),
        }
    }
}

impl fmt::Display for LimitOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capability(name) => write!(f, "capability `{name}`"),
            Self::Tenant(name) => write!(f, "tenant `{name}`"),
            Self::EachTenant => f.write_str("each tenant"),
        }
    }
}

/// Those whose open attempts are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Group {
    Capability(Arc<str>),
    Tenant(Arc<str>),
}

impl Group {
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Capability(name) => (CAPABILITY, name),
            Self::Tenant(name) => (TENANT, name),
        }
    }

    fn of(kind: &str, name: &str) -> Option<Self> {
        match kind {
            CAPABILITY => Some(Self::Capability(name.into())),
            TENANT => Some(Self::Tenant(name.into())),
            // A later release knows others.
            _ => None,
        }
    }

    fn on(&self) -> LimitOn {
        match self {
            Self::Capability(name) => LimitOn::Capability(name.to_string()),
            Self::Tenant(name) => LimitOn::Tenant(name.to_string()),
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.on().fmt(f)
    }
}

impl LimitOn {
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Capability(name) => (CAPABILITY, name),
            Self::Tenant(name) => (TENANT, name),
            Self::EachTenant => (EACH_TENANT, ""),
        }
    }

    fn of(kind: &str, name: &str) -> Option<Self> {
        match kind {
            EACH_TENANT => Some(Self::EachTenant),
            kind => Group::of(kind, name).map(|group| group.on()),
        }
    }
}

const CAPABILITY: &str = "capability";
const TENANT: &str = "tenant";
const EACH_TENANT: &str = "each-tenant";

/// A key of what is kept of limits.
fn key<T: Pack>(tuple: &T) -> bytes::Bytes {
    subspace().pack(tuple)
}

fn subspace() -> Subspace {
    Subspace::new(&("limit",))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_no_limit_is_refused() {
        for limit in [
            Limit::capability("render", 1),
            Limit::tenant("Acme & Sons", 3),
            Limit::each_tenant(u32::MAX),
        ] {
            assert!(limit.check().is_ok(), "{limit:?}");
            let (kind, name) = limit.on().parts();
            assert_eq!(LimitOn::of(kind, name).as_ref(), Some(limit.on()));
        }
        for limit in [
            Limit::capability("render", 0),
            Limit::capability("no capability", 1),
            Limit::tenant("", 1),
            Limit::each_tenant(0),
        ] {
            assert!(limit.check().is_err(), "{limit:?}");
        }
    }
}
