//! Puts breakers around services.

use std::fmt;

use tower::Layer;

use super::handle::Breaker;
use super::service::CircuitBreaker;

/// Picks the breaker of a request: always the same one, or one for each key.
///
/// A [`Breaker`] is one, for all requests. So is any `Fn(&Req) -> Breaker`, which looks it up in
/// [`Breakers`](super::Breakers).
pub trait PickBreaker<Req> {
    /// Returns the breaker that guards this request.
    fn pick(&self, request: &Req) -> Breaker;
}

impl<Req> PickBreaker<Req> for Breaker {
    fn pick(&self, _: &Req) -> Breaker {
        self.clone()
    }
}

impl<F, Req> PickBreaker<Req> for F
where
    F: Fn(&Req) -> Breaker,
{
    fn pick(&self, request: &Req) -> Breaker {
        self(request)
    }
}

/// Refuses the calls of a service that is failing.
///
/// ```
/// use coditect_resilience::{
///     BreakerPolicy, Breakers, CircuitBreakerLayer, Error, ErrorKind, retry_errors,
/// };
/// use tower::{Layer, Service, ServiceExt, service_fn};
///
/// struct Call { agent: &'static str }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Error> {
/// let policy = BreakerPolicy::builder().consecutive_failures(1).build()?;
/// let breakers = Breakers::new(policy, 1_000)?;
/// let layer = CircuitBreakerLayer::new(move |call: &Call| breakers.breaker(call.agent), retry_errors);
/// let mut agents = layer.layer(service_fn(|call: Call| async move {
///     if call.agent == "broken" { Err(Error::timeout(std::time::Duration::ZERO)) } else { Ok("done") }
/// }));
///
/// let mut kind = async |agent| match agents.ready().await?.call(Call { agent }).await {
///     Ok(_) => Ok(None),
///     Err(error) => Ok::<_, Error>(Some(error.kind())),
/// };
/// assert_eq!(kind("broken").await?, Some(ErrorKind::Timeout));
/// assert_eq!(kind("broken").await?, Some(ErrorKind::CircuitOpen));
/// assert_eq!(kind("healthy").await?, None);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct CircuitBreakerLayer<P, C> {
    pick: P,
    classify: C,
}

impl<P, C> CircuitBreakerLayer<P, C> {
    /// Makes a layer from a breaker, or a function that picks one, and the judgement of outcomes.
    #[must_use]
    pub const fn new(pick: P, classify: C) -> Self {
        Self { pick, classify }
    }
}

impl<S, P: Clone, C: Clone> Layer<S> for CircuitBreakerLayer<P, C> {
    type Service = CircuitBreaker<S, P, C>;

    fn layer(&self, inner: S) -> Self::Service {
        CircuitBreaker {
            inner,
            pick: self.pick.clone(),
            classify: self.classify.clone(),
        }
    }
}

impl<P, C> fmt::Debug for CircuitBreakerLayer<P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerLayer")
            .finish_non_exhaustive()
    }
}
