//! Whose turn it is for a capability: tenants one after the other, and within a tenant its runs.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

/// How many priorities there are.
pub(super) const LEVELS: usize = 3;

/// Marks the place of a run in a queue; none is 0.
pub(super) type Ticket = u64;

/// Runs that wait, by priority, and tenants in turn.
///
/// Whoever has had a turn, or is new, goes behind all who wait: so between two turns of a tenant every other has one at most,
/// however many runs it has. A step costs O(log n) in the tenants and in the runs of one tenant, and of a tenant with
/// nothing here nothing is kept.
#[derive(Debug)]
pub(super) struct Turns<R> {
    tenants: FxHashMap<Arc<str>, Tenant<R>>,
    levels: [Level; LEVELS],
    /// How many tasks of one tenant may be outside at once.
    window: usize,
    /// How many tenants have tasks outside.
    outside: usize,
    /// How many runs wait, each as often as it has a ticket.
    waiting: usize,
    /// The last ticket that was given out.
    last: Ticket,
}

/// The tenants that wait at a priority, by their tickets, divided by how much they have outside, and whether they may have more at all.
type Level = [BTreeMap<Ticket, Arc<str>>; 4];

/// The line of those who may have no turn at all for now.
const BLOCKED: usize = 3;

/// Who may have a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Those with nothing outside.
    New,
    /// Those who may have more outside.
    Open,
    All,
}

#[derive(Debug)]
struct Tenant<R> {
    /// How many of its tasks are outside.
    outside: usize,
    /// It has no turns, whatever is outside.
    is_blocked: bool,
    queues: [Queue<R>; LEVELS],
}

/// The runs of a tenant at a priority.
#[derive(Debug)]
struct Queue<R> {
    /// The tenant's own ticket, as long as it has runs here.
    turn: Ticket,
    runs: BTreeMap<Ticket, R>,
}

/// The run whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Turn<R> {
    pub(super) tenant: Arc<str>,
    pub(super) run: R,
    level: usize,
    ticket: Ticket,
}

impl<R: Copy> Turns<R> {
    /// Begins with nobody; of each tenant, `window` tasks at most may be outside.
    pub(super) fn new(window: usize) -> Self {
        Self {
            tenants: FxHashMap::default(),
            levels: Default::default(),
            window,
            outside: 0,
            waiting: 0,
            last: 0,
        }
    }

    /// How many runs wait, each as often as it waits at a priority.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Says whether no run waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Says whether a run waits at a level.
    pub(super) fn has(&self, level: usize) -> bool {
        self.has_of(level, Who::All)
    }

    /// Says whether a run waits at a level, of one of these tenants.
    pub(super) fn has_of(&self, level: usize, who: Who) -> bool {
        let mut lines = self.levels[level][..who.lines()].iter();
        lines.any(|line| !line.is_empty())
    }

    /// Says whether tasks of several tenants are outside.
    pub(super) fn is_crowded(&self) -> bool {
        self.outside > 1
    }

    /// Puts a run behind those of its tenant, and its tenant, if it is new, behind all tenants.
    pub(super) fn push(&mut self, level: usize, tenant: &Arc<str>, run: R) -> Ticket {
        let ticket = self.ticket();
        let known = self.tenants.entry(Arc::clone(tenant)).or_default();
        let line = known.line(self.window);
        let queue = &mut known.queues[level];
        if queue.runs.is_empty() {
            queue.turn = ticket;
            self.levels[level][line].insert(ticket, Arc::clone(tenant));
        }
        queue.runs.insert(ticket, run);
        self.waiting += 1;
        ticket
    }

    /// Finds the run of a level whose turn it is, among these tenants.
    pub(super) fn next(&self, level: usize, who: Who) -> Option<Turn<R>> {
        let lines = self.levels[level][..who.lines()].iter();
        let first = lines.filter_map(BTreeMap::first_key_value);
        let (_, tenant) = first.min_by_key(|(turn, _)| **turn)?;
        let queue = &self.tenants.get(tenant)?.queues[level];
        let (ticket, run) = queue.runs.first_key_value()?;
        Some(Turn {
            tenant: Arc::clone(tenant),
            run: *run,
            level,
            ticket: *ticket,
        })
    }

    /// Ends a turn that was used; gives the run's new ticket if it `stays`.
    pub(super) fn pass(&mut self, turn: &Turn<R>, stays: bool) -> Option<Ticket> {
        let behind = self.ticket();
        let level = turn.level;
        let known = self.tenants.get_mut(&turn.tenant)?;
        let queue = &mut known.queues[level];
        queue.runs.remove(&turn.ticket)?;
        if stays {
            queue.runs.insert(behind, turn.run);
        } else {
            self.waiting -= 1;
        }
        let line = &mut self.levels[level][known.line(self.window)];
        let queue = &mut known.queues[level];
        let tenant = line.remove(&queue.turn)?;
        if !queue.runs.is_empty() {
            line.insert(behind, tenant);
        }
        queue.turn = behind;
        if queue.runs.is_empty() {
            self.forget_idle(&turn.tenant);
        }
        stays.then_some(behind)
    }

    /// Takes a run out whose turn was of no use; its tenant keeps its place.
    pub(super) fn discard(&mut self, turn: &Turn<R>) {
        self.remove(turn.level, &turn.tenant, turn.ticket);
    }

    /// Takes a run out, wherever it stands.
    pub(super) fn remove(&mut self, level: usize, tenant: &Arc<str>, ticket: Ticket) {
        let Some(known) = self.tenants.get_mut(tenant) else {
            return;
        };
        let queue = &mut known.queues[level];
        if queue.runs.remove(&ticket).is_none() {
            return;
        }
        self.waiting -= 1;
        if queue.runs.is_empty() {
            let turn = queue.turn;
            let line = known.line(self.window);
            self.levels[level][line].remove(&turn);
            self.forget_idle(tenant);
        }
    }

    /// A task of a tenant goes outside.
    pub(super) fn departed(&mut self, tenant: &Arc<str>) {
        let known = self.tenants.entry(Arc::clone(tenant)).or_default();
        let from = known.line(self.window);
        self.outside += usize::from(known.outside == 0);
        known.outside += 1;
        known.change_line(from, self.window, &mut self.levels);
    }

    /// A task of a tenant is outside no longer.
    pub(super) fn landed(&mut self, tenant: &Arc<str>) {
        let Some(known) = self.tenants.get_mut(tenant) else {
            return;
        };
        let from = known.line(self.window);
        self.outside -= usize::from(known.outside == 1);
        known.outside = known.outside.saturating_sub(1);
        known.change_line(from, self.window, &mut self.levels);
        if known.outside == 0 {
            self.forget_idle(tenant);
        }
    }

    /// A tenant has no turns until it is let again; it keeps its places.
    pub(super) fn block(&mut self, tenant: &Arc<str>) {
        self.set_blocked(tenant, true);
    }

    /// A tenant has its turns again.
    pub(super) fn unblock(&mut self, tenant: &Arc<str>) {
        self.set_blocked(tenant, false);
    }

    fn set_blocked(&mut self, tenant: &Arc<str>, is_blocked: bool) {
        if let Some(known) = self.tenants.get_mut(tenant) {
            let from = known.line(self.window);
            known.is_blocked = is_blocked;
            known.change_line(from, self.window, &mut self.levels);
        }
    }

    /// The runs of all tenants who are not blocked, and of those blocked ones, among the first `most`, whom `counts` names; each
    /// run as often as it waits.
    pub(super) fn runs<'a>(
        &'a self,
        most: usize,
        counts: impl Fn(&Arc<str>) -> bool + 'a,
    ) -> impl Iterator<Item = &'a R> {
        let of_levels = |from: usize, to: usize| {
            let levels = self.levels.iter().enumerate();
            levels.flat_map(move |(level, lines)| {
                let tenants = lines[from..to].iter().flat_map(BTreeMap::values);
                tenants.map(move |tenant| (level, tenant))
            })
        };
        let open = of_levels(0, BLOCKED);
        let blocked = of_levels(BLOCKED, BLOCKED + 1).take(most);
        open.chain(blocked.filter(move |(_, tenant)| counts(tenant)))
            .filter_map(|(level, tenant)| Some(&self.tenants.get(tenant)?.queues[level]))
            .flat_map(|queue| queue.runs.values())
    }

    /// The runs of a tenant, each as often as it waits.
    pub(super) fn runs_of(&self, tenant: &Arc<str>) -> impl Iterator<Item = &R> {
        let known = self.tenants.get(tenant).into_iter();
        let queues = known.flat_map(|known| &known.queues);
        queues.flat_map(|queue| queue.runs.values())
    }

    fn ticket(&mut self) -> Ticket {
        self.last += 1;
        self.last
    }

    fn forget_idle(&mut self, tenant: &Arc<str>) {
        let is_idle = |known: &Tenant<R>| known.outside == 0 && !known.waits();
        if self.tenants.get(tenant).is_some_and(is_idle) {
            self.tenants.remove(tenant);
        }
    }
}

impl Who {
    fn lines(self) -> usize {
        match self {
            Self::New => 1,
            Self::Open => 2,
            Self::All => 3,
        }
    }
}

impl<R> Tenant<R> {
    /// The line in which it stands.
    fn line(&self, window: usize) -> usize {
        match self.outside {
            _ if self.is_blocked => BLOCKED,
            0 => 0,
            some if some < window => 1,
            _ => 2,
        }
    }

    /// Stands where it belongs, with its tickets, and no longer where it stood.
    fn change_line(&self, from: usize, window: usize, levels: &mut [Level; LEVELS]) {
        let to = self.line(window);
        if from == to {
            return;
        }
        for (level, queue) in levels.iter_mut().zip(&self.queues) {
            if let Some(tenant) = level[from].remove(&queue.turn) {
                level[to].insert(queue.turn, tenant);
            }
        }
    }

    fn waits(&self) -> bool {
        self.queues.iter().any(|queue| !queue.runs.is_empty())
    }
}

impl<R> Default for Tenant<R> {
    fn default() -> Self {
        Self {
            outside: 0,
            is_blocked: false,
            queues: std::array::from_fn(|_| Queue {
                turn: 0,
                runs: BTreeMap::new(),
            }),
        }
    }
}
