//! Addresses of servers that are given from outside.

use crate::Error;

/// The parts of `amqp://user:password@host:port/…`, as far as tests need them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    /// Reads an address; user and password are `guest`, the port is 5672 where it does not say otherwise.
    pub(crate) fn parse(variable: &str, text: &str) -> Result<Self, Error> {
        let fault = || Error::failed(format!("{variable} is no amqp://user:password@host:port"));
        let rest = text.strip_prefix("amqp://").ok_or_else(fault)?;
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let (login, place) = authority
            .rsplit_once('@')
            .unwrap_or(("guest:guest", authority));
        let (user, password) = login.split_once(':').ok_or_else(fault)?;
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| fault())?),
            None => (place, 5672),
        };
        if host.is_empty() {
            return Err(fault());
        }
        Ok(Self {
            user: user.to_owned(),
            password: password.to_owned(),
            host: host.to_owned(),
            port,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_with_its_defaults() {
        let parsed = Address::parse("X", "amqp://a:b@broker:5673/some?heartbeat=1").unwrap();
        let expected = Address {
            user: "a".to_owned(),
            password: "b".to_owned(),
            host: "broker".to_owned(),
            port: 5673,
        };
        assert_eq!(parsed, expected);
        let parsed = Address::parse("X", "amqp://broker").unwrap();
        assert_eq!((parsed.user.as_str(), parsed.port), ("guest", 5672));
    }

    #[test]
    fn what_is_no_address_is_refused_without_printing_it() {
        for wrong in ["", "redis://x", "amqp://", "amqp://a:secret@h:port"] {
            let error = Address::parse("X", wrong).unwrap_err().to_string();
            assert!(error.starts_with("X is no"), "{wrong}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
