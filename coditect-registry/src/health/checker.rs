//! The task that asks instances for signs of life and tells the registry what it concludes.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::election::Election;
use super::rounds::{Conclusion, Rounds};
use super::{Answer, CheckPolicy, Finding, Probe, Reason, Verdict};
use crate::{ErrorKind, Incarnation, Instance, Registry, Role, View, random};

/// Asks all instances of a view for signs of life, and degrades or evicts those that hold their lease but do not answer.
///
/// A lease is renewed by a task of its own, so it says that a process lives, not that it works. What the checker concludes
/// goes to the registry ([`Registry::judge`]), with the reason and the time, and so to every watcher: an evicted
/// instance is chosen by nobody, and [`Choice::lost`](crate::Choice::lost) tells those who have tasks there. It keeps its
/// lease and goes on being asked; when it has answered a few times in a row nothing is held against it any more, and it
/// starts slowly. So an incarnation may come back from eviction, since what it does meanwhile is fenced by the attempt, not
/// by its eviction; if it registers anew, it begins with a clean record at once.
///
/// One checker per registry is enough: several do no harm but ask more, and each may take back what another has concluded.
/// So where many processes might check, let each [stand](Self::stand) for it. A checker takes over what it finds: whom its
/// predecessor has evicted must answer as often as if it had done so itself.
///
/// It ends when it is dropped; [`close`](Self::close) also waits for that.
pub struct Checker {
    tracker: TaskTracker,
    cancel: CancellationToken,
    _cancel_on_drop: DropGuard,
}

impl Checker {
    /// Begins to ask the instances of a view.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub fn start(
        view: View,
        registry: Arc<dyn Registry>,
        probe: Arc<dyn Probe>,
        policy: CheckPolicy,
    ) -> Self {
        let round = Round::new(view, registry, probe, policy);
        Self::run(|stopped| round.run(stopped))
    }

    /// Stands for election to the role of the checker, and asks the instances of a view whenever it is elected.
    ///
    /// Of all who stand by the same registry one asks, and when it ends another follows. An elected checker that dies is
    /// followed after twice the interval of its policy, at least a second and at most a minute, and up to half as long again. While
    /// the registry loses its data two may ask, for a part of that time.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub fn stand(
        view: View,
        registry: Arc<dyn Registry>,
        probe: Arc<dyn Probe>,
        policy: CheckPolicy,
        candidate: Incarnation,
    ) -> Self {
        let role = Role::of_checker();
        let election = Election::new(Arc::clone(&registry), role, candidate, policy.term());
        let terms = async move |stopped: CancellationToken| {
            while let Some(ends) = stopped.run_until_cancelled(election.won()).await {
                tracing::info!(%candidate, "this process checks the agents now");
                let term = stopped.child_token();
                let round = Round::new(
                    view.clone(),
                    Arc::clone(&registry),
                    Arc::clone(&probe),
                    policy,
                );
                let over = async {
                    stopped.run_until_cancelled(election.lost(ends)).await;
                    term.cancel();
                };
                tokio::join!(round.run(term.clone()), over);
            }
            election.resign().await;
        };
        Self::run(terms)
    }

    fn run<F>(task: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (tracker, cancel) = (TaskTracker::new(), CancellationToken::new());
        tracker.spawn(task(cancel.clone()));
        tracker.close();
        Self {
            tracker,
            _cancel_on_drop: cancel.clone().drop_guard(),
            cancel,
        }
    }

    /// Stops asking and waits until the task has ended. What has been concluded stays with the registry.
    ///
    /// # Cancel safety
    ///
    /// If dropped, asking stops all the same.
    pub async fn close(&self) {
        self.cancel.cancel();
        self.tracker.wait().await;
    }
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checker").finish_non_exhaustive()
    }
}

/// The state of the task.
struct Round {
    view: View,
    registry: Arc<dyn Registry>,
    probe: Arc<dyn Probe>,
    policy: CheckPolicy,
    rounds: Rounds,
    jobs: JoinSet<(Instance, Done)>,
}

/// What a job has done.
enum Done {
    Asked(Answer),
    Judged(Conclusion, crate::Result<()>),
}

impl Round {
    fn new(
        view: View,
        registry: Arc<dyn Registry>,
        probe: Arc<dyn Probe>,
        policy: CheckPolicy,
    ) -> Self {
        Self {
            view,
            registry,
            probe,
            policy,
            rounds: Rounds::new(policy),
            jobs: JoinSet::new(),
        }
    }

    async fn run(mut self, stopped: CancellationToken) {
        stopped.run_until_cancelled(self.go_on()).await;
        self.jobs.shutdown().await;
    }

    async fn go_on(&mut self) {
        let view = self.view.clone();
        loop {
            let mut changed = pin!(view.changed());
            self.look();
            loop {
                self.ask_who_is_due();
                let next = self.rounds.next();
                tokio::select! {
                    () = &mut changed => break,
                    () = reached(next) => {}
                    Some(done) = self.jobs.join_next() => match done {
                        Ok((instance, done)) => self.take(instance, done),
                        // A job catches the panics of probes itself, and nobody aborts it.
                        Err(error) => tracing::error!(%error, "a job of the checker was lost"),
                    },
                }
            }
        }
    }

    fn look(&mut self) {
        let records = self.view.records();
        let there = records.iter().map(|record| {
            let found = record.verdict.as_ref().map(|verdict| verdict.finding);
            (&record.instance, found)
        });
        self.rounds.look(there, Instant::now(), random::draw);
    }

    fn ask_who_is_due(&mut self) {
        while let Some(instance) = self.rounds.take(Instant::now()) {
            let Some(candidate) = self.view.candidate(&instance) else {
                self.finish(&instance);
                continue;
            };
            let (probe, patience) = (Arc::clone(&self.probe), self.policy.timeout);
            self.jobs.spawn(async move {
                // In a task of its own, so that a panic in it costs no more than this answer.
                let record = candidate.record();
                let mut asked = JoinSet::new();
                asked.spawn(async move { timeout(patience, probe.probe(&record)).await });
                let answer = match asked.join_next().await {
                    Some(Ok(Ok(answer))) => answer,
                    Some(Ok(Err(_))) => Answer::Missed(format!("silent for {patience:?}").into()),
                    Some(Err(error)) => Answer::Unasked(error.to_string().into()),
                    None => Answer::Unasked("never asked".into()),
                };
                (instance, Done::Asked(answer))
            });
        }
    }

    fn take(&mut self, instance: Instance, done: Done) {
        match done {
            Done::Asked(answer) => {
                if let Answer::Unasked(why) = &answer {
                    tracing::debug!(%instance, %why, "an agent could not be asked for a sign of life");
                }
                match self.rounds.conclude(&instance, &answer) {
                    Some(conclusion) => self.judge(instance, conclusion),
                    None => self.finish(&instance),
                }
            }
            Done::Judged(conclusion, result) => {
                if let Err(error) = result {
                    self.rounds.revoke(&instance, &conclusion);
                    // It has left meanwhile, which the view will hear of.
                    if error.kind() != ErrorKind::LeaseLost {
                        tracing::warn!(%instance, %error, "what was found about an agent could not be told");
                    }
                }
                self.finish(&instance);
            }
        }
    }

    fn judge(&mut self, instance: Instance, conclusion: Conclusion) {
        let Conclusion {
            finding, reason, ..
        } = &conclusion;
        match finding {
            Some(Finding::Evicted) => tracing::warn!(%instance, %reason, "an agent is evicted"),
            Some(Finding::Degraded) => tracing::info!(%instance, %reason, "an agent is degraded"),
            None => tracing::info!(%instance, %reason, "an agent answers again"),
        }
        let reason = || Reason::new(reason, SystemTime::now());
        let verdict = finding.map(|finding| Verdict {
            finding,
            reason: reason(),
        });
        let registry = Arc::clone(&self.registry);
        self.jobs.spawn(async move {
            let result = registry.judge(&instance, verdict).await;
            (instance, Done::Judged(conclusion, result))
        });
    }

    fn finish(&mut self, instance: &Instance) {
        self.rounds.finish(instance, Instant::now(), random::draw());
    }
}

async fn reached(next: Option<Instant>) {
    match next {
        Some(next) => sleep_until(next).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
