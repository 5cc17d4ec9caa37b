//! What an agent says of itself from within.

use std::time::SystemTime;

use coditect_registry::{Health, Reason};

use super::TaskContext;
use crate::worker::Reported;

impl TaskContext {
    /// Says of the agent that handles this task whether it wants work, and why.
    ///
    /// It holds for this instance of the agent and all that it does, beyond this task, until something else is said: here, in
    /// another task, or by [`Runtime::report_health`](crate::Runtime::report_health). `Degraded` is given work only if nobody is
    /// ready; `Draining` finishes what it has and takes none. So a clone of the context belongs to the background
    /// task that finds out when the agent is well again. The registry, and so every coordinator, is told soon, by the task that renews;
    /// this process keeps to it at once.
    ///
    /// # Examples
    ///
    /// ```
    /// use coditect_core::prelude::*;
    /// use coditect_core::registry::Health;
    ///
    /// async fn summarize(context: TaskContext, text: String) -> Result<String, AgentError> {
    ///     # async fn model(text: String) -> Result<String, std::io::Error> { Ok(text) }
    ///     match model(text).await {
    ///         Ok(summary) => {
    ///             context.report_health(Health::Ready, None);
    ///             Ok(summary)
    ///         }
    ///         Err(error) => {
    ///             context.report_health(Health::Degraded, "the model does not answer");
    ///             Err(error.into())
    ///         }
    ///     }
    /// }
    /// # let _ = Runtime::builder().agent(agent("summarize", summarize));
    /// ```
    pub fn report_health<'a>(&self, health: Health, reason: impl Into<Option<&'a str>>) {
        let reason = reason.into();
        let reported = Reported {
            health,
            reason: reason.map(|text| Reason::new(text, SystemTime::now())),
        };
        // Said again and again, the same is no news, and keeps the time of the first.
        if self.inner.hosted.report_news(reported) {
            self.inner.services.reported.notify_one();
        }
    }
}
