//! Who an agent is: its name, its tenant, one start of its process.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Error, Result};

/// The longest name, in bytes.
pub(crate) const MAX_NAME: usize = 128;

/// Checks the rule that all names of this crate share.
pub(crate) fn check_name(what: &str, name: &str) -> Result<()> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(Error::invalid(format!(
            "{what} must have 1 to {MAX_NAME} bytes, not {}",
            name.len()
        )));
    }
    let word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if !name.split('.').all(word) {
        return Err(Error::invalid(format!(
            "{what} {name:?} must be words of ASCII letters, digits, '-' and '_', joined by single dots"
        )));
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        ///
        /// A name has 1 to 128 bytes: words of ASCII letters, digits, `-` and `_`, joined by single dots, so
        /// that it fits unescaped into a routing key, a key of a store and a metric label. Cloning is cheap.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// Validates a name.
            ///
            /// # Errors
            ///
            /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if the name breaks the rule above.
            pub fn new(name: impl AsRef<str>) -> Result<Self> {
                let name = name.as_ref();
                check_name($what, name)?;
                Ok(Self(name.into()))
            }

            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($type), "({})"), self.0)
            }
        }

        impl FromStr for $type {
            type Err = Error;

            fn from_str(name: &str) -> Result<Self> {
                Self::new(name)
            }
        }

        impl TryFrom<&str> for $type {
            type Error = Error;

            fn try_from(name: &str) -> Result<Self> {
                Self::new(name)
            }
        }

        impl TryFrom<String> for $type {
            type Error = Error;

            fn try_from(name: String) -> Result<Self> {
                Self::new(name)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}
pub(crate) use name;

name! {
    /// Names an agent: its logical identity, the same over all its restarts and replicas.
    AgentId, "an agent id"
}

name! {
    /// Names a tenant, whose agents serve nobody else.
    TenantId, "a tenant id"
}

name! {
    /// Names a role that one process at a time plays for all of a deployment, such as that of the checker.
    Role, "a role"
}

impl Role {
    /// The role of the one who checks the agents.
    pub(crate) fn of_checker() -> Self {
        Self("checker".into())
    }
}

/// Identifies one start of one process: fresh each time, ordered by the time of the start (UUID version 7).
///
/// A restarted process never continues its predecessor's registrations; it has another incarnation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(Uuid);

impl Incarnation {
    /// Draws a fresh incarnation; call it once per process start.
    pub fn fresh() -> Self {
        Self(Uuid::now_v7())
    }

    /// Wraps an identifier that was drawn elsewhere, such as in a simulation.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// Returns the identifier.
    pub const fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incarnation({})", self.0)
    }
}

impl FromStr for Incarnation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let uuid = Uuid::parse_str(text).map_err(|e| {
            Error::invalid(format!("incarnation {text:?} is no UUID")).with_source(e)
        })?;
        Ok(Self(uuid))
    }
}

/// Identifies one registered instance of an agent: what a record is about and what a registration is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Instance {
    /// The tenant it belongs to; `None` for an agent that serves all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Its logical identity.
    pub agent: AgentId,
    /// The start of the process it lives in.
    pub incarnation: Incarnation,
}

impl Instance {
    /// Names an instance of an agent that serves all tenants.
    pub fn new(agent: AgentId, incarnation: Incarnation) -> Self {
        Self {
            tenant: None,
            agent,
            incarnation,
        }
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(tenant) = &self.tenant {
            write!(f, "{tenant}/")?;
        }
        write!(f, "{}#{}", self.agent, self.incarnation)
    }
}

/// Orders registrations: every registration of a registry has a greater token than all before it.
///
/// What an agent writes elsewhere can carry the token, and a resource that has seen a greater one refuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FencingToken(u64);

impl FencingToken {
    /// Wraps a raw token.
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// Returns the raw token.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dotted_words() {
        for good in [
            "a",
            "summarize",
            "text.summarize-long_2",
            "A.b.C",
            &"x".repeat(MAX_NAME),
        ] {
            assert_eq!(AgentId::new(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "a b",
            "a@1",
            "é",
            "a/b",
            "a*",
            "a\n",
            &"x".repeat(MAX_NAME + 1),
        ] {
            assert!(AgentId::new(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn deserialising_validates() {
        assert_eq!(
            serde_json::from_str::<AgentId>("\"writer\"").unwrap(),
            AgentId::new("writer").unwrap()
        );
        assert!(serde_json::from_str::<AgentId>("\"wri ter\"").is_err());
        assert!("no uuid".parse::<Incarnation>().is_err());
    }

    #[test]
    fn incarnations_are_unique_and_ordered_by_time() {
        let drawn: Vec<_> = (0..1000).map(|_| Incarnation::fresh()).collect();
        assert!(drawn.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(
            drawn[0].to_string().parse::<Incarnation>().unwrap(),
            drawn[0]
        );
    }
}
