//! Failing well: breakers, budgets and limits as runs meet them.
#![allow(
    clippy::unwrap_used,
    reason = "this is test code: a failure is a panic"
)]

mod stage;

#[path = "resilience/adaptive.rs"]
mod adaptive;
#[path = "resilience/breaker.rs"]
mod breaker;
#[path = "resilience/budget.rs"]
mod budget;
#[path = "resilience/dead_letters.rs"]
mod dead_letters;
#[path = "resilience/quarantine.rs"]
mod quarantine;
#[path = "resilience/rate.rs"]
mod rate;
#[path = "resilience/redrive.rs"]
mod redrive;
#[path = "resilience/set_aside.rs"]
mod set_aside;
#[path = "resilience/shed.rs"]
mod shed;
