//! The errors of the Redis registry, in one place: what the driver and the server say, and what the caller should do.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error as ThisError;

use crate::{Error, ErrorKind};

/// What can go wrong between this registry and Redis. One failure may be told to many who waited for the same answer.
#[derive(Clone, Debug, ThisError)]
pub(super) enum Failure {
    #[error("no connection to redis at {at}: see that it runs there and can be reached")]
    Connect {
        at: String,
        source: redis::RedisError,
    },
    #[error(
        "nothing at {at} answers as redis within {within:?}: see that it is one, and that the network lets messages through"
    )]
    ConnectTimeout { at: String, within: Duration },
    #[error("redis at {at} did not answer")]
    Unanswered {
        at: String,
        source: redis::RedisError,
    },
    #[error("redis refuses a command")]
    Refused(#[source] redis::RedisError),
    #[error("keys of namespace {namespace} cannot be used: {why}")]
    Foreign { namespace: String, why: String },
    #[error("redis gives an answer that this version does not understand: {0}")]
    Strange(&'static str),
    #[error("registry changes faster than it can be read")]
    Unsettled,
    #[error("registry is closed")]
    Closed,
}

impl Failure {
    /// Tells whether the same call may succeed in a moment.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Connect { source, .. } => sort(source) != Sort::Permanent,
            Self::ConnectTimeout { .. } | Self::Unanswered { .. } | Self::Unsettled => true,
            Self::Refused(source) => sort(source) == Sort::Transient,
            Self::Foreign { .. } | Self::Strange(_) | Self::Closed => false,
        }
    }

    /// Tells whether the call may have happened all the same.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self, Self::Unanswered { .. })
    }

    /// Sorts what a command was answered with.
    pub(super) fn of_answer(at: &str, namespace: &str, source: redis::RedisError) -> Self {
        let detail = source.detail().unwrap_or_default();
        let foreign = |why: &str| Self::Foreign {
            namespace: namespace.to_owned(),
            why: why.to_owned(),
        };
        let text = source.to_string();
        if source.code() == Some("CODITECT") {
            return foreign(detail);
        }
        // Said by scripts too, and then somewhere inside.
        if text.contains("WRONGTYPE") {
            return foreign("they hold values of other types");
        }
        if is_login_missing(&text) {
            let at = at.to_owned();
            return Self::Connect { at, source };
        }
        if sort(&source) == Sort::Lost {
            let at = at.to_owned();
            return Self::Unanswered { at, source };
        }
        Self::Refused(source)
    }
}

/// Before the login the server does not even read what is as long as a script, and then it speaks of a protocol error.
fn is_login_missing(text: &str) -> bool {
    ["NOAUTH", "WRONGPASS", "unauthenticated"]
        .iter()
        .any(|sign| text.contains(sign))
}

/// What a driver's error means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// The connection is gone, and with it the answer.
    Lost,
    /// The server cannot do it now.
    Transient,
    /// It will never do it.
    Permanent,
}

fn sort(error: &redis::RedisError) -> Sort {
    use redis::{ErrorKind as Kind, ServerErrorKind as Server};
    match error.kind() {
        Kind::Io | Kind::ClusterConnectionNotFound => Sort::Lost,
        Kind::MasterNameNotFoundBySentinel | Kind::NoValidReplicasFoundBySentinel => {
            Sort::Transient
        }
        Kind::Server(
            Server::BusyLoading
            | Server::TryAgain
            | Server::ClusterDown
            | Server::MasterDown
            | Server::ReadOnly
            | Server::Moved
            | Server::Ask
            | Server::NoScript,
        ) => Sort::Transient,
        _ if matches!(
            error.code(),
            Some("OOM" | "BUSY" | "MISCONF" | "NOREPLICAS")
        ) =>
        {
            Sort::Transient
        }
        _ => Sort::Permanent,
    }
}

/// Tells whether the server has forgotten the script.
pub(super) fn is_script_missing(failure: &Failure) -> bool {
    use redis::{ErrorKind as Kind, ServerErrorKind as Server};
    matches!(failure, Failure::Refused(source) if source.kind() == Kind::Server(Server::NoScript))
}

/// Tells whether the connection that gave this answer is of no use any more.
pub(super) fn ends_connection(failure: &Failure) -> bool {
    use redis::{ErrorKind as Kind, ServerErrorKind as Server};
    match failure {
        Failure::Unanswered { .. } => true,
        // A master that has become a replica: ask again who is master.
        Failure::Refused(source) => matches!(
            source.kind(),
            Kind::Parse | Kind::Server(Server::ReadOnly | Server::MasterDown)
        ),
        _ => false,
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let context = failure.to_string();
        let kind = match &failure {
            Failure::Connect { at, source } => return connect(at, source),
            Failure::Unanswered { .. } => ErrorKind::OutcomeUnknown,
            Failure::Closed => ErrorKind::Unavailable,
            Failure::Refused(source) if is_denied(source) => {
                let context =
                    "redis denies its user a command: grant what docs/operations.md lists";
                return Self::new(ErrorKind::Invalid, context).with_source(failure);
            }
            Failure::Refused(source) if source.code() == Some("OOM") => {
                let context = "redis has no memory left (OOM)";
                return Self::new(ErrorKind::Unavailable, context).with_source(failure);
            }
            _ if failure.is_transient() => ErrorKind::Unavailable,
            _ => ErrorKind::Invalid,
        };
        match failure {
            Failure::Refused(source) | Failure::Unanswered { source, .. } => {
                Self::new(kind, context).with_source(source)
            }
            _ => Self::new(kind, context),
        }
    }
}

impl From<Arc<Failure>> for Error {
    fn from(failure: Arc<Failure>) -> Self {
        Failure::clone(&failure).into()
    }
}

fn is_denied(error: &redis::RedisError) -> bool {
    error.kind() == redis::ErrorKind::Server(redis::ServerErrorKind::NoPerm)
}

/// What connecting ended with. A cluster tells what its nodes said by nothing but their words.
fn connect(at: &str, source: &redis::RedisError) -> Error {
    let text = source.to_string();
    let says = |sign: &str| text.contains(sign);
    let (kind, context) = if source.kind() == redis::ErrorKind::AuthenticationFailed
        || says("AuthenticationFailed")
        || is_login_missing(&text)
    {
        let context = format!("redis at {at} refuses the credentials: correct the url");
        (ErrorKind::Invalid, context)
    } else if says("switch database") || says("DB index") {
        let context = format!("redis at {at} has no such database: correct the url");
        (ErrorKind::Invalid, context)
    } else if source.kind() == redis::ErrorKind::Parse || says("Parse error") {
        // What the driver says of it are the numbers of the bytes that it found.
        let context = format!("what listens at {at} is no redis: correct host and port");
        return invalid(context);
    } else if says("corrupt message of type InvalidContentType") {
        let context = format!(
            "what listens at {at} does not speak TLS: write redis://, or name the port for TLS"
        );
        (ErrorKind::Unavailable, context)
    } else if sort(source) == Sort::Permanent {
        let context = format!("redis at {at} refuses the connection");
        (ErrorKind::Invalid, context)
    } else {
        let context =
            format!("no connection to redis at {at}: see that it runs there and can be reached");
        (ErrorKind::Unavailable, context)
    };
    Error::new(kind, context).with_source(source.clone())
}

pub(super) fn invalid(context: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, context)
}
