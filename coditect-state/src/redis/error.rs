//! What can go wrong between the store and Redis, and what the caller should do about it.

use redis::{ErrorKind as Kind, RedisError, ServerErrorKind as Server};
use thiserror::Error as ThisError;

use crate::error::{Error, ErrorKind};

/// Is what the driver or the server has to say.
#[derive(Clone, Debug, ThisError)]
pub(super) enum Fault {
    #[error("{}", connect_words(at, source))]
    Connect { at: String, source: RedisError },
    #[error("what listens at {at} is no redis: correct host and port")]
    Stranger { at: String },
    #[error("redis did not answer")]
    Unanswered(#[source] RedisError),
    #[error("{}", refused_words(.0))]
    Refused(#[source] RedisError),
    #[error(
        "nothing at {at} answers as redis in time: see that it is one, and that the network lets messages through"
    )]
    ConnectTimeout { at: String },
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
    /// What connecting ended with. What the driver says of another protocol are the numbers of the bytes that it found.
    pub(super) fn connect(at: &str, source: RedisError) -> Self {
        let at = at.to_owned();
        if source.kind() == Kind::Parse {
            return Self::Stranger { at };
        }
        Self::Connect { at, source }
    }

    /// What a command was answered with. Before the login the server does not even read what is as long as a script, and then
    /// it speaks of a protocol error.
    pub(super) fn of_answer(at: &str, error: RedisError) -> Self {
        if is_login_missing(&error.to_string()) {
            let at = at.to_owned();
            return Self::Connect { at, source: error };
        }
        if error.kind() == Kind::Parse {
            let at = at.to_owned();
            return Self::Stranger { at };
        }
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
            moved.contains(&kind)
        };
        match self {
            Self::Unanswered(_) | Self::Stranger { .. } => true,
            Self::Refused(error) => replaced(error),
            _ => false,
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::Url | Self::Unsafe(_) | Self::Stranger { .. } => ErrorKind::Invalid,
            Self::Newer { .. } | Self::Strange(_) => ErrorKind::Corrupt,
            Self::ConnectTimeout { .. } | Self::Unanswered(_) => ErrorKind::Unavailable,
            Self::Connect { source, .. } if is_permanent(source) => ErrorKind::Invalid,
            Self::Connect { .. } => ErrorKind::Unavailable,
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

fn connect_words(at: &str, source: &RedisError) -> String {
    let text = source.to_string();
    if source.kind() == Kind::AuthenticationFailed || is_login_missing(&text) {
        format!("redis at {at} refuses the credentials: correct the url")
    } else if text.contains("DB index") {
        format!("redis at {at} has no such database: correct the url")
    } else if text.contains("corrupt message of type InvalidContentType") {
        format!("what listens at {at} does not speak TLS: write redis://, or name the port for TLS")
    } else {
        format!("no connection to redis at {at}: see that it runs there and can be reached")
    }
}

fn refused_words(error: &RedisError) -> &'static str {
    if error.kind() == Kind::Server(Server::NoPerm) {
        "redis denies its user a command: grant what docs/operations.md lists"
    } else {
        "redis refuses a command"
    }
}

fn is_login_missing(text: &str) -> bool {
    let signs = ["NOAUTH", "WRONGPASS", "unauthenticated"];
    signs.iter().any(|sign| text.contains(sign))
}

/// Returns whether a person has to mend what is wrong: login, permissions, database.
fn is_permanent(error: &RedisError) -> bool {
    let text = error.to_string();
    matches!(
        error.kind(),
        Kind::AuthenticationFailed | Kind::InvalidClientConfig | Kind::Server(Server::NoPerm)
    ) || is_login_missing(&text)
        || text.contains("DB index")
}
