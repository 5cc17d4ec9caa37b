//! What can go wrong between the store and Redis, and what the caller should do about it.

use redis::{ErrorKind as Kind, RedisError, ServerErrorKind as Server};
use thiserror::Error as ThisError;

use crate::error::{Error, ErrorKind};

/// Is what the driver or the server has to say.
#[derive(Debug, ThisError)]
pub(super) enum Fault {
    #[error("no connection to redis")]
    Connect(#[source] RedisError),
    #[error("redis did not answer")]
    Unanswered(#[source] RedisError),
    #[error("redis refuses a command")]
    Refused(#[source] RedisError),
    #[error("redis did not accept a connection in time")]
    ConnectTimeout,
    #[error("redis gives an answer that this release does not understand: {0}")]
    Strange(&'static str),
    #[error("the keys have format {found}, this release knows formats up to {known}")]
    Newer { found: u32, known: u32 },
    #[error("the server can lose what it has acknowledged: {0}")]
    Unsafe(String),
    #[error("the url is no redis[s]://[user:password@]host[:port][/database]")]
    Url,
}

impl Fault {
    pub(super) fn of_answer(error: RedisError) -> Self {
        if matches!(error.kind(), Kind::Io) || error.is_timeout() {
            Self::Unanswered(error)
        } else {
            Self::Refused(error)
        }
    }

    /// Returns whether what was asked may have happened all the same.
    pub(super) fn is_unanswered(&self) -> bool {
        matches!(self, Self::Unanswered(_))
    }

    pub(super) fn is_script_missing(&self) -> bool {
        matches!(self, Self::Refused(error) if error.kind() == Kind::Server(Server::NoScript))
    }

    /// Returns whether the connection that gave this answer is of no use any more.
    pub(super) fn ends_connection(&self) -> bool {
        let replaced = |error: &RedisError| {
            let kind = error.kind();
            let moved = [Server::ReadOnly, Server::MasterDown].map(Kind::Server);
            kind == Kind::Parse || moved.contains(&kind)
        };
        match self {
            Self::Unanswered(_) => true,
            Self::Refused(error) => replaced(error),
            _ => false,
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::Url | Self::Unsafe(_) => ErrorKind::Invalid,
            Self::Newer { .. } | Self::Strange(_) => ErrorKind::Corrupt,
            Self::ConnectTimeout | Self::Unanswered(_) => ErrorKind::Unavailable,
            Self::Connect(error) if is_permanent(error) => ErrorKind::Invalid,
            Self::Connect(_) => ErrorKind::Unavailable,
            Self::Refused(error) => match error.code() {
                Some("CONFLICT") => ErrorKind::Conflict,
                Some("CODITECT" | "WRONGTYPE") => ErrorKind::Corrupt,
                _ if is_permanent(error) => ErrorKind::Invalid,
                _ if error.to_string().contains("WRONGTYPE") => ErrorKind::Corrupt,
                _ => ErrorKind::Unavailable,
            },
        }
    }

    /// Says in what the caller was disturbed.
    pub(super) fn during(self, what: &'static str) -> Error {
        let kind = self.kind();
        match self {
            Self::Refused(error) if kind == ErrorKind::Conflict => {
                Error::conflict(error.detail().unwrap_or("a conflict").to_owned())
            }
            fault => Error::new(kind, what).with_source(fault),
        }
    }

    /// Says so of a commit: what was not answered may have happened.
    pub(super) fn during_commit(self) -> Error {
        if self.is_unanswered() {
            let text = "commit had no answer from redis";
            return Error::new(ErrorKind::OutcomeUnknown, text).with_source(self);
        }
        self.during("commit to redis")
    }
}

/// Returns whether a person has to mend what is wrong: login, permissions, what listens there.
fn is_permanent(error: &RedisError) -> bool {
    let text = error.to_string();
    let signs = [
        "NOAUTH",
        "WRONGPASS",
        "NOPERM",
        "unauthenticated",
        "DB index",
    ];
    matches!(
        error.kind(),
        Kind::AuthenticationFailed | Kind::InvalidClientConfig
    ) || signs.iter().any(|sign| text.contains(sign))
}
