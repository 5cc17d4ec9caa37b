//! How an instance is: what it reports of itself, what a checker has found, and why.

mod verdict;

pub use verdict::{Finding, Reason, Standing, Verdict};
