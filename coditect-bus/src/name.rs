//! Names of queues, groups and fanouts: short printable text, checked once.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind};

/// The longest name in bytes; it leaves a backend room for a prefix within AMQP's 255.
const MAX_LEN: usize = 200;

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        ///
        /// A name has 1 to 200 printable ASCII characters without spaces and does not start with `amq.`, which brokers
        /// keep for themselves. A clone shares the text.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            #[doc = concat!("Checks and takes a ", $what, " name.")]
            ///
            /// # Errors
            ///
            /// [`ErrorKind::Invalid`] if the text is no name.
            pub fn new(text: impl Into<Arc<str>>) -> Result<Self, Error> {
                let text = text.into();
                match fault(&text) {
                    None => Ok(Self(text)),
                    Some(fault) => Err(Error::new(
                        ErrorKind::Invalid,
                        format!(concat!($what, " name {:?} {}"), clipped(&text), fault),
                    )),
                }
            }

            /// Returns the name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

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
            fn from(name: $type) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// Names a queue, in which messages wait for competing consumers.
    QueueName, "queue"
}

name! {
    /// Names a group of subscribers that share one copy of what is published.
    GroupName, "group"
}

name! {
    /// Names a fanout, which copies each message to every group that listens to it.
    FanoutName, "fanout"
}

impl QueueName {
    /// Returns the queue to which work for a capability is routed: `capability.<name>`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if `capability` holds a character that no name may hold, is empty, or is too long.
    pub fn for_capability(capability: &str) -> Result<Self, Error> {
        if capability.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "capability is empty"));
        }
        Self::new(format!("capability.{capability}"))
    }
}

fn fault(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("is empty")
    } else if text.len() > MAX_LEN {
        Some("is longer than 200 bytes")
    } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Some("holds something else than printable ascii")
    } else if text.starts_with("amq.") {
        Some("starts with \"amq.\", which brokers reserve")
    } else {
        None
    }
}

/// Shortens untrusted text for an error message.
pub(crate) fn clipped(text: &str) -> &str {
    let end = text.char_indices().nth(60).map_or(text.len(), |(at, _)| at);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_names_are_refused_with_the_reason() {
        for (text, reason) in [
            ("", "is empty"),
            ("two words", "printable ascii"),
            ("ümlaut", "printable ascii"),
            ("amq.direct", "reserve"),
            (&"x".repeat(201), "longer than 200"),
        ] {
            let error = QueueName::new(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(reason), "{error}");
        }
        assert!(QueueName::new("x".repeat(200)).is_ok());
    }

    #[test]
    fn names_survive_serde_and_bad_ones_do_not_get_in_by_it() {
        let name = GroupName::new("billing").unwrap();
        let text = serde_json::to_string(&name).unwrap();
        assert_eq!(serde_json::from_str::<GroupName>(&text).unwrap(), name);
        assert!(serde_json::from_str::<GroupName>("\"two words\"").is_err());
    }
}
