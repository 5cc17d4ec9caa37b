//! The one Lua script of the registry, and the keys that it works on.

use std::fmt;

use redis::Cmd;

/// How many entries the log keeps, about: a watcher that is further behind starts over.
pub(super) const HISTORY: usize = 4096;

/// The largest record, in bytes of its JSON, that stands in the log itself.
pub(super) const INLINE: usize = 4096;

/// How many milliseconds leases that ended while the server was down have left when it is back.
pub(super) const GRACE: u64 = 10_000;

const KEYS: [&str; 10] = [
    "meta", "record", "lease", "due", "name", "offer", "holder", "verdict", "log", "role",
];

/// The script for one namespace.
pub(super) struct Script {
    text: String,
    hash: String,
    keys: [String; 10],
}

impl Script {
    pub(super) fn new(namespace: &str) -> Self {
        // The namespace stands in the text so that a script that the server knows has been attached for this very namespace.
        let text = format!(
            "-- {namespace}\nlocal HISTORY, INLINE, GRACE = {HISTORY}, {INLINE}, {GRACE}\n{}",
            include_str!("registry.lua")
        );
        Self {
            hash: redis::Script::new(&text).get_hash().to_owned(),
            text,
            // The braces keep all keys on one node of a cluster.
            keys: KEYS.map(|key| format!("{{coditect:{namespace}}}:registry:{key}")),
        }
    }

    /// Begins a call of an operation; its arguments follow.
    pub(super) fn call(&self, operation: &str) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.hash).arg(self.keys.len()).arg(&self.keys);
        command.arg(operation);
        command
    }

    /// Calls `attach` by the script's text, which also has the server know the script from then on.
    pub(super) fn attach(&self) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(&self.text).arg(self.keys.len()).arg(&self.keys);
        command.arg("attach");
        command
    }

    /// Reads what follows on the change with this number, and waits up to `block` milliseconds for it.
    pub(super) fn read(&self, after: u64, count: usize, block: Option<u64>) -> Cmd {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(count);
        if let Some(block) = block {
            command.arg("BLOCK").arg(block);
        }
        let log = &self.keys[8];
        command.arg("STREAMS").arg(log).arg(format!("{after}-0"));
        command
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Script({})", self.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_share_neither_keys_nor_script() {
        let (one, other) = (Script::new("one"), Script::new("other"));
        assert_ne!(one.hash, other.hash);
        assert!(one.keys.iter().all(|key| !other.keys.contains(key)));
        assert!(
            one.keys
                .iter()
                .all(|key| key.starts_with("{coditect:one}:"))
        );
    }
}
