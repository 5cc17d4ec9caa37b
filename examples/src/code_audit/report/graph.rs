//! The run's graph, aggregated until it can be read: thousands of tasks become a few dozen boxes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::figure::counted;
use crate::code_audit::language::Language;
use crate::code_audit::run::{NodeKind, NodeState, RunNode};

/// Up to this many tasks are drawn one by one.
const MAX_SINGLE: usize = 30;
/// Boxes of one column, as near as the number of packages allows; what does not fit is put together.
const MAX_COLUMN: usize = 24;

/// One box of the picture: a task, or all tasks of a kind, package and language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) label: String,
    pub(super) kind: NodeKind,
    pub(super) language: Option<Language>,
    /// The tasks in it, by how they ended.
    pub(super) states: BTreeMap<NodeState, u64>,
    /// The agents' time on all of them.
    pub(super) duration_us: u64,
    /// The boxes it waits for, by index.
    pub(super) upstream: BTreeSet<usize>,
    /// The column it stands in: one more than the furthest box it waits for.
    pub(super) layer: usize,
}

impl Group {
    pub(super) fn tasks(&self) -> u64 {
        self.states.values().sum()
    }

    /// The state that colours the box: anything but success shows.
    pub(super) fn state(&self) -> NodeState {
        let shown = [NodeState::Failed, NodeState::Cancelled, NodeState::Skipped];
        let found = shown
            .into_iter()
            .find(|state| self.states.contains_key(state));
        found.unwrap_or(NodeState::Succeeded)
    }
}

/// What the tasks of one box have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    kind: NodeKind,
    /// The place of the package among the largest, or what the others share.
    package: usize,
    language: Option<Language>,
    /// Tells tasks apart where each has a box of its own.
    single: usize,
}

/// Groups `nodes` into boxes, in an order that keeps packages together.
pub(super) fn aggregate(nodes: &[RunNode]) -> Vec<Group> {
    let packages = Packages::of(nodes);
    let is_single = nodes.len() <= MAX_SINGLE;
    let keys: Vec<_> = nodes
        .iter()
        .enumerate()
        .map(|(index, node)| Key {
            kind: node.kind,
            package: packages.place(node),
            language: node.language,
            single: if is_single { index } else { 0 },
        })
        .collect();
    let ordered: BTreeSet<&Key> = keys.iter().collect();
    let index_of: HashMap<&Key, usize> = ordered
        .iter()
        .enumerate()
        .map(|(index, key)| (*key, index))
        .collect();
    let mut groups: Vec<Option<Group>> = vec![None; ordered.len()];
    for (node, key) in nodes.iter().zip(&keys) {
        let own = index_of[key];
        let group = groups[own].get_or_insert_with(|| Group {
            label: if is_single {
                node.label.clone()
            } else {
                packages.label(node)
            },
            kind: node.kind,
            language: node.language,
            states: BTreeMap::new(),
            duration_us: 0,
            upstream: BTreeSet::new(),
            layer: 0,
        });
        *group.states.entry(node.state).or_default() += 1;
        group.duration_us += node.duration_us;
        let upstream = node.upstream.iter().filter_map(|index| keys.get(*index));
        group.upstream.extend(
            upstream
                .map(|key| index_of[key])
                .filter(|index| *index != own),
        );
    }
    let mut groups: Vec<_> = groups.into_iter().flatten().collect();
    layer(&mut groups);
    groups
}

/// Gives every box its column; ends even if what it is given has a circle.
fn layer(groups: &mut [Group]) {
    for _ in 0..groups.len() {
        let mut has_moved = false;
        for index in 0..groups.len() {
            let upstream = groups[index]
                .upstream
                .iter()
                .map(|above| groups[*above].layer + 1);
            let layer = upstream.max().unwrap_or(0).min(groups.len());
            has_moved |= layer != groups[index].layer;
            groups[index].layer = layer;
        }
        if !has_moved {
            return;
        }
    }
}

/// The packages of a run, the one with the most tasks first.
struct Packages<'a> {
    places: HashMap<&'a str, usize>,
    /// How many of them get boxes of their own; the others share some.
    own: usize,
}

impl<'a> Packages<'a> {
    fn of(nodes: &'a [RunNode]) -> Self {
        // By package: its tasks, and the boxes that it would take in the column of the analyses.
        let mut packages: BTreeMap<&str, (usize, BTreeSet<Language>)> = BTreeMap::new();
        for node in nodes {
            if let Some(package) = node.package.as_deref() {
                let (tasks, languages) = packages.entry(package).or_default();
                *tasks += 1;
                languages.extend(node.language);
            }
        }
        let mut packages: Vec<_> = packages.into_iter().collect();
        packages.sort_by_key(|(_, (tasks, _))| Reverse(*tasks));
        let all = BTreeSet::from_iter(packages.iter().flat_map(|(_, (_, languages))| languages));
        let mut free = MAX_COLUMN.saturating_sub(all.len());
        let fits = packages.iter().take_while(|(_, (_, languages))| {
            let boxes = languages.len().max(1);
            let fits = boxes <= free;
            free = free.saturating_sub(boxes);
            fits
        });
        let own = fits.count();
        let places = packages.iter().enumerate();
        Self {
            own,
            places: places
                .map(|(place, (package, _))| (*package, place))
                .collect(),
        }
    }

    fn place(&self, node: &RunNode) -> usize {
        let package = node.package.as_deref();
        package
            .and_then(|package| self.places.get(package))
            .map_or(0, |place| (*place).min(self.own))
    }

    fn label(&self, node: &RunNode) -> String {
        let others = (self.places.len() - self.own.min(self.places.len())) as u64;
        match &node.package {
            None => node.label.clone(),
            Some(_) if self.place(node) == self.own => counted(others, "other package"),
            Some(package) => package.clone(),
        }
    }
}
