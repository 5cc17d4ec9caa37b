//! What a private Redis server is like.

use std::env;

use super::{GIVEN, Redis};
use crate::Error;

/// Describes a private Redis server; [`Redis::options`] begins one.
#[derive(Debug, Clone, Default)]
#[must_use = "nothing starts before `start`"]
pub struct RedisOptions {
    pub(super) settings: Vec<String>,
    pub(super) password: Option<String>,
    pub(super) users: Vec<User>,
    pub(super) tls: Option<Tls>,
    pub(super) cluster: bool,
    pub(super) monitors: Option<Monitored>,
    pub(super) in_memory: bool,
}

#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) password: String,
    pub(super) rules: String,
}

#[derive(Debug, Clone)]
pub(super) struct Tls {
    pub(super) ca: String,
    pub(super) certificate: String,
    pub(super) key: String,
}

/// The server that a sentinel watches.
#[derive(Debug, Clone)]
pub(super) struct Monitored {
    pub(super) name: String,
    pub(super) place: String,
}

impl RedisOptions {
    /// Adds a line to its `redis.conf`.
    pub fn with_setting(mut self, line: impl Into<String>) -> Self {
        self.settings.push(line.into());
        self
    }

    /// Asks every client for a password (`requirepass`), which [`Redis::url`] then bears.
    pub fn with_password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Adds an ACL user, such as `("agent", "secret", "~* &* +@all")`; [`Redis::url`] bears the login of the first. The user
    /// `default` is as without it.
    pub fn with_user(
        mut self,
        name: impl Into<String>,
        password: impl Into<String>,
        rules: impl Into<String>,
    ) -> Self {
        self.users.push(User {
            name: name.into(),
            password: password.into(),
            rules: rules.into(),
        });
        self
    }

    /// Takes TLS connections alone, under this certificate for `127.0.0.1`; all three are PEM. Clients need none.
    pub fn with_tls(
        mut self,
        ca: impl Into<String>,
        certificate: impl Into<String>,
        key: impl Into<String>,
    ) -> Self {
        self.tls = Some(Tls {
            ca: ca.into(),
            certificate: certificate.into(),
            key: key.into(),
        });
        self
    }

    /// Makes it a cluster of one node that has all slots.
    pub fn with_cluster(mut self) -> Self {
        self.cluster = true;
        self
    }

    /// Makes it a sentinel that knows the given server under a name. Without a password only.
    pub fn as_sentinel_of(mut self, server: &Redis, name: impl Into<String>) -> Self {
        self.monitors = Some(Monitored {
            name: name.into(),
            place: server.place().to_owned(),
        });
        self
    }

    /// Keeps nothing on the disk: a restart begins empty. Otherwise every write is in an append-only file.
    pub fn in_memory(mut self) -> Self {
        self.in_memory = true;
        self
    }

    /// Starts the server.
    ///
    /// # Errors
    ///
    /// As [`Redis::private`].
    pub async fn start(self) -> Result<Redis, Error> {
        if env::var(GIVEN).is_ok_and(|url| !url.is_empty()) {
            return Err(Error::given_server(GIVEN, "a private server"));
        }
        Redis::start_private(&self).await
    }
}
