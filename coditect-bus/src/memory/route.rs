//! The routes of a memory bus: which queues get what is published to topics and fanouts.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::queue::Queue;
use crate::{FanoutName, Source, Topic, TopicPattern};

/// Keeps patterns without wildcards apart, so that publishing to a topic looks at the others only.
#[derive(Debug, Default)]
pub(super) struct Routes {
    literal: FxHashMap<String, Vec<Arc<Queue>>>,
    wild: Vec<(TopicPattern, Arc<Queue>)>,
    fanout: FxHashMap<FanoutName, Vec<Arc<Queue>>>,
}

impl Routes {
    pub(super) fn add(&mut self, source: &Source, queue: Arc<Queue>) {
        match source {
            Source::Queue(_) => {}
            Source::Fanout(name, _) => self.fanout.entry(name.clone()).or_default().push(queue),
            Source::Topic(pattern, _) if pattern.is_literal() => {
                self.literal
                    .entry(pattern.as_str().to_owned())
                    .or_default()
                    .push(queue);
            }
            Source::Topic(pattern, _) => self.wild.push((pattern.clone(), queue)),
        }
    }

    pub(super) fn remove(&mut self, queue: &Arc<Queue>) {
        let stays = |known: &Arc<Queue>| !Arc::ptr_eq(known, queue);
        self.literal.retain(|_, queues| {
            queues.retain(stays);
            !queues.is_empty()
        });
        self.fanout.retain(|_, queues| {
            queues.retain(stays);
            !queues.is_empty()
        });
        self.wild.retain(|(_, known)| stays(known));
    }

    pub(super) fn of_topic(&self, topic: &Topic) -> Vec<Arc<Queue>> {
        let literal = self.literal.get(topic.as_str()).into_iter().flatten();
        let wild = self
            .wild
            .iter()
            .filter(|(pattern, _)| pattern.matches(topic));
        literal
            .chain(wild.map(|(_, queue)| queue))
            .cloned()
            .collect()
    }

    pub(super) fn of_fanout(&self, name: &FanoutName) -> Vec<Arc<Queue>> {
        self.fanout.get(name).cloned().unwrap_or_default()
    }
}
