//! What a task requires: a capability's name and the versions that will do.

use std::fmt;
use std::str::FromStr;

use semver::VersionReq;
use serde::{Deserialize, Serialize};

use super::{Capability, CapabilityName};
use crate::{Error, Result};

/// States which capability a task needs: `summarize`, or `summarize@^1.2`.
///
/// Without a version any release will do. A pre-release is taken only by a requirement that names it, as in Cargo.
/// As text and in JSON a requirement is `name` or `name@versions`.
///
/// # Examples
///
/// ```
/// use coditect_registry::{Capability, Requirement};
///
/// let requirement: Requirement = "summarize@^1.2".parse()?;
/// assert!(requirement.matches(&Capability::new("summarize", "1.4.0".parse()?)?));
/// assert!(!requirement.matches(&Capability::new("summarize", "2.0.0".parse()?)?));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Requirement {
    /// The capability's name.
    pub name: CapabilityName,
    /// The versions that will do.
    pub versions: VersionReq,
}

impl Requirement {
    /// Requires certain versions of a capability.
    pub fn new(name: CapabilityName, versions: VersionReq) -> Self {
        Self { name, versions }
    }

    /// Requires a capability in any version.
    pub fn any(name: CapabilityName) -> Self {
        Self::new(name, VersionReq::STAR)
    }

    /// Tells whether a capability meets this requirement.
    pub fn matches(&self, capability: &Capability) -> bool {
        self.name == capability.name && self.versions.matches(&capability.version)
    }
}

impl From<CapabilityName> for Requirement {
    fn from(name: CapabilityName) -> Self {
        Self::any(name)
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.versions == VersionReq::STAR {
            return self.name.fmt(f);
        }
        write!(f, "{}@{}", self.name, self.versions)
    }
}

impl FromStr for Requirement {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some((name, versions)) = text.split_once('@') else {
            return Ok(Self::any(text.parse()?));
        };
        let versions = VersionReq::parse(versions).map_err(|e| {
            Error::invalid(format!("requirement {text:?} has no valid versions")).with_source(e)
        })?;
        Ok(Self::new(name.parse()?, versions))
    }
}

impl TryFrom<&str> for Requirement {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self> {
        text.parse()
    }
}

impl TryFrom<String> for Requirement {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Requirement> for String {
    fn from(requirement: Requirement) -> Self {
        requirement.to_string()
    }
}

#[cfg(test)]
mod tests;
