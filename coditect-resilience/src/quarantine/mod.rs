//! Holding back what keeps failing in the same way, rather than letting each piece of work fail by itself.
//!
//! A breaker looks after the callee and comes back within seconds. A quarantine looks after the work: once the same kind of work
//! has failed for good so often in the same way, the rest of it is worth more unspent. So it opens late, stays for
//! long, lets one piece of work through as a probe now and then, and can be ended by a person.

mod machine;
mod policy;

pub use self::machine::{Probe, QuarantineMachine, QuarantineState};
pub use self::policy::QuarantinePolicy;
