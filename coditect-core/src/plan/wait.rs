//! Tasks that nobody works on: they wait for a signal from outside, or for a person to approve.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::reference::TaskRef;
use super::settings::millis;
use super::spec::{self, Binding, WaitSpec};

/// Names a signal together with the type of what it brings: an event from outside that a task of a run waits for.
///
/// Within a run, a name stands for one event. The first signal by a name counts, whether it comes before or after a
/// task begins to wait for it; later ones change nothing, and every task that waits for the name is given the same.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use coditect_core::prelude::*;
///
/// const PAID: Signal<u64> = Signal::new("paid");
/// const SHIP: Call<u64, String> = Call::new("ship");
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), coditect_core::Error> {
/// let mut plan = Plan::builder();
/// // After an hour it is taken for not paid.
/// let cents = plan.wait("payment", PAID.within(Duration::from_secs(3600)).or(0));
/// let receipt = plan.task("ship", &SHIP, cents);
/// let plan: Plan<String> = plan.output(receipt)?;
///
/// let ship = agent("ship", async |cents: u64| Ok::<_, AgentError>(format!("{cents} cents")));
/// let runtime = Runtime::builder().agent(ship).start().await?;
/// let run = runtime.submit_plan(plan).await?;
/// run.signal(&PAID, &1_700).await?;
/// assert_eq!(run.result().await?, "1700 cents");
/// # runtime.shutdown().await
/// # }
/// ```
pub struct Signal<T> {
    name: SignalName,
    value: PhantomData<fn(T) -> T>,
}

#[derive(Clone)]
enum SignalName {
    Constant(&'static str),
    Owned(String),
}

impl<T> Signal<T> {
    /// Names a signal in a constant.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name: SignalName::Constant(name),
            value: PhantomData,
        }
    }

    /// Names a signal by a text made at run time, such as one that contains a number.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: SignalName::Owned(name.into()),
            value: PhantomData,
        }
    }

    /// The signal's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.name {
            SignalName::Constant(name) => name,
            SignalName::Owned(name) => name,
        }
    }

    /// Waits for the signal so long at most, from the moment at which the task could run.
    ///
    /// Then the task fails as one whose deadline has passed, unless there is a value to go on [with](Wait::or).
    #[must_use]
    pub fn within(&self, limit: Duration) -> Wait<T> {
        let mut wait = Wait::from(self);
        wait.spec.timeout_ms = Some(millis(limit));
        wait
    }
}

impl<T> Clone for Signal<T> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            value: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Signal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signal").field(&self.name()).finish()
    }
}

/// How a task waits for a signal; made by [`Signal::within`], or of a `&Signal` for a wait without end.
#[derive(Clone, Debug)]
pub struct Wait<T> {
    pub(super) spec: WaitSpec,
    pub(super) mistake: Option<Arc<serde_json::Error>>,
    value: PhantomData<fn(T) -> T>,
}

impl<T: Serialize> Wait<T> {
    /// Sets the value with which to go on when the time is over.
    #[must_use]
    pub fn or(mut self, value: T) -> Self {
        match spec::encode(&value) {
            Ok(value) => self.spec.default = Some(value),
            Err(error) => self.mistake = Some(Arc::new(error)),
        }
        self
    }
}

impl<T> From<&Signal<T>> for Wait<T> {
    fn from(signal: &Signal<T>) -> Self {
        Self {
            spec: WaitSpec {
                signal: Some(signal.name().into()),
                ..WaitSpec::default()
            },
            mistake: None,
            value: PhantomData,
        }
    }
}

/// Asks a person whether a run may go on, by a task that waits without a slot.
///
/// Approved, the task answers with the [`Decision`]; rejected, it fails with
/// [`FailureKind::Rejected`](crate::FailureKind::Rejected), and what hangs on it is treated by the plan's
/// [policy](crate::FailurePolicy). A task that a person has decided counts against the
/// [autonomy](crate::RunReport::autonomy) of its run.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use coditect_core::prelude::*;
///
/// const NOTES: Call<String, String> = Call::new("notes");
/// const RELEASE: Call<String, String> = Call::new("release");
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), coditect_core::Error> {
/// let mut plan = Plan::builder();
/// let notes = plan.task("notes", &NOTES, "1.2".to_owned());
/// let day = Duration::from_secs(24 * 3600);
/// let ask = Approval::new("Release 1.2 with these notes?").about(&notes).within(day).or_reject();
/// let approved = plan.approval("approval", ask);
/// let release = plan.task("release", &RELEASE, "1.2".to_owned());
/// plan.after(&release, &approved);
/// let plan: Plan<String> = plan.output(release)?;
///
/// let runtime = Runtime::builder()
///     .agent(agent("notes", async |version: String| Ok::<_, AgentError>(format!("{version}: faster"))))
///     .agent(agent("release", async |version: String| Ok::<_, AgentError>(format!("released {version}"))))
///     .start()
///     .await?;
/// let run = runtime.submit_plan(plan).await?;
///
/// // Whoever decides may be another process, which knows the id of the run.
/// let mut events = run.events().await?;
/// while let Some(event) = events.next().await? {
///     if let RunEventKind::Waiting(..) = event.kind {
///         break;
///     }
/// }
/// let waiting = run.waiting().await?;
/// assert_eq!(waiting[0].task.path, "approval");
/// assert_eq!(waiting[0].subject, r#""1.2: faster""#);
/// run.decide("approval", Decision::approve("ann").comment("Well done.")).await?;
/// assert_eq!(run.result().await?, "released 1.2");
/// assert!(run.report().await?.autonomy() < 1.0);
/// # runtime.shutdown().await
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Approval {
    pub(super) spec: WaitSpec,
    pub(super) subject: Option<(Binding, u64)>,
}

impl Approval {
    /// Asks a question.
    #[must_use]
    pub fn new(question: impl Into<String>) -> Self {
        Self {
            spec: WaitSpec {
                approval: Some(question.into()),
                ..WaitSpec::default()
            },
            subject: None,
        }
    }

    /// Shows what is to be approved: what another task of the plan has answered with.
    #[must_use]
    pub fn about<T>(mut self, subject: &TaskRef<T>) -> Self {
        self.subject = Some((subject.binding().clone(), subject.plan()));
        self
    }

    /// Waits so long at most, from the moment at which the task could run; then the task fails as one whose deadline has
    /// passed, unless a default decides.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.spec.timeout_ms = Some(millis(limit));
        self
    }

    /// Approves when the time is over.
    #[must_use]
    pub fn or_approve(self) -> Self {
        self.or(true)
    }

    /// Rejects when the time is over.
    #[must_use]
    pub fn or_reject(self) -> Self {
        self.or(false)
    }

    fn or(mut self, approved: bool) -> Self {
        let decision = Decision {
            approved,
            by: None,
            comment: None,
        };
        // A truth value can be written.
        self.spec.default = spec::encode(&decision).ok();
        self
    }
}

/// What was decided about an [`Approval`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Whether the run may go on.
    pub approved: bool,
    /// Who decided; none where the time was over and the default did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What was said about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl Decision {
    /// Lets the run go on.
    #[must_use]
    pub fn approve(by: impl Into<String>) -> Self {
        Self {
            approved: true,
            by: Some(by.into()),
            comment: None,
        }
    }

    /// Fails the task that asked.
    #[must_use]
    pub fn reject(by: impl Into<String>) -> Self {
        Self {
            approved: false,
            ..Self::approve(by)
        }
    }

    /// Says something about it.
    #[must_use]
    pub fn comment(mut self, comment: impl Into<String>) -> Self {
        self.comment = Some(comment.into());
        self
    }

    /// Why the task fails that asked.
    pub(crate) fn rejection(&self) -> String {
        let by = match &self.by {
            Some(by) => format!("rejected by {by}"),
            None => "rejected, because nobody had decided in time".to_owned(),
        };
        match &self.comment {
            Some(comment) => format!("{by}: {comment}"),
            None => by,
        }
    }
}

/// What a task waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Awaited {
    /// A signal by this name.
    Signal(Arc<str>),
    /// A person's answer to this question.
    Approval(String),
    /// A [ruling](crate::Ruling) about an irreversible task, whose outcome is not known for this reason.
    Ruling(Arc<str>),
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(name) => write!(f, "signal `{name}`"),
            Self::Approval(question) => write!(f, "approval: {question}"),
            Self::Ruling(reason) => write!(f, "ruling: {reason}"),
        }
    }
}

impl WaitSpec {
    /// The capability under which such a task stands in a plan. Nobody offers it, so that a coordinator of an earlier
    /// release lets the task wait unserved.
    pub(crate) fn capability(&self) -> &'static str {
        match self.approval {
            Some(_) => "coditect.approval",
            None => "coditect.signal",
        }
    }

    pub(crate) fn awaited(&self) -> Awaited {
        match (&self.approval, &self.signal) {
            (Some(question), _) => Awaited::Approval(question.clone()),
            (None, name) => Awaited::Signal(name.clone().unwrap_or_default()),
        }
    }
}
