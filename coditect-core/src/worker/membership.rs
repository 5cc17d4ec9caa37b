//! The agents of this process in the registry: registered, renewed by a task of its own, withdrawn.

use std::sync::Arc;
use std::time::Duration;

use coditect_registry::{AgentRecord, Health, Load, Registration};

use super::Worker;
use super::hosted::Hosted;
use crate::error::Error;

/// Registers every agent and keeps the registrations alive until the worker stops taking work.
pub(super) async fn start(worker: &Arc<Worker>) -> Result<(), Error> {
    let ports = &worker.services.ports;
    let ttl = ports.settings.agent_lease;
    let mut members = Vec::with_capacity(worker.hosted.len());
    for hosted in worker.hosted.iter() {
        let registration = ports.registry.register(record(worker, hosted), ttl).await?;
        members.push((Arc::clone(hosted), registration));
    }
    let keeper = Arc::clone(worker);
    worker
        .tracker
        .spawn(async move { keep(&keeper, members, ttl).await });
    Ok(())
}

fn record(worker: &Worker, hosted: &Hosted) -> AgentRecord {
    AgentRecord::new(hosted.id.clone(), worker.incarnation)
        .with_capabilities(hosted.capabilities.iter().cloned())
        .with_load(load(hosted))
}

fn load(hosted: &Hosted) -> Load {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Load {
        in_flight: number(hosted.in_use()),
        slots: number(hosted.card.concurrency()),
    }
}

async fn keep(worker: &Worker, mut members: Vec<(Arc<Hosted>, Registration)>, ttl: Duration) {
    let registry = &worker.services.ports.registry;
    loop {
        tokio::select! {
            biased;
            () = worker.stop.cancelled() => break,
            () = tokio::time::sleep(ttl / 3) => {}
        }
        for (hosted, registration) in &mut members {
            let renewed = registry
                .renew(registration, load(hosted), Health::Ready)
                .await;
            let Err(error) = renewed else { continue };
            tracing::warn!(
                agent = %hosted.id,
                error = &error as &dyn std::error::Error,
                "the registration could not be renewed; registering again"
            );
            if error.is_retryable() {
                continue;
            }
            if let Ok(again) = registry.register(record(worker, hosted), ttl).await {
                *registration = again;
            }
        }
    }
    for (hosted, registration) in members {
        if let Err(error) = registry.deregister(&registration).await {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(agent = %hosted.id, error, "the registration had ended already");
        }
    }
}
