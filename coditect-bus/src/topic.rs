//! Topics and the patterns that match them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::name::clipped;
use crate::{Error, ErrorKind};

#[cfg(test)]
mod tests;

/// The longest topic or pattern in bytes, which is AMQP's.
const MAX_LEN: usize = 255;

/// Addresses published messages by words: `run.42.finished`.
///
/// Words are separated by single dots, are not empty, and hold neither white space, control characters, `*` nor `#`; the
/// whole has at most 255 bytes. A clone shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Topic(Arc<str>);

/// Matches topics: `*` stands for exactly one word, `#` for any number of words, also none.
///
/// ```
/// use coditect_bus::{Topic, TopicPattern};
///
/// # fn main() -> Result<(), coditect_bus::Error> {
/// let pattern: TopicPattern = "run.*.#".parse()?;
/// assert!(pattern.matches(&"run.42".parse()?));
/// assert!(pattern.matches(&"run.42.task.7".parse()?));
/// assert!(!pattern.matches(&"run".parse()?));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicPattern(Arc<str>);

impl Topic {
    /// Checks and takes a topic.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if the text is no topic.
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self, Error> {
        let text = text.into();
        check("topic", &text, |word| !word.contains(['*', '#']))?;
        Ok(Self(text))
    }

    /// Returns the topic as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TopicPattern {
    /// Checks and takes a pattern.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if the text is no pattern: `*` and `#` must be words of their own.
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self, Error> {
        let text = text.into();
        check("topic pattern", &text, |word| {
            matches!(word, "*" | "#") || !word.contains(['*', '#'])
        })?;
        Ok(Self(text))
    }

    /// Returns the pattern as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Says whether the pattern has neither `*` nor `#`, so that it matches one topic only.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        !self.0.contains(['*', '#'])
    }

    /// Says whether the pattern matches `topic`.
    ///
    /// The cost grows with the product of both numbers of words at worst, whatever the pattern.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        // Greedy matching with one step back: it is enough to remember the last `#`, because whatever an earlier one
        // could absorb, the last one can absorb too.
        let (mut pattern, mut words) = (self.0.split('.'), topic.0.split('.'));
        let mut retry = None;
        loop {
            let word_before = words.clone();
            match (pattern.next(), words.next()) {
                (None, None) => return true,
                (Some("#"), _) => {
                    words = word_before.clone();
                    retry = Some((pattern.clone(), word_before));
                    continue;
                }
                (Some("*"), Some(_)) => continue,
                (Some(expected), Some(word)) if expected == word => continue,
                (Some(_), None) => return false,
                _ => {}
            }
            let Some((after_hash, absorbed)) = &mut retry else {
                return false;
            };
            if absorbed.next().is_none() {
                return false;
            }
            pattern = after_hash.clone();
            words = absorbed.clone();
        }
    }
}

impl From<Topic> for TopicPattern {
    fn from(topic: Topic) -> Self {
        Self(topic.0)
    }
}

fn check(what: &str, text: &str, allowed: impl Fn(&str) -> bool) -> Result<(), Error> {
    let fault = if text.len() > MAX_LEN {
        "is longer than 255 bytes"
    } else if text.split('.').any(str::is_empty) {
        "has an empty word"
    } else if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        "holds white space or control characters"
    } else if !text.split('.').all(allowed) {
        "has a wildcard where none may be"
    } else {
        return Ok(());
    };
    Err(Error::new(
        ErrorKind::Invalid,
        format!("{what} {:?} {fault}", clipped(text)),
    ))
}

macro_rules! text {
    ($type:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl FromStr for $type {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $type {
            type Error = Error;

            fn try_from(text: String) -> Result<Self, Error> {
                Self::new(text)
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.0.as_ref().to_owned()
            }
        }
    };
}

text!(Topic);
text!(TopicPattern);
