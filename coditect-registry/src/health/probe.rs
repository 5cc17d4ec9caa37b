//! How an instance is asked whether it answers.

use std::sync::Arc;

use async_trait::async_trait;

use crate::AgentRecord;

/// Asks an instance for a sign of life on the way on which its tasks go, for instance by a request over the bus.
///
/// # Examples
///
/// ```
/// use coditect_registry::{AgentRecord, Answer, Probe, Reason};
///
/// /// Connects to the endpoint of an agent.
/// #[derive(Debug)]
/// struct Connect;
///
/// #[async_trait::async_trait]
/// impl Probe for Connect {
///     async fn probe(&self, record: &AgentRecord) -> Answer {
///         let Some(endpoint) = &record.endpoint else {
///             return Answer::Unasked("it states no endpoint".into());
///         };
///         match tokio::net::TcpStream::connect(&**endpoint).await {
///             Ok(_) => Answer::Alive,
///             Err(error) => Answer::Missed(error.to_string().into()),
///         }
///     }
/// }
/// ```
#[async_trait]
pub trait Probe: Send + Sync + 'static {
    /// Asks once. The [`Checker`](crate::Checker) bounds the time; it need not be bounded here.
    ///
    /// # Cancel safety
    ///
    /// Dropped when its time is over.
    async fn probe(&self, record: &AgentRecord) -> Answer;
}

/// Says what came of asking an instance for a sign of life.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// It has answered.
    Alive,
    /// It was asked and has not answered, or badly; the text says how.
    Missed(Arc<str>),
    /// It could not be asked, for a cause that does not lie with it, such as a broker that is out of reach. Counts neither
    /// for nor against it.
    Unasked(Arc<str>),
}
