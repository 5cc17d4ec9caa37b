//! Who is there to own partitions, and who owns which.

use std::sync::Arc;

use super::Partition;

/// Says which coordinators there are and what each of them owns, as it was a moment ago.
///
/// It is for deciding who takes what and for people to read. It gives no right: that is what a
/// [`PartitionLease`](super::PartitionLease) does.
///
/// # Examples
///
/// ```
/// use coditect_dag::journal::{Partition, Roster};
///
/// let roster = Roster::new(["b", "a"], [Some("b"), None]);
/// assert_eq!(roster.members().collect::<Vec<_>>(), ["a", "b"]);
/// assert_eq!(roster.owner(Partition::new(0)), Some("b"));
/// assert_eq!(roster.count("a"), 0);
/// assert_eq!(roster.unowned().collect::<Vec<_>>(), [Partition::new(1)]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// In order, each once.
    members: Vec<Arc<str>>,
    owners: Vec<Option<Arc<str>>>,
}

impl Roster {
    /// Makes the roster of these members, and of these owners of the partitions from 0 on.
    pub fn new<M, O>(
        members: impl IntoIterator<Item = M>,
        owners: impl IntoIterator<Item = Option<O>>,
    ) -> Self
    where
        M: Into<Arc<str>>,
        O: Into<Arc<str>>,
    {
        let mut members: Vec<Arc<str>> = members.into_iter().map(Into::into).collect();
        members.sort_unstable();
        members.dedup();
        let owners = owners.into_iter().map(|owner| owner.map(Into::into));
        Self {
            members,
            owners: owners.collect(),
        }
    }

    /// Iterates over those who are there to own partitions, by name.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &str> {
        self.members.iter().map(|member| &**member)
    }

    /// Returns whether somebody of this name is there.
    #[must_use]
    pub fn contains(&self, member: &str) -> bool {
        let at = self.members.binary_search_by(|known| (**known).cmp(member));
        at.is_ok()
    }

    /// Returns under which name a partition is owned; `None` if nobody owns it.
    ///
    /// An owner need not be among the members: it may be about to leave, or not be there yet.
    #[must_use]
    pub fn owner(&self, partition: Partition) -> Option<&str> {
        self.owners.get(partition.index())?.as_deref()
    }

    /// Iterates over all partitions with their owners, in order.
    pub fn owners(&self) -> impl Iterator<Item = (Partition, Option<&str>)> {
        (0..)
            .map(Partition::new)
            .zip(self.owners.iter().map(Option::as_deref))
    }

    /// Iterates over the partitions that nobody owns, in order.
    pub fn unowned(&self) -> impl Iterator<Item = Partition> {
        let unowned = self.owners().filter(|(_, owner)| owner.is_none());
        unowned.map(|(partition, _)| partition)
    }

    /// Returns how many partitions are owned under a name.
    #[must_use]
    pub fn count(&self, owner: &str) -> usize {
        let owned = self
            .owners
            .iter()
            .filter(|known| known.as_deref() == Some(owner));
        owned.count()
    }
}
