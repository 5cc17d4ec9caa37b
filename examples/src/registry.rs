//! Where the agents of an example are found: inside its process, or in the registry that `--registry` names.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use clap::Args;
use coditect_core::{Error, ErrorKind};

use crate::bus::{self, BusUrl};

/// The argument `--registry`, for examples whose agents may be anywhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct RegistryArgs {
    /// A Redis in which agents are found, besides --bus: redis[s]://user:password@host:port/database
    #[arg(
        long,
        value_name = "URL",
        env = "CODITECT_REGISTRY",
        hide_env_values = true
    )]
    registry: Option<RegistryUrl>,
}

impl RegistryArgs {
    /// The registry that is shared with other processes, if there is one.
    #[must_use]
    pub fn shared(&self) -> Option<&RegistryUrl> {
        // A variable that is set to nothing is as good as none.
        let given = self.registry.as_ref().filter(|url| !url.0.is_empty());
        given.filter(|url| !url.0.starts_with("memory:"))
    }

    /// Why nothing could be started on this bus and registry, and what to do about it. Holds no password.
    #[must_use]
    pub fn explain(&self, bus: &BusUrl, error: Error) -> anyhow::Error {
        let source = std::error::Error::source(&error);
        let said = source.and_then(|source| source.downcast_ref());
        // The bus is opened first, and one whose scheme is known fails with a source.
        let is_address = source.is_none() && bus.is_broker() && self.shared().is_some();
        match (said, error.kind()) {
            (Some(said), kind) => explain(said, kind),
            (None, ErrorKind::Invalid) if is_address => anyhow::anyhow!("{error}\n{ADDRESS}"),
            _ => bus.explain(error),
        }
    }
}

fn explain(said: &coditect_core::registry::Error, kind: ErrorKind) -> anyhow::Error {
    match kind {
        ErrorKind::Unavailable => anyhow::anyhow!(
            "{said}\n  help: is a Redis running there, and can this machine reach it?"
        ),
        _ => anyhow::anyhow!("{said}\n{ADDRESS}"),
    }
}

/// What an address is made of.
const ADDRESS: &str = "  help: --registry takes redis[s]://user:password@host:port/database, special characters as %XX";

/// The address of a registry, whose `Display` and `Debug` leave the password out.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistryUrl(String);

impl RegistryUrl {
    /// The address as it was given, password included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RegistryUrl {
    type Err = Infallible;

    /// Takes anything: the runtime refuses what it does not know without repeating it, as `clap` would.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for RegistryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bus::masked(&self.0, f)
    }
}

impl fmt::Debug for RegistryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegistryUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_never_shown() {
        for url in [
            "redis://:hunter2@host/3",
            "redis+sentinel://me:hunter2@a:1,b:2/main",
            "me:hunter2@host",
        ] {
            let url: RegistryUrl = url.parse().unwrap();
            let shown = format!("{url} {url:?}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}
