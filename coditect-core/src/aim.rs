//! Whom a task is for once a person has said so: others than its plan says, or one agent alone.

use std::fmt;
use std::str::FromStr;

use coditect_registry::{AgentId, Requirement};

use crate::error::Error;

/// Whom a task is for, as the journal keeps it: `capability@versions`, or `agent/capability@versions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Aim {
    pub(crate) requirement: Requirement,
    /// The only agent that may do it.
    pub(crate) agent: Option<AgentId>,
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.agent {
            Some(agent) => write!(f, "{agent}/{}", self.requirement),
            None => self.requirement.fmt(f),
        }
    }
}

impl FromStr for Aim {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (agent, requirement) = match text.split_once('/') {
            Some((agent, requirement)) => (Some(agent), requirement),
            None => (None, text),
        };
        let wrong = |error: coditect_registry::Error| {
            Error::invalid(format!("`{text}` says nobody whom a task may be for"))
                .with_source(error)
        };
        Ok(Self {
            requirement: requirement.parse().map_err(wrong)?,
            agent: agent.map(str::parse).transpose().map_err(wrong)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aim_is_read_as_it_was_written() {
        for text in ["work", "work@^1.2", "ann/work", "ann/work@^1.2, <1.9"] {
            let aim: Aim = text.parse().unwrap();
            assert_eq!(aim.to_string(), text);
            assert_eq!(aim.agent.is_some(), text.starts_with("ann/"));
        }
        for text in ["", "/work", "ann/", "a b/work", "ann/work@old"] {
            assert!(text.parse::<Aim>().is_err(), "{text}");
        }
    }
}
