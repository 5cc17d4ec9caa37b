//! What a builder shows of itself when it is printed for debugging.

use std::fmt;

use super::RuntimeBuilder;

impl fmt::Debug for RuntimeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeBuilder")
            .field("agents", &self.agents.len())
            .field("aggregators", &self.catalogue)
            .field("bus", &self.bus)
            .field("registry", &self.registry)
            .field("state", &self.state)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
