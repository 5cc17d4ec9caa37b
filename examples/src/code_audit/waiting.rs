//! Says when an audit cannot go on because nobody analyses, and what to do about it.

use std::collections::BTreeSet;
use std::time::Duration;

use coditect_core::RunEventKind;
use tokio::time::Instant;

use crate::bus::{BusUrl, namespace};
use crate::registry::RegistryUrl;

/// How long agents may be missing before that is said: the bus is asked in intervals who is there.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long nothing may happen before that is said.
const SILENCE: Duration = Duration::from_secs(10);

/// Watches the events of a run for what it waits for.
#[derive(Debug)]
pub(crate) struct Waiting {
    bus: BusUrl,
    registry: Option<RegistryUrl>,
    /// Capabilities that tasks wait for and nobody offers.
    missing: BTreeSet<String>,
    /// Those that were spoken of.
    told: BTreeSet<String>,
    /// When to speak next, unless something happens.
    at: Instant,
    /// Whether the silence was spoken of.
    told_silence: bool,
}

impl Waiting {
    /// Starts to watch a run whose agents are on `bus`, and found in `registry` if that is shared.
    pub(crate) fn new(bus: BusUrl, registry: Option<RegistryUrl>) -> Self {
        Self {
            bus,
            registry,
            missing: BTreeSet::new(),
            told: BTreeSet::new(),
            at: Instant::now() + SILENCE,
            told_silence: false,
        }
    }

    /// Takes in an event; may have something to say at once.
    pub(crate) fn take(&mut self, event: &RunEventKind) -> Option<String> {
        match event {
            RunEventKind::Unserved(task) => {
                if self.missing.is_empty() {
                    self.at = Instant::now() + PATIENCE;
                }
                self.missing.insert(task.capability.clone());
                return None;
            }
            RunEventKind::Dispatched(task) => {
                self.missing.remove(&task.capability);
            }
            _ => {}
        }
        if self.missing.is_empty() {
            self.at = Instant::now() + SILENCE;
            self.told_silence = false;
            let was_told = !std::mem::take(&mut self.told).is_empty();
            return was_told.then(|| "agents are there: going on".to_owned());
        }
        None
    }

    /// Waits until there is something to say.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub(crate) async fn silence(&self) {
        let has_new = !self.missing.is_subset(&self.told);
        let is_silent = self.missing.is_empty() && !self.told_silence;
        if has_new || is_silent {
            tokio::time::sleep_until(self.at).await;
        } else {
            std::future::pending::<()>().await;
        }
    }

    /// What there is to say when [`silence`](Self::silence) has ended.
    pub(crate) fn say(&mut self) -> String {
        let registry = self.registry.as_ref();
        let registry = registry.map_or_else(String::new, |url| {
            format!(" --registry '{url}{}'", namespace(url.as_str()))
        });
        let how = format!(
            "  start one, here or on any machine that reaches the broker:\n  \
             cargo run --release -p coditect-examples --example code_audit_worker -- --bus '{}{}'{registry}",
            self.bus,
            namespace(self.bus.as_str()),
        );
        if self.missing.is_empty() {
            self.told_silence = true;
            return format!(
                "nothing has happened for {SILENCE:?}; if no worker is left that could go on,\n{how}"
            );
        }
        self.told.extend(self.missing.iter().cloned());
        let missing: Vec<_> = self.missing.iter().map(String::as_str).collect();
        format!(
            "waiting: no agent takes tasks of {}\n{how}",
            missing.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use coditect_core::{Attempt, TaskId, TaskInfo};
    use futures::FutureExt;

    use super::*;

    fn info(capability: &str) -> TaskInfo {
        TaskInfo {
            task: TaskId::new(1),
            attempt: Attempt::default(),
            path: "audit/file:a.rs".to_owned(),
            capability: capability.to_owned(),
        }
    }

    fn waiting() -> Waiting {
        Waiting::new(
            "amqp://anna:hunter2@host/v?heartbeat=7&namespace=blue"
                .parse()
                .unwrap(),
            "redis://:hunter2@cache?namespace=green".parse().ok(),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn missing_agents_are_named_once_with_the_way_to_start_one() {
        let mut waiting = waiting();
        for capability in ["analyse-rust", "analyse-toml", "analyse-rust"] {
            assert_eq!(
                waiting.take(&RunEventKind::Unserved(info(capability))),
                None
            );
        }
        waiting.silence().await;
        let said = waiting.say();
        assert!(said.contains("analyse-rust, analyse-toml\n"), "{said}");
        assert!(
            said.contains("code_audit_worker -- --bus 'amqp://anna:***@host/v?namespace=blue' --registry 'redis://:***@cache?namespace=green'"),
            "{said}"
        );
        assert!(waiting.silence().now_or_never().is_none());
        tokio::time::advance(SILENCE * 2).await;
        assert!(
            waiting.silence().now_or_never().is_none(),
            "it is said once"
        );
        waiting.take(&RunEventKind::Dispatched(info("analyse-rust")));
        let said = waiting.take(&RunEventKind::Dispatched(info("analyse-toml")));
        assert_eq!(said.as_deref(), Some("agents are there: going on"));
    }

    #[tokio::test(start_paused = true)]
    async fn agents_that_are_found_at_once_were_never_missing() {
        let mut waiting = waiting();
        waiting.take(&RunEventKind::Unserved(info("analyse-rust")));
        assert_eq!(
            waiting.take(&RunEventKind::Dispatched(info("analyse-rust"))),
            None
        );
        tokio::time::advance(PATIENCE * 2).await;
        assert!(waiting.silence().now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_silence_is_spoken_of_once() {
        let mut waiting = waiting();
        waiting.take(&RunEventKind::Dispatched(info("analyse-rust")));
        waiting.silence().await;
        assert!(waiting.say().contains("nothing has happened for 10s"));
        tokio::time::advance(SILENCE * 2).await;
        assert!(waiting.silence().now_or_never().is_none());
        waiting.take(&RunEventKind::Started);
        tokio::time::advance(SILENCE * 2).await;
        assert!(waiting.silence().now_or_never().is_some());
    }
}
