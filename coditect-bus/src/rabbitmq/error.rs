//! The errors of the RabbitMQ bus, in one place: what the driver and the broker say, and what the caller should do about it.

use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::uri::AMQPUri;
use thiserror::Error as ThisError;

use crate::{Destination, Error, ErrorKind, QueueName};

/// What can go wrong between this bus and the broker.
#[derive(Debug, ThisError)]
pub(super) enum Failure {
    #[error("broker could not be asked")]
    Driver(#[from] lapin::Error),
    #[error("no connection to broker at {at}: see that it runs there and can be reached")]
    Connect {
        at: String,
        vhost: String,
        user: String,
        source: lapin::Error,
    },
    #[error(
        "nothing at {at} answers as a broker in time: see that it is one, and that the network lets messages through"
    )]
    ConnectTimeout { at: String },
    #[error("connection to broker is lost")]
    Disconnected,
    #[error("broker blocks publishers: {0}")]
    Blocked(String),
    #[error("broker did not confirm in time")]
    Unconfirmed,
    #[error("broker did not confirm in time, because it blocks publishers: {0}")]
    UnconfirmedBlocked(String),
    #[error("connection was lost before broker confirmed")]
    LostConfirm(#[source] lapin::Error),
}

impl Failure {
    pub(super) fn connect(uri: &AMQPUri, source: lapin::Error) -> Self {
        Self::Connect {
            at: format!("{}:{}", uri.authority.host, uri.authority.port),
            vhost: uri.vhost.clone(),
            user: uri.authority.userinfo.username.clone(),
            source,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let (kind, unknown) = match &failure {
            Failure::Driver(error) => (kind_of(error), false),
            Failure::Connect {
                at,
                vhost,
                user,
                source,
            } => {
                let (kind, context) = match amqp_kind(source) {
                    Some(AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)) => (
                        ErrorKind::Invalid,
                        format!(
                            "broker at {at} refuses the credentials of user {user:?}: correct the url"
                        ),
                    ),
                    Some(AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)) => (
                        ErrorKind::Invalid,
                        format!(
                            "virtual host {vhost:?} at {at} does not exist or is closed to user {user:?}"
                        ),
                    ),
                    _ if is_other_protocol(source) => (
                        ErrorKind::Invalid,
                        format!(
                            "what listens at {at} does not speak AMQP: name the port of a RabbitMQ, and amqps:// where it wants TLS"
                        ),
                    ),
                    _ if source.to_string().contains(NO_TLS) => (
                        ErrorKind::Unavailable,
                        format!(
                            "what listens at {at} does not speak TLS: write amqp://, or name the port for TLS"
                        ),
                    ),
                    _ => (ErrorKind::Unavailable, failure.to_string()),
                };
                return Error::new(kind, context).with_source(source.clone());
            }
            Failure::ConnectTimeout { .. } | Failure::Disconnected | Failure::Blocked(_) => {
                (ErrorKind::Unavailable, false)
            }
            Failure::Unconfirmed | Failure::UnconfirmedBlocked(_) | Failure::LostConfirm(_) => {
                (ErrorKind::Unavailable, true)
            }
        };
        let context = match &failure {
            Failure::Driver(error) if is_denied(error) => {
                "broker denies its user a permission: grant what docs/operations.md lists"
                    .to_owned()
            }
            failure => failure.to_string(),
        };
        let error = match failure {
            Failure::Driver(source) | Failure::LostConfirm(source) => {
                Error::new(kind, context).with_source(source)
            }
            _ => Error::new(kind, context),
        };
        if unknown {
            error.with_outcome_unknown()
        } else {
            error
        }
    }
}

pub(super) fn amqp_kind(error: &lapin::Error) -> Option<&AMQPErrorKind> {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(error) => Some(error.kind()),
        _ => None,
    }
}

fn kind_of(error: &lapin::Error) -> ErrorKind {
    match amqp_kind(error) {
        Some(AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND)) if is_out_of_reach(error) => {
            ErrorKind::Unavailable
        }
        Some(AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND)) => ErrorKind::NoRoute,
        Some(AMQPErrorKind::Soft(
            AMQPSoftError::PRECONDITIONFAILED | AMQPSoftError::RESOURCELOCKED,
        )) => ErrorKind::Conflict,
        Some(AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)) => ErrorKind::Invalid,
        _ => ErrorKind::Unavailable,
    }
}

/// What the TLS library says of bytes that are none of TLS.
const NO_TLS: &str = "corrupt message of type InvalidContentType";

/// Says whether something answered that is no broker.
fn is_other_protocol(error: &lapin::Error) -> bool {
    matches!(
        error.kind(),
        lapin::ErrorKind::ParsingError(_) | lapin::ErrorKind::InvalidProtocolVersion(_)
    )
}

fn is_denied(error: &lapin::Error) -> bool {
    matches!(
        amqp_kind(error),
        Some(AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED))
    )
}

/// Says whether the broker does not find a queue that exists: its node is down, or its process crashed. The code is the same.
fn is_out_of_reach(error: &lapin::Error) -> bool {
    [
        "down or inaccessible",
        "due to timeout",
        "stopped by supervisor",
        "has crashed",
    ]
    .iter()
    .any(|sign| says(error, sign))
}

fn says(error: &lapin::Error, text: &str) -> bool {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(error) => error.get_message().as_str().contains(text),
        _ => false,
    }
}

/// Says whether the broker names this argument as what it does not take.
pub(super) fn is_about(failure: &Failure, argument: &str) -> bool {
    matches!(failure, Failure::Driver(error) if kind_of(error) == ErrorKind::Conflict && says(error, argument))
}

/// Says whether the broker knows no such thing.
pub(super) fn is_not_found(error: &Failure) -> bool {
    matches!(error, Failure::Driver(error) if kind_of(error) == ErrorKind::NoRoute)
}

/// Reads the broker's limit from its complaint about a message that is larger; its words are all that it says.
pub(super) fn size_limit(error: &lapin::Error) -> Option<usize> {
    const WORDS: [&str; 2] = ["message size ", " is larger than "];
    let lapin::ErrorKind::ProtocolError(error) = error.kind() else {
        return None;
    };
    let text = error.get_message().as_str();
    if *error.kind() != AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED)
        || !WORDS.iter().all(|words| text.contains(words))
    {
        return None;
    }
    text.rsplit(' ').next()?.parse().ok()
}

pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "bus is closed")
}

pub(super) fn unroutable(to: &Destination) -> Error {
    Error::new(ErrorKind::NoRoute, format!("nothing receives from {to}"))
}

pub(super) fn no_queue(name: &QueueName) -> Error {
    Error::new(ErrorKind::NoRoute, format!("queue {name} does not exist"))
}

pub(super) fn full(to: &Destination) -> Error {
    Error::new(ErrorKind::Full, format!("{to} is full"))
}

/// Maps a failure that concerns one queue, so that the text names it.
pub(super) fn of_queue(name: &QueueName, failure: Failure) -> Error {
    let error = Error::from(failure);
    let context = match error.kind() {
        ErrorKind::Conflict => format!("queue {name} exists with other arguments"),
        ErrorKind::NoRoute => format!("queue {name} does not exist"),
        _ => return error,
    };
    Error::new(error.kind(), context).with_source(error)
}

pub(super) fn too_large(what: &str, bytes: usize, limit: usize) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        format!("{what} of {bytes} bytes is over the limit of {limit}"),
    )
}

pub(super) fn too_long(what: &str) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format!("{what} is longer than 255 bytes"),
    )
}

pub(super) fn lease_lost(name: &QueueName) -> Error {
    Error::new(
        ErrorKind::LeaseLost,
        format!("delivery of queue {name} was lost before it was settled"),
    )
}

#[cfg(test)]
mod tests {
    use lapin::protocol::AMQPError;

    use super::*;

    #[test]
    fn a_queue_out_of_reach_is_not_taken_for_one_that_does_not_exist() {
        let refused = |text: &str| {
            let error = AMQPError::new(AMQPSoftError::NOTFOUND.into(), text.into());
            kind_of(&lapin::ErrorKind::ProtocolError(error).into())
        };
        for text in [
            "NOT_FOUND - home node 'a@b' of durable queue 'q' in vhost '/' is down or inaccessible",
            "NOT_FOUND - failed to perform operation on queue 'q' in vhost '/' due to timeout",
            "NOT_FOUND - queue 'q' in vhost '/' process is stopped by supervisor",
            "NOT_FOUND - queue 'q' in vhost '/' has crashed and failed to restart",
        ] {
            assert_eq!(refused(text), ErrorKind::Unavailable, "{text}");
        }
        let text = "NOT_FOUND - no queue 'q' in vhost '/'";
        assert_eq!(refused(text), ErrorKind::NoRoute);
    }

    #[test]
    fn the_brokers_limit_is_read_from_its_complaint_only() {
        let limit = |text: &str| {
            let error = AMQPError::new(AMQPSoftError::PRECONDITIONFAILED.into(), text.into());
            size_limit(&lapin::ErrorKind::ProtocolError(error).into())
        };
        for text in [
            "PRECONDITION_FAILED - message size 200014 is larger than configured max size 100000",
            "PRECONDITION_FAILED - message size 200014 is larger than max size 100000",
        ] {
            assert_eq!(limit(text), Some(100_000), "{text}");
        }
        for text in [
            "PRECONDITION_FAILED - invalid expiration 'x': no_integer 100000",
            "PRECONDITION_FAILED - message size 200014 is larger than allowed",
            "PRECONDITION_FAILED - unknown delivery tag 7",
        ] {
            assert_eq!(limit(text), None, "{text}");
        }
    }
}
