//! What it does to the world to carry a task out once more.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Says what carrying a task out a second time would do, and so what may become of one whose first time nobody knows the
/// end of; from the most lenient to the strictest.
///
/// An agent declares its class ([`AgentCard::with_effect`](crate::AgentCard::with_effect)); a plan may ask for a stricter one
/// for a task ([`TaskSettings::effect`](crate::TaskSettings::effect)), and never for a more lenient one. Where nobody says
/// anything it is [`Idempotent`](Self::Idempotent).
///
/// # Examples
///
/// ```
/// use coditect_core::prelude::*;
/// use coditect_core::EffectClass;
///
/// async fn pay(context: TaskContext, cents: u64) -> Result<String, AgentError> {
///     // The same text for every attempt of the task: whoever is paid can tell a repetition.
///     let key = context.idempotency_key();
///     # let connected = true;
///     if !connected {
///         // Nothing has happened yet, so that another attempt may follow.
///         return Err(AgentError::retryable("the bank does not answer").before_effect());
///     }
///     Ok(format!("paid {cents} cents under {key}"))
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), coditect_core::Error> {
/// const PAY: Call<u64, String> = Call::new("pay");
/// let runtime = Runtime::builder()
///     .agent(agent("pay", pay).with_effect(EffectClass::Irreversible))
///     .start()
///     .await?;
/// assert!(runtime.submit(&PAY, 17).await?.result().await?.starts_with("paid 17 cents"));
/// # runtime.shutdown().await
/// # }
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EffectClass {
    /// Nothing outside changes: it may be done any number of times, also at once. It is treated as
    /// [`Idempotent`](Self::Idempotent) so far.
    Pure,
    /// Doing it again changes nothing more, for example because what it changes knows the task's
    /// [key](crate::TaskContext::idempotency_key). It may be done again whenever its end is not known.
    #[default]
    Idempotent,
    /// Doing it again may do harm. It is begun only once the journal says who begins it, and never again by itself unless
    /// its agent says that [nothing had been done](crate::AgentError::before_effect). When nobody knows its end
    /// it is parked until somebody [rules](crate::RunHandle::rule).
    Irreversible,
}

impl EffectClass {
    const ALL: [Self; 3] = [Self::Pure, Self::Idempotent, Self::Irreversible];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pure => "pure",
            Self::Idempotent => "idempotent",
            Self::Irreversible => "irreversible",
        }
    }

    /// The class of a task of which a plan may ask for a stricter one.
    pub(crate) fn with_plan(self, plan: Option<Self>) -> Self {
        plan.map_or(self, |plan| self.max(plan))
    }

    pub(crate) fn is_irreversible(self) -> bool {
        self == Self::Irreversible
    }
}

impl fmt::Display for EffectClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for EffectClass {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let known = Self::ALL.into_iter().find(|class| class.name() == text);
        known.ok_or_else(|| Error::invalid(format!("`{text}` is no effect class")))
    }
}

#[cfg(test)]
mod tests {
    use super::EffectClass::{self, Idempotent, Irreversible, Pure};

    #[test]
    fn a_plan_makes_it_stricter_and_never_more_lenient() {
        assert_eq!(EffectClass::default(), Idempotent);
        for own in EffectClass::ALL {
            assert_eq!(own.with_plan(None), own);
            assert_eq!(own.with_plan(Some(Pure)), own);
            assert_eq!(own.with_plan(Some(Irreversible)), Irreversible);
        }
        assert_eq!(Pure.with_plan(Some(Idempotent)), Idempotent);
    }

    #[test]
    fn names_are_those_of_its_serde_form() {
        for class in EffectClass::ALL {
            let name = serde_json::to_value(class).unwrap();
            assert_eq!(name, class.to_string());
            assert_eq!(class.name().parse::<EffectClass>().unwrap(), class);
        }
        assert!("reversible".parse::<EffectClass>().is_err());
    }
}
