//! The errors of the memory bus, in one place.

use crate::{Destination, Error, ErrorKind, QueueName};

pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "bus is closed")
}

pub(super) fn unroutable(to: &Destination) -> Error {
    Error::new(ErrorKind::NoRoute, format!("nothing receives from {to}"))
}

pub(super) fn no_queue(name: &QueueName) -> Error {
    Error::new(ErrorKind::NoRoute, format!("queue {name} does not exist"))
}

pub(super) fn full(name: &QueueName, capacity: usize) -> Error {
    Error::new(
        ErrorKind::Full,
        format!("queue {name} is full with {capacity} messages"),
    )
}

pub(super) fn conflict(name: &QueueName) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!("queue {name} exists with other arguments"),
    )
}

pub(super) fn too_large(what: &str, bytes: usize, limit: usize) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        format!("{what} of {bytes} bytes is over the limit of {limit}"),
    )
}

pub(super) fn lease_lost(name: &QueueName) -> Error {
    Error::new(
        ErrorKind::LeaseLost,
        format!("delivery of queue {name} was lost before it was settled"),
    )
}
