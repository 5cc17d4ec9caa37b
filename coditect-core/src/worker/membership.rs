//! The agents of this process in the registry: registered, renewed by a task of its own, withdrawn.

use std::sync::Arc;
use std::time::Duration;

use coditect_registry::{AgentRecord, ErrorKind, Health, Load, Registration};
use coditect_resilience::Randomness;
use futures::future::join_all;

use super::Worker;
use super::hosted::Hosted;
use super::standing::Reported;
use crate::error::Error;

/// How long a process that ends waits until its agents are withdrawn; their leases would end by themselves.
const FAREWELL: Duration = Duration::from_secs(1);

/// An agent that is registered.
struct Member {
    hosted: Arc<Hosted>,
    registration: Registration,
    /// What the registry was told last.
    told: Reported,
    /// The last renewal failed, which was said.
    away: bool,
}

/// Registers every agent and keeps the registrations alive until the worker has ended its work.
pub(super) async fn start(worker: &Arc<Worker>) -> Result<(), Error> {
    let registered = worker.hosted.iter().map(|hosted| register(worker, hosted));
    let mut members = Vec::with_capacity(worker.hosted.len());
    let mut refused = None;
    for registered in join_all(registered).await {
        match registered {
            Ok(member) => members.push(member),
            Err(error) => refused = Some(error),
        }
    }
    if let Some(error) = refused {
        withdraw(worker, &members).await;
        return Err(error.into());
    }
    let keeper = Arc::clone(worker);
    worker
        .tracker
        .spawn(async move { keep(&keeper, members).await });
    Ok(())
}

async fn register(
    worker: &Worker,
    hosted: &Arc<Hosted>,
) -> Result<Member, coditect_registry::Error> {
    let ports = &worker.services.ports;
    let told = hosted.reported();
    let record = record(worker, hosted, &told);
    let ttl = ports.settings.agent_lease;
    Ok(Member {
        hosted: Arc::clone(hosted),
        registration: ports.registry.register(record, ttl).await?,
        told,
        away: false,
    })
}

fn record(worker: &Worker, hosted: &Hosted, reported: &Reported) -> AgentRecord {
    let mut record = AgentRecord::new(hosted.id.clone(), worker.incarnation)
        .with_capabilities(hosted.capabilities.iter().cloned())
        .with_load(load(hosted))
        .with_exclusive(hosted.card.is_exclusive());
    record.health = worker.health(reported);
    record.health_reason.clone_from(&reported.reason);
    record.endpoint = hosted.own_queue().map(|queue| queue.as_str().into());
    record
}

fn load(hosted: &Hosted) -> Load {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Load {
        in_flight: number(hosted.in_use()),
        slots: number(hosted.limit()),
    }
}

/// Renews all members at once, again and again: soon when one has something to say, and at the beginning of a drain.
async fn keep(worker: &Worker, mut members: Vec<Member>) {
    let ttl = worker.services.ports.settings.agent_lease;
    let mut draining = false;
    loop {
        // Processes that were started together do not stay in step.
        let wait = (ttl / 3).mul_f64(0.7 + 0.3 * worker.randomness.next_unit());
        tokio::select! {
            biased;
            () = worker.attempts_ended() => break,
            () = worker.stop.cancelled(), if !draining => draining = true,
            () = worker.services.reported.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
        tokio::select! {
            biased;
            () = worker.attempts_ended() => break,
            _ = join_all(members.iter_mut().map(|member| member.renew(worker))) => {}
        }
        members.retain(|member| !member.hosted.standing.is_superseded());
    }
    withdraw(worker, &members).await;
}

async fn withdraw(worker: &Worker, members: &[Member]) {
    let registry = &worker.services.ports.registry;
    let withdrawn = members.iter().map(async |member| {
        if let Err(error) = registry.deregister(&member.registration).await {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(agent = %member.hosted.id, error, "the registration could not be withdrawn");
        }
    });
    // What is not withdrawn in time expires.
    let _ = tokio::time::timeout(FAREWELL, join_all(withdrawn)).await;
}

impl Member {
    /// Renews once, and does what the answer asks for.
    async fn renew(&mut self, worker: &Worker) {
        let Err(error) = self.tell(worker).await else {
            self.away = false;
            return;
        };
        let refused = match error.kind() {
            ErrorKind::LeaseLost => {
                // What was in hand goes on: whoever has given some of it to others stops that here.
                tracing::warn!(agent = %self.hosted.id, "the lease was lost; registering again");
                match register(worker, &self.hosted).await {
                    Ok(again) => return *self = again,
                    Err(error) => error,
                }
            }
            _ => error,
        };
        if refused.kind() == ErrorKind::Superseded {
            tracing::warn!(
                agent = %self.hosted.id,
                incarnation = %worker.incarnation,
                "a newer start of this exclusive agent holds its name: this one stops, and what it does is cancelled"
            );
            return self.hosted.supersede();
        }
        let error = &refused as &dyn std::error::Error;
        if std::mem::replace(&mut self.away, true) {
            tracing::debug!(agent = %self.hosted.id, error, "the registration still cannot be renewed");
        } else {
            tracing::warn!(agent = %self.hosted.id, error, "the registration could not be renewed; trying on");
        }
    }

    async fn tell(&mut self, worker: &Worker) -> Result<(), coditect_registry::Error> {
        let registry = &worker.services.ports.registry;
        let reported = self.hosted.reported();
        if reported != self.told {
            let record = record(worker, &self.hosted, &reported);
            registry.update(&self.registration, record).await?;
            self.told = reported.clone();
        }
        let (load, health) = (load(&self.hosted), worker.health(&reported));
        registry.renew(&self.registration, load, health).await
    }
}

impl Worker {
    /// What is said of an agent: what it reports itself, unless the process is draining.
    fn health(&self, reported: &Reported) -> Health {
        match self.stop.is_cancelled() {
            true => Health::Draining,
            false => reported.health,
        }
    }
}
