//! Aggregators: what they make of outcomes, when they have enough, and what they cost when they are bad.

#[path = "aggregation/broken.rs"]
mod broken;
#[path = "aggregation/builtin.rs"]
mod builtin;
#[path = "aggregation/counted.rs"]
mod counted;
#[path = "aggregation/early.rs"]
mod early;

mod stage;
