//! Who plays which role, and until when; time is handed in.

use std::collections::HashMap;

use tokio::time::Instant;

use crate::{FencingToken, Incarnation, Role};

/// The roles that are played, or were.
#[derive(Debug, Default)]
pub(super) struct Roles(HashMap<Role, Term>);

#[derive(Debug)]
struct Term {
    holder: Incarnation,
    token: FencingToken,
    ends: Instant,
}

impl Roles {
    /// Answers a candidate, whose term lasts until `ends` if it has one; `None` if the role is free.
    pub(super) fn ask(
        &mut self,
        role: &Role,
        candidate: Incarnation,
        ends: Instant,
        now: Instant,
    ) -> Option<Option<FencingToken>> {
        let term = self.0.get_mut(role).filter(|term| term.ends > now)?;
        if term.holder != candidate {
            return Some(None);
        }
        term.ends = ends;
        Some(Some(term.token))
    }

    /// Begins a term.
    pub(super) fn begin(
        &mut self,
        role: &Role,
        holder: Incarnation,
        token: FencingToken,
        ends: Instant,
    ) {
        let term = Term {
            holder,
            token,
            ends,
        };
        self.0.insert(role.clone(), term);
    }

    /// Ends the term of a holder.
    pub(super) fn resign(&mut self, role: &Role, candidate: Incarnation) {
        if self
            .0
            .get(role)
            .is_some_and(|term| term.holder == candidate)
        {
            self.0.remove(role);
        }
    }
}
