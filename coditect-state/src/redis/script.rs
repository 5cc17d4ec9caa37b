//! The one Lua script of the store, and the keys that it works on.

use std::fmt;

use redis::Cmd;

/// The layout of the keys; it grows when an older release could not read them.
pub(super) const FORMAT: u32 = 1;

/// How many commits a transaction may fall behind, and a watch.
pub(super) const HISTORY: usize = 10_000;

/// Over how many changed keys a range is judged at most.
const RECENT: usize = 20_000;

/// From how many bytes on a page is cut.
const PAGE: usize = 4 << 20;

/// How many changed keys of one commit are named to watches; of more, all are told.
const TOLD: usize = 1_000;

const KEYS: [&str; 5] = ["meta", "index", "values", "changed", "log"];

/// The script for one namespace.
pub(super) struct Script {
    text: String,
    hash: String,
    keys: [String; 5],
}

impl Script {
    pub(super) fn new(namespace: &str) -> Self {
        let text = format!(
            "local FORMAT, HISTORY, RECENT, PAGE, TOLD = {FORMAT}, {HISTORY}, {RECENT}, {PAGE}, {TOLD}\n{}",
            include_str!("store.lua")
        );
        Self {
            hash: redis::Script::new(&text).get_hash().to_owned(),
            text,
            // The braces keep all keys on one node of a cluster.
            keys: KEYS.map(|key| format!("{{coditect:{namespace}}}:state:{key}")),
        }
    }

    /// Begins a call of an operation of a transaction that has read the version `seen`; its arguments follow.
    pub(super) fn call(&self, operation: &str, seen: Option<u64>) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.hash).arg(self.keys.len()).arg(&self.keys);
        command.arg(operation);
        match seen {
            Some(seen) => command.arg(seen),
            None => command.arg(""),
        };
        command
    }

    /// Calls `attach` by the script's text, which also has the server know the script from then on.
    pub(super) fn attach(&self) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(&self.text).arg(self.keys.len()).arg(&self.keys);
        command.arg("attach").arg("");
        command
    }

    /// Reads the commits after a version, and waits up to `block` milliseconds for one.
    pub(super) fn read_log(&self, after: u64, block: u64) -> Cmd {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(256).arg("BLOCK").arg(block);
        let log = &self.keys[4];
        command.arg("STREAMS").arg(log).arg(format!("{after}-0"));
        command
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Script({})", self.hash)
    }
}
