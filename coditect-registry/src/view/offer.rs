//! Who offers one capability: those who serve all, and those of each tenant.

use std::collections::HashMap;

use super::pool::Pool;
use crate::{CapabilityName, TenantId};

#[derive(Debug)]
pub(super) struct Offer {
    shared: Pool,
    tenants: HashMap<TenantId, Pool>,
}

impl Offer {
    pub(super) fn new(name: CapabilityName) -> Self {
        Self {
            shared: Pool::new(name),
            tenants: HashMap::new(),
        }
    }

    /// Returns where those of a tenant stand, made if it is not there.
    pub(super) fn pool_of(
        &mut self,
        tenant: Option<&TenantId>,
        name: &CapabilityName,
    ) -> &mut Pool {
        match tenant {
            Some(tenant) => self
                .tenants
                .entry(tenant.clone())
                .or_insert_with(|| Pool::new(name.clone())),
            None => &mut self.shared,
        }
    }

    pub(super) fn existing_pool_of(&mut self, tenant: Option<&TenantId>) -> Option<&mut Pool> {
        match tenant {
            Some(tenant) => self.tenants.get_mut(tenant),
            None => Some(&mut self.shared),
        }
    }

    /// Forgets the pool of a tenant if nobody stands there any more; `true` if nobody stands anywhere.
    pub(super) fn is_empty_after_leaving(&mut self, tenant: Option<&TenantId>) -> bool {
        if let Some(tenant) = tenant
            && self.tenants.get(tenant).is_some_and(Pool::is_empty)
        {
            self.tenants.remove(tenant);
        }
        self.shared.is_empty() && self.tenants.is_empty()
    }

    /// Whom a task may go to, in order of preference.
    pub(super) fn pools_for(&self, tenant: Option<&TenantId>) -> impl Iterator<Item = &Pool> {
        tenant
            .and_then(|tenant| self.tenants.get(tenant))
            .into_iter()
            .chain([&self.shared])
    }

    pub(super) fn pools_for_mut(
        &mut self,
        tenant: Option<&TenantId>,
    ) -> impl Iterator<Item = &mut Pool> {
        tenant
            .and_then(|tenant| self.tenants.get_mut(tenant))
            .into_iter()
            .chain([&mut self.shared])
    }
}
