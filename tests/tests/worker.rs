//! What a worker does with work that is stopped, given back, passed on, or without an end.

#[path = "worker/drain.rs"]
mod drain;
#[path = "worker/limits.rs"]
mod limits;
#[path = "worker/requests.rs"]
mod requests;
#[path = "worker/stopped.rs"]
mod stopped;

mod stage;
