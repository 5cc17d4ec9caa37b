//! Plans: what their tasks are given, in which order they run, and what becomes of failures.

#[path = "plans/expand.rs"]
mod expand;
#[path = "plans/failure.rs"]
mod failure;
#[path = "plans/retry.rs"]
mod retry;
#[path = "plans/submit.rs"]
mod submit;
#[path = "plans/turn.rs"]
mod turn;
#[path = "plans/wire.rs"]
mod wire;

mod stage;
