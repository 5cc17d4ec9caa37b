//! Questions about what is held because whoever would answer keeps failing: who is asked instead, and what is tried.

use coditect_registry::{AgentRecord, Standing};

use super::question::{Asking, Question};
use crate::error::{Error, ErrorKind};
use crate::failure::FailureKind;
use crate::quarantine::{Pattern, ProbeGuard};
use crate::worker::{Ended, Offer};

impl Question<'_> {
    /// Asks, and fails at once where nobody could answer but agents that are held.
    pub(super) async fn once(&self, asking: &Asking) -> Result<Ended, Error> {
        let held = match &self.runtime.inner.quarantines {
            Some(quarantines) => quarantines.held_for(self.requirement),
            None => Vec::new(),
        };
        let there: Vec<_> = held.iter().filter(|one| self.is_there(one)).collect();
        if there.is_empty() || self.here(&held).is_some() || self.is_elsewhere(&held) {
            return self.beside(&held, asking).await;
        }
        match self.probe(&there) {
            Some(probe) => Box::pin(self.try_one(&held, probe, asking)).await,
            None => Err(self.is_held(there[0])),
        }
    }

    /// Asks one that is held, to find out whether it still fails.
    async fn try_one(
        &self,
        held: &[Pattern],
        mut probe: ProbeGuard,
        asking: &Asking,
    ) -> Result<Ended, Error> {
        let others = held.iter().filter(|one| *one != probe.pattern());
        let others: Vec<_> = others.cloned().collect();
        probe.begin();
        let answered = self.beside(&others, asking).await;
        match &answered {
            Ok(Ended::Output(_) | Ended::Plan(_)) => probe.settle_own(true),
            // It was not asked, or has said nothing of itself: another question is tried.
            Err(_) => drop(probe),
            Ok(Ended::Failed { failure, .. })
                if matches!(failure.kind, FailureKind::Cancelled | FailureKind::Lost) =>
            {
                drop(probe);
            }
            Ok(Ended::Failed { .. }) => probe.settle_own(false),
        }
        answered
    }

    /// Leave to try one of those that are held, if it is time for that.
    fn probe(&self, held: &[&Pattern]) -> Option<ProbeGuard> {
        let quarantines = self.runtime.inner.quarantines.as_ref()?;
        held.iter().find_map(|one| quarantines.probe(one))
    }

    /// The agent of this process to ask: none that is held, or wants no work.
    pub(super) fn here(&self, held: &[Pattern]) -> Option<Offer> {
        let worker = &self.runtime.inner.worker;
        if held.is_empty() {
            return worker.find(self.requirement);
        }
        let mut offering = worker.offering(self.requirement).into_iter();
        offering.find(|offer| offer.wants_work() && !held.contains(&offer.pattern()))
    }

    /// Says whether an agent of another process offers what is required, and is not held.
    pub(super) fn is_elsewhere(&self, held: &[Pattern]) -> bool {
        let here = self.runtime.inner.worker.incarnation;
        let records = self.runtime.inner.view.records();
        records.iter().any(|record| {
            let offered = |one: Pattern| !held.contains(&one);
            record.incarnation() != here
                && record.standing() <= Standing::Degraded
                && self.offered_by(record).any(offered)
        })
    }

    /// Says whether an agent that is held runs, here or elsewhere.
    fn is_there(&self, pattern: &Pattern) -> bool {
        let here = self.runtime.inner.worker.offering(self.requirement);
        let records = self.runtime.inner.view.records();
        here.iter().any(|offer| offer.pattern() == *pattern)
            || records.iter().any(|record| {
                record.standing() <= Standing::Degraded
                    && self.offered_by(record).any(|one| one == *pattern)
            })
    }

    /// What an agent offers of what is required.
    pub(super) fn offered_by(&self, record: &AgentRecord) -> impl Iterator<Item = Pattern> {
        let offered = record.capabilities.iter();
        let offered = offered.filter(|capability| self.requirement.matches(capability));
        offered.map(|capability| Pattern::of_offer(record.agent(), capability))
    }

    fn is_held(&self, pattern: &Pattern) -> Error {
        let text = format!(
            "`{}` is in quarantine: `{pattern}` keeps failing in the same way",
            self.requirement
        );
        let error = Error::new(ErrorKind::Unavailable, text);
        let quarantines = self.runtime.inner.quarantines.as_ref();
        match quarantines.and_then(|quarantines| quarantines.example(pattern)) {
            Some(failure) => error.with_source(failure),
            None => error,
        }
    }
}
