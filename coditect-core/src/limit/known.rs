//! The limits that this process knows of: read at its start, and again whenever somebody changes one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use coditect_state::StateStore;
use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;
use tokio::sync::Notify;

use super::kept::{self, Kept};
use super::{Group, Limit, LimitOn};
use crate::error::Error;

/// How often the store is asked, should it not tell of a change.
const PERIOD: Duration = Duration::from_secs(15);
/// How long it is left alone when it could not be asked.
const AGAIN: Duration = Duration::from_secs(1);

/// The limits, and who is woken when they change.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    known: RwLock<Arc<Known>>,
    /// Which of all that were known in turn.
    generation: AtomicU64,
    owners: Mutex<Vec<Weak<Notify>>>,
}

/// All limits at one moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    own: FxHashMap<Group, u32>,
    each_tenant: Option<u32>,
}

impl Limits {
    /// Which of all limits that were known in turn these are.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Returns all, and which generation they are.
    pub(crate) fn known(&self) -> (Arc<Known>, u64) {
        let known = self.known.read();
        (Arc::clone(&known), self.generation())
    }

    /// Says whether tasks of a capability and tenant are limited, as far as is known.
    pub(crate) fn include(&self, capability: &str, tenant: &str) -> bool {
        self.generation() > 0 && {
            let known = self.known.read();
            known.include(capability, tenant)
        }
    }

    /// Has an owner woken when there are others.
    pub(crate) fn register(&self, wake: &Arc<Notify>) {
        let mut owners = self.owners.lock();
        owners.retain(|owner| owner.strong_count() > 0);
        owners.push(Arc::downgrade(wake));
    }

    /// Writes down with what limits this process was started, if it is to, and reads all there are.
    pub(crate) async fn load(
        &self,
        store: &Arc<dyn StateStore>,
        offered: &[Limit],
    ) -> Result<(), Error> {
        kept::offer(store, offered).await?;
        self.read(&**store).await?;
        Ok(())
    }

    /// Reads them anew.
    pub(crate) async fn read(&self, store: &dyn StateStore) -> Result<(), coditect_state::Error> {
        let limits = kept::read(store).await?;
        self.take(&limits);
        Ok(())
    }

    /// Reads them whenever they have changed, until it is dropped.
    pub(crate) async fn follow(&self, store: Arc<dyn StateStore>) {
        let mut watch = None;
        loop {
            // Watched first: what changes after the look is told.
            if watch.is_none() {
                watch = kept::watch(&*store).await.ok();
            }
            let read = self.read(&*store).await;
            if let Err(error) = &read {
                let error = error as &dyn std::error::Error;
                tracing::debug!(error, "limits could not be read; trying again");
            }
            let (Some(watched), Ok(())) = (&mut watch, read) else {
                tokio::time::sleep(AGAIN).await;
                continue;
            };
            if let Ok(Err(_)) = tokio::time::timeout(PERIOD, watched.changed()).await {
                watch = None;
            }
        }
    }

    fn take(&self, limits: &BTreeMap<LimitOn, Kept>) {
        let new = Known::of(limits);
        let mut known = self.known.write();
        if **known == new {
            return;
        }
        *known = Arc::new(new);
        self.generation.fetch_add(1, Ordering::AcqRel);
        drop(known);
        for owner in self.owners.lock().iter().filter_map(Weak::upgrade) {
            owner.notify_one();
        }
    }
}

impl Known {
    pub(crate) fn of(limits: &BTreeMap<LimitOn, Kept>) -> Self {
        let mut known = Self::default();
        for (on, kept) in limits {
            let group = match on {
                LimitOn::Capability(name) => Group::Capability(name.as_str().into()),
                LimitOn::Tenant(name) => Group::Tenant(name.as_str().into()),
                LimitOn::EachTenant => {
                    known.each_tenant = Some(kept.max);
                    continue;
                }
            };
            known.own.insert(group, kept.max);
        }
        known
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.own.is_empty() && self.each_tenant.is_none()
    }

    /// How many may be open of a group; none where it is not limited.
    pub(crate) fn limit(&self, group: &Group) -> Option<u32> {
        let own = self.own.get(group).copied();
        own.or(match group {
            Group::Tenant(_) => self.each_tenant,
            Group::Capability(_) => None,
        })
    }

    fn include(&self, capability: &str, tenant: &str) -> bool {
        self.each_tenant.is_some()
            || self.limit(&Group::Capability(capability.into())).is_some()
            || self.limit(&Group::Tenant(tenant.into())).is_some()
    }
}
