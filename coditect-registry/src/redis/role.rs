//! Roles that one process at a time plays.

use std::time::Duration;

use super::error::Failure;
use super::link::Link;
use super::wire::{next_number, next_text, words};
use crate::{FencingToken, Incarnation, Role};

/// Asks for a role; `None` while it is another's.
pub(super) async fn elect(
    link: &Link,
    role: &Role,
    candidate: Incarnation,
    ttl: Duration,
) -> Result<Option<FencingToken>, Failure> {
    let mut command = link.script.call("elect");
    command
        .arg(role.as_str())
        .arg(candidate.to_string())
        .arg(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
    let mut words = words(link.call(&command).await?)?;
    let _epoch = next_text(&mut words)?;
    let token = next_number(&mut words)?;
    Ok((token > 0).then(|| FencingToken::new(token)))
}

/// Gives a role up.
pub(super) async fn resign(
    link: &Link,
    role: &Role,
    candidate: Incarnation,
) -> Result<(), Failure> {
    let mut command = link.script.call("resign");
    command.arg(role.as_str()).arg(candidate.to_string());
    link.call(&command).await.map(drop)
}
