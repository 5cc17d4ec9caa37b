//! Plans as they travel and are kept: plain data, validated before anything runs.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::settings::{FailurePolicy, TaskSettings};
use crate::failure::{Failure, FailureKind};

/// A plan without its types. Positions refer to `tasks`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct PlanSpec {
    /// The capabilities called, each once; tasks name them by position.
    pub(crate) calls: Vec<String>,
    /// The settings used; tasks name them by position, 0 where they say nothing.
    pub(crate) settings: Vec<TaskSettings>,
    pub(crate) tasks: Vec<TaskSpec>,
    pub(crate) result: ResultSpec,
    #[serde(default)]
    pub(crate) policy: FailurePolicy,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TaskSpec {
    pub(crate) key: Arc<str>,
    pub(crate) call: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) settings: u32,
    #[serde(default, skip_serializing_if = "Binding::is_null")]
    pub(crate) input: Binding,
    /// Tasks that must end first although nothing of theirs is in the input.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) after: Vec<u32>,
    /// What the task waits for instead of being given to an agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) wait: Option<Box<WaitSpec>>,
}

/// What a task waits for: a signal by its name, or an approval with its question.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct WaitSpec {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signal: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) approval: Option<String>,
    /// From the moment at which the task could run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) timeout_ms: Option<u64>,
    /// What the signal is taken to have brought when the time is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) default: Option<Arc<RawValue>>,
}

/// What a value is made of.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Binding {
    #[default]
    Null,
    /// A value, as JSON.
    Value(Arc<RawValue>),
    /// The output of a task.
    Task(u32),
    /// A list that leaves out what has no value.
    List(Vec<Binding>),
    /// A list of fixed length in which what has no value is `null`.
    Tuple(Vec<Binding>),
}

/// What a plan answers with.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ResultSpec {
    Output(Binding),
    Aggregate {
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        config: Option<Arc<RawValue>>,
        over: Vec<u32>,
    },
}

impl Default for ResultSpec {
    fn default() -> Self {
        Self::Output(Binding::Null)
    }
}

impl Binding {
    fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Calls `visit` with the position of every task that the value needs.
    pub(crate) fn for_each_task(&self, visit: &mut impl FnMut(u32)) {
        match self {
            Self::Null | Self::Value(_) => {}
            Self::Task(position) => visit(*position),
            Self::List(parts) | Self::Tuple(parts) => {
                for part in parts {
                    part.for_each_task(visit);
                }
            }
        }
    }

    /// The same with other positions.
    pub(crate) fn moved(&self, at: &impl Fn(u32) -> u32) -> Self {
        let all = |parts: &[Self]| parts.iter().map(|part| part.moved(at)).collect();
        match self {
            Self::Null => Self::Null,
            Self::Value(value) => Self::Value(Arc::clone(value)),
            Self::Task(position) => Self::Task(at(*position)),
            Self::List(parts) => Self::List(all(parts)),
            Self::Tuple(parts) => Self::Tuple(all(parts)),
        }
    }

    /// Makes the value of tasks' outputs, as JSON.
    ///
    /// `output` tells a task's output, or none where it has not succeeded.
    ///
    /// # Errors
    ///
    /// When it would have more than `limit` bytes: a plan can name one output many times, so the size is
    /// found out before the value is made.
    pub(crate) fn resolve(
        &self,
        output: &impl Fn(u32) -> Option<Bytes>,
        limit: usize,
    ) -> Result<Bytes, Failure> {
        match self {
            Self::Null => return Ok(Bytes::from_static(b"null")),
            Self::Value(value) => return Ok(Bytes::copy_from_slice(value.get().as_bytes())),
            Self::Task(position) => {
                return Ok(output(*position).unwrap_or(Bytes::from_static(b"null")));
            }
            Self::List(_) | Self::Tuple(_) => {}
        }
        let size = self.size(output);
        if size > limit {
            return Err(Failure::new(
                FailureKind::TooLarge,
                format!("what the task is given would have {size} bytes, {limit} are allowed"),
            ));
        }
        let mut json = Vec::with_capacity(size);
        self.write(&mut json, output);
        Ok(json.into())
    }

    /// How many bytes the value has as JSON, or a few more.
    fn size(&self, output: &impl Fn(u32) -> Option<Bytes>) -> usize {
        match self {
            Self::Null => 4,
            Self::Value(value) => value.get().len(),
            Self::Task(position) => output(*position).map_or(4, |output| output.len()),
            Self::List(parts) | Self::Tuple(parts) => parts.iter().fold(2_usize, |size, part| {
                size.saturating_add(part.size(output)).saturating_add(1)
            }),
        }
    }

    fn write(&self, json: &mut Vec<u8>, output: &impl Fn(u32) -> Option<Bytes>) {
        match self {
            Self::Null => json.extend_from_slice(b"null"),
            Self::Value(value) => json.extend_from_slice(value.get().as_bytes()),
            Self::Task(position) => {
                json.extend_from_slice(output(*position).as_deref().unwrap_or(b"null"));
            }
            Self::List(parts) => {
                let present = parts.iter().filter(|part| match part {
                    Self::Task(position) => output(*position).is_some(),
                    _ => true,
                });
                write_list(json, present, output);
            }
            Self::Tuple(parts) => write_list(json, parts.iter(), output),
        }
    }
}

fn write_list<'a>(
    json: &mut Vec<u8>,
    parts: impl Iterator<Item = &'a Binding>,
    output: &impl Fn(u32) -> Option<Bytes>,
) {
    json.push(b'[');
    for (position, part) in parts.enumerate() {
        if position > 0 {
            json.push(b',');
        }
        part.write(json, output);
    }
    json.push(b']');
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Arc<RawValue>, serde_json::Error> {
    to_raw_value(value).map(Arc::from)
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
