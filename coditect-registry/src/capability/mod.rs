//! What agents can do: named, versioned capabilities, and what a task requires of one.

mod requirement;

pub use requirement::Requirement;

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::identity::{check_name, name};
use crate::{Error, Result};

name! {
    /// Names a capability, such as `summarize` or `text.translate`.
    CapabilityName, "a capability name"
}

/// Describes one thing that an agent can do: its name, its semantic version, what goes in and what comes out.
///
/// # Examples
///
/// ```
/// use coditect_registry::Capability;
///
/// let summarize = Capability::new("summarize", "1.2.0".parse()?)?
///     .with_description("Shortens a text to its main points.")
///     .with_input_schema(serde_json::json!({ "type": "string" }));
/// assert_eq!(summarize.to_string(), "summarize@1.2.0");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capability {
    /// The name that tasks ask for.
    pub name: CapabilityName,
    /// The version of the contract between the asker and the agent.
    pub version: Version,
    /// One or two sentences for people, and for planners that choose by text.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub description: Arc<str>,
    /// The JSON schema of the input, if the agent states one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<Arc<Value>>,
    /// The JSON schema of the output, if the agent states one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Arc<Value>>,
}

impl Capability {
    /// Describes a capability without text and schemas.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if the name is no [`CapabilityName`].
    pub fn new(name: impl AsRef<str>, version: Version) -> Result<Self> {
        Ok(Self {
            name: CapabilityName::new(name)?,
            version,
            description: "".into(),
            input_schema: None,
            output_schema: None,
        })
    }

    /// Sets the text for people.
    #[must_use]
    pub fn with_description(mut self, description: impl Into<Arc<str>>) -> Self {
        self.description = description.into();
        self
    }

    /// Sets the JSON schema of the input.
    #[must_use]
    pub fn with_input_schema(mut self, schema: Value) -> Self {
        self.input_schema = Some(Arc::new(schema));
        self
    }

    /// Sets the JSON schema of the output.
    #[must_use]
    pub fn with_output_schema(mut self, schema: Value) -> Self {
        self.output_schema = Some(Arc::new(schema));
        self
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}
