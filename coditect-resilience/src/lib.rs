//! Resilience of CODITECT: retry and timeout as pure policies and tower layers.

mod backoff;
mod classification;
mod deadline;
mod error;
mod millis;
mod random;
pub mod retry;
pub mod timeout;

pub use backoff::{Backoff, Jitter};
pub use classification::{Classification, Classify, retry_errors};
pub use deadline::Deadline;
pub use error::{Error, ErrorKind};
pub use random::{Randomness, SplitMix};
pub use retry::{
    BudgetPolicy, GiveUp, Retry, RetryBudget, RetryLayer, RetryObserver, RetryPolicy,
    RetryPolicyBuilder, Tries, Verdict,
};
pub use timeout::{Timeout, TimeoutLayer, TimeoutObserver};
