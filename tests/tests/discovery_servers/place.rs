//! A place on both servers, and runtimes on it.

use std::sync::Arc;
use std::time::Duration;

use coditect_core::RuntimeBuilder;
use coditect_core::prelude::*;
use coditect_harness::{RabbitMq, Redis, Vhost, required};
use parking_lot::Mutex;

pub(crate) const LEASE: Duration = Duration::from_secs(2);

/// A virtual host of the shared broker, and a namespace on a Redis.
pub(crate) struct Place {
    pub(crate) bus: String,
    pub(crate) registry: String,
    _vhost: Vhost<'static>,
}

impl Place {
    /// None where servers are left out.
    pub(crate) async fn on(redis: &Redis) -> Option<Self> {
        let broker = required(RabbitMq::shared()).await?;
        let vhost = broker.vhost().await.expect("a virtual host");
        Some(Self {
            bus: vhost.url(),
            registry: format!("{}?namespace={}", redis.url(), Redis::namespace()),
            _vhost: vhost,
        })
    }

    pub(crate) fn runtime(&self) -> RuntimeBuilder {
        let soon = Duration::from_secs(1);
        Runtime::builder()
            .bus(self.bus.as_str())
            .registry(self.registry.as_str())
            .leases(LEASE, LEASE)
            .drain_limit(soon)
            .grace(soon)
    }
}

/// Who has done how much.
#[derive(Clone, Default)]
pub(crate) struct Done(Arc<Mutex<Vec<&'static str>>>);

impl Done {
    pub(crate) fn all(&self) -> usize {
        self.0.lock().len()
    }

    pub(crate) fn by(&self, name: &str) -> usize {
        self.0.lock().iter().filter(|by| **by == name).count()
    }

    /// An agent that takes some milliseconds.
    pub(crate) fn agent(&self, name: &'static str) -> impl Agent {
        let done = self.clone();
        let work = move |x: u64| {
            let done = done.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                done.0.lock().push(name);
                Ok::<_, AgentError>(x)
            }
        };
        agent("work", work).with_name(name).with_concurrency(4)
    }
}

/// A plan of so many tasks side by side.
pub(crate) fn side_by_side(call: &Call<u64, u64>, count: u64) -> Plan<Vec<u64>> {
    let mut plan = Plan::builder();
    let tasks: Vec<_> = (0..count)
        .map(|number| plan.task(number.to_string(), call, number))
        .collect();
    plan.aggregate(collect_all(), tasks).expect("a plan")
}

pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, what).await.expect("it hangs")
}
