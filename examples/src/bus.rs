//! Where the messages of an example travel: inside its process, or over the broker that `--bus` names.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use clap::{Args, Parser};
use coditect_core::{Error, ErrorKind, Runtime};

/// The argument `--bus`, for examples that run on either.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct BusArgs {
    /// A RabbitMQ broker: amqp[s]://user:password@host:port/vhost
    #[arg(long, value_name = "URL", env = "CODITECT_BUS", hide_env_values = true)]
    bus: Option<BusUrl>,
}

impl BusArgs {
    /// The broker, if there is one.
    #[must_use]
    pub fn broker(&self) -> Option<&BusUrl> {
        // A variable that is set to nothing is as good as none.
        let given = self.bus.as_ref().filter(|url| !url.0.is_empty());
        given.filter(|url| !url.is_memory())
    }
}

/// The address of a bus, whose `Display` and `Debug` leave the password out.
#[derive(Clone, PartialEq, Eq)]
pub struct BusUrl(String);

impl BusUrl {
    /// The bus of a process that nobody else shares.
    #[must_use]
    pub fn memory() -> Self {
        Self("memory:".to_owned())
    }

    /// The address as it was given, password included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Says whether the bus is in this process, so that no other one can be reached by it.
    #[must_use]
    pub fn is_memory(&self) -> bool {
        self.0.starts_with("memory:")
    }

    /// Says whether the address is that of a broker, by its scheme.
    pub(crate) fn is_broker(&self) -> bool {
        ["amqp:", "amqps:"]
            .iter()
            .any(|scheme| self.0.starts_with(scheme))
    }

    /// Why nothing could be started on this bus, and what to do about it. Holds no password.
    #[must_use]
    pub fn explain(&self, error: Error) -> anyhow::Error {
        let said = std::error::Error::source(&error).and_then(|source| source.downcast_ref());
        let Some(said) = said else {
            return self.explain_address(error);
        };
        let said: &coditect_core::bus::Error = said;
        let deepest =
            std::iter::successors(std::error::Error::source(said), |error| error.source())
                .last()
                .map_or_else(String::new, |cause| format!(": {cause}"));
        match error.kind() {
            ErrorKind::Unavailable => anyhow::anyhow!(
                "{said}{deepest}\n  help: is a broker running there, and can this machine reach it?"
            ),
            ErrorKind::Invalid => anyhow::anyhow!("{said}\n{ADDRESS}"),
            _ => error.into(),
        }
    }

    /// The same of an address that no bus was asked for.
    fn explain_address(&self, error: Error) -> anyhow::Error {
        match error.kind() {
            ErrorKind::Invalid => anyhow::anyhow!("{error}\n{ADDRESS}"),
            _ => error.into(),
        }
    }
}

/// What an address is made of.
const ADDRESS: &str =
    "  help: --bus takes amqp[s]://user:password@host:port/vhost, special characters as %XX";

impl FromStr for BusUrl {
    type Err = Infallible;

    /// Takes anything: the bus refuses what it does not know without repeating it, as `clap` would.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for BusUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        masked(&self.0, f)
    }
}

/// The namespace that an address names, to be written behind what [`masked`] writes.
///
/// No other parameter, and nothing that is no name: it may be a part of a password that was not written with %XX.
pub(crate) fn namespace(url: &str) -> String {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let query = match url.split_once('?') {
        Some((_, query)) if !query.contains('@') => query,
        _ => return String::new(),
    };
    let mut names = query
        .split('&')
        .filter_map(|parameter| parameter.strip_prefix("namespace="));
    match names.next_back() {
        Some(name) if !name.is_empty() && name.bytes().all(allowed) => format!("?namespace={name}"),
        _ => String::new(),
    }
}

/// Writes an address without its password and parameters.
pub(crate) fn masked(url: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some((scheme, rest)) = url.split_once("://") else {
        return f.write_str("URL");
    };
    // A password that was not written with %XX may hold anything, further `@` and `/` included.
    let Some((login, place)) = rest.rsplit_once('@') else {
        return write!(
            f,
            "{scheme}://{}",
            rest.split('?').next().unwrap_or_default()
        );
    };
    let user = login.split(':').next().unwrap_or_default();
    let place = place.split('?').next().unwrap_or_default();
    write!(f, "{scheme}://{user}:***@{place}")
}

impl fmt::Debug for BusUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BusUrl({self})")
    }
}

/// Shuts a runtime down and takes leave of its bus, which it may have shared with others.
///
/// # Errors
///
/// As [`Runtime::shutdown`].
pub async fn leave(runtime: &Runtime) -> Result<(), Error> {
    let ended = runtime.shutdown().await;
    // A broker that does not hear it notices by itself.
    let _ = runtime.bus().close().await;
    ended
}

/// The log of an example: what needs attention. The bus tells of its connections itself, more calmly than its driver.
pub const LOG: &str = "warn,lapin=off";

/// Reads the command line of an example that takes nothing but `--bus`; without it the bus is in this process.
#[must_use]
pub fn from_arguments() -> BusUrl {
    /// An example of CODITECT; its head comment explains it.
    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        bus: BusArgs,
    }
    let bus = Cli::parse().bus;
    bus.broker().cloned().unwrap_or_else(BusUrl::memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_never_shown() {
        for url in [
            "amqp://anna:hunter2@host:5672/staging?heartbeat=7",
            "amqps://anna:hunter2@host",
            "amqp://anna:@hunter2@host",
            "amqp://anna:x/hunter2@host/staging",
            "amqp:anna:hunter2@host",
            "anna:hunter2@host",
            "hunter2",
        ] {
            let url: BusUrl = url.parse().unwrap();
            let shown = format!("{url} {url:?}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn a_namespace_is_kept_and_no_other_parameter() {
        for (url, kept) in [
            (
                "amqp://a:x@host/v?heartbeat=7&namespace=blue",
                "?namespace=blue",
            ),
            (
                "amqp://a:x@host/v?namespace=blue&heartbeat=7",
                "?namespace=blue",
            ),
            ("redis://host?namespace=a&namespace=b", "?namespace=b"),
            ("amqp://a:x@host/v?heartbeat=7", ""),
            ("amqp://a:x?namespace=hunter2@host/v", ""),
            ("amqp://host/v?namespace=a%20b'", ""),
            ("amqp://host/v", ""),
        ] {
            assert_eq!(namespace(url), kept, "{url}");
        }
    }

    #[test]
    fn the_rest_is_shown() {
        let shown = |url: &str| url.parse::<BusUrl>().unwrap().to_string();
        assert_eq!(
            shown("amqp://anna:x@host:1/v?heartbeat=7"),
            "amqp://anna:***@host:1/v"
        );
        assert_eq!(shown("amqp://host/v"), "amqp://host/v");
    }
}
