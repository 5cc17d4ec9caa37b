//! What a call has cost, said afterwards.

use super::TaskContext;

impl TaskContext {
    /// Reports what the call has cost at a provider whose tokens are [limited](crate::RateLimits::with_tokens), once that is
    /// known: it is counted before the next call goes. Does nothing where they are not.
    ///
    /// # Examples
    ///
    /// ```
    /// use coditect_core::prelude::*;
    ///
    /// async fn summarize(context: TaskContext, text: String) -> Result<String, AgentError> {
    ///     // What the model's answer says of its use.
    ///     context.charge(1_200);
    ///     Ok(text)
    /// }
    /// # let _ = agent("summarize", summarize);
    /// ```
    pub fn charge(&self, tokens: u32) {
        if let Some(meter) = &self.inner.meter {
            meter.charge(tokens);
        }
    }
}
