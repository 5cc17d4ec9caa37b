//! How an instance is: what it reports of itself, what a checker has found, and why.

mod checker;
mod election;
mod policy;
mod probe;
mod rounds;
mod verdict;

pub use checker::Checker;
pub use policy::CheckPolicy;
pub use probe::{Answer, Probe};
pub use verdict::{Finding, Reason, Standing, Verdict};
