//! Where things lie in the store.
//!
//! A key is the journal's prefix, one letter, and fixed-width numbers in network order, so that ranges follow runs,
//! positions and time.
//!
//! | letter | then | value |
//! |---|---|---|
//! | `f` | | the format and the number of partitions |
//! | `r` | run | the submission, which never changes |
//! | `h` | run | the head: how far the run has come |
//! | `l` | run, position of the first | some records that were appended together |
//! | `o` | run, task | where the output of a task is |
//! | `b` | run, hash, part | content that is too large to lie in a record |
//! | `s` | run | the latest snapshot |
//! | `y` | run, position, part | what it says |
//! | `x` | run | how many records are no longer kept |
//! | `k` | tenant and key | the run of an idempotency key |
//! | `n` | partition, stamp | an entry of the inbox |
//! | `m` | partition | changes with every arrival in the inbox |
//! | `w` | partition | who owns it, under which token |
//! | `e` | partition | until when |
//! | `g` | partition | how many appends it has had |
//! | `v` | member | until when it is there to own partitions |
//! | `c` | | changes when a member comes or leaves, and when a partition is claimed or given back |
//! | `p` | partition, run | nothing: the run is open and was taken in |
//! | `q` | partition, time, run | nothing: the run settled then |
//! | `d` | partition, run | since when content of a run lies here that has no `r` |
//! | `i` | state, run | nothing: the run is in that state |
//! | `t` | tenant, run | nothing |
//! | `a` | label, run | nothing |

use bytes::Bytes;
use coditect_state::{CommitVersion, Range, Stamped, Versionstamp, key};
use uuid::Uuid;

use crate::journal::{Partition, RunState, Seq};
use crate::{RunId, TaskId};

/// Is the hash of some content, cut to its first 16 bytes.
pub(super) type Hash = [u8; 16];

/// Makes the keys of one journal.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: Bytes,
}

impl Keys {
    pub(super) const fn new(prefix: Bytes) -> Self {
        Self { prefix }
    }

    fn key(&self, letter: u8, parts: &[&[u8]]) -> Bytes {
        let rest: usize = parts.iter().map(|part| part.len()).sum();
        let mut bytes = Vec::with_capacity(self.prefix.len() + 1 + rest);
        bytes.extend_from_slice(&self.prefix);
        bytes.push(letter);
        for part in parts {
            bytes.extend_from_slice(part);
        }
        bytes.into()
    }

    pub(super) fn format(&self) -> Bytes {
        self.key(b'f', &[])
    }

    pub(super) fn submission(&self, run: RunId) -> Bytes {
        self.key(b'r', &[&id(run)])
    }

    pub(super) fn head(&self, run: RunId) -> Bytes {
        self.key(b'h', &[&id(run)])
    }

    pub(super) fn heads(&self) -> Bytes {
        self.key(b'h', &[])
    }

    pub(super) fn chunk(&self, run: RunId, first: Seq) -> Bytes {
        self.key(b'l', &[&id(run), &first.get().to_be_bytes()])
    }

    /// Returns the range of the chunks whose first record lies in `from..=upto`.
    pub(super) fn chunks(&self, run: RunId, from: Seq, upto: Seq) -> Range {
        Range::new(self.chunk(run, from), self.chunk(run, upto.next()))
    }

    pub(super) fn output(&self, run: RunId, task: TaskId) -> Bytes {
        self.key(b'o', &[&id(run), &task.get().to_be_bytes()])
    }

    pub(super) fn blob(&self, run: RunId, hash: &Hash, part: u32) -> Bytes {
        self.key(b'b', &[&id(run), hash, &part.to_be_bytes()])
    }

    pub(super) fn blob_parts(&self, run: RunId, hash: &Hash) -> Range {
        Range::prefix(&self.key(b'b', &[&id(run), hash]))
    }

    pub(super) fn snapshot(&self, run: RunId) -> Bytes {
        self.key(b's', &[&id(run)])
    }

    pub(super) fn snapshot_part(&self, run: RunId, upto: Seq, copy: &Uuid, part: u32) -> Bytes {
        let upto = upto.get().to_be_bytes();
        self.key(
            b'y',
            &[&id(run), &upto, copy.as_bytes(), &part.to_be_bytes()],
        )
    }

    pub(super) fn snapshot_parts(&self, run: RunId, upto: Seq, copy: &Uuid) -> Range {
        let upto = upto.get().to_be_bytes();
        Range::prefix(&self.key(b'y', &[&id(run), &upto, copy.as_bytes()]))
    }

    pub(super) fn trimmed(&self, run: RunId) -> Bytes {
        self.key(b'x', &[&id(run)])
    }

    /// Returns the ranges of a run that may hold very many keys.
    pub(super) fn contents(&self, run: RunId) -> [Range; 4] {
        [b'l', b'o', b'b', b'y'].map(|letter| Range::prefix(&self.key(letter, &[&id(run)])))
    }

    pub(super) fn idempotency(&self, tenant: &str, name: &str) -> Bytes {
        self.key(b'k', &[&key::pack(&(tenant, name))])
    }

    pub(super) fn new_entry(&self, partition: Partition) -> Stamped {
        Stamped::new(self.entries_of(partition), 0, Bytes::new())
    }

    fn entries_of(&self, partition: Partition) -> Bytes {
        self.key(b'n', &[&partition.get().to_be_bytes()])
    }

    /// Returns the key of the inbox entry at a position, which is the version of the commit that brought it.
    pub(super) fn entry(&self, partition: Partition, seq: Seq) -> Bytes {
        let version = CommitVersion::new(seq.get() >> 16, (seq.get() & 0xffff) as u16);
        let stamp = Versionstamp::new(version, 0);
        self.key(b'n', &[&partition.get().to_be_bytes(), stamp.as_bytes()])
    }

    /// Returns the position of an inbox entry, or `None` if its key is no such key.
    pub(super) fn entry_seq(&self, key: &[u8]) -> Option<Seq> {
        let stamp = key.get(self.prefix.len() + 3..)?;
        let version = Versionstamp::from_bytes(stamp.try_into().ok()?).version();
        let batch = version.batch().checked_mul(1 << 16)?;
        Some(Seq::new(batch | u64::from(version.order())))
    }

    pub(super) fn entries_after(&self, partition: Partition, after: Seq) -> Range {
        let end = Range::prefix(&self.entries_of(partition)).end().clone();
        Range::new(self.entry(partition, after.next()), end)
    }

    pub(super) fn arrivals(&self, partition: Partition) -> Bytes {
        self.key(b'm', &[&partition.get().to_be_bytes()])
    }

    pub(super) fn owner(&self, partition: Partition) -> Bytes {
        self.key(b'w', &[&partition.get().to_be_bytes()])
    }

    pub(super) fn expiry(&self, partition: Partition) -> Bytes {
        self.key(b'e', &[&partition.get().to_be_bytes()])
    }

    pub(super) fn owners(&self) -> Range {
        Range::prefix(&self.key(b'w', &[]))
    }

    pub(super) fn expiries(&self) -> Range {
        Range::prefix(&self.key(b'e', &[]))
    }

    /// Returns the partition that a key ends with.
    pub(super) fn partition_at(key: &[u8]) -> Option<Partition> {
        let bytes = key.last_chunk::<2>()?;
        Some(Partition::new(u16::from_be_bytes(*bytes)))
    }

    pub(super) fn member(&self, name: &str) -> Bytes {
        self.key(b'v', &[name.as_bytes()])
    }

    pub(super) fn members(&self) -> Range {
        Range::prefix(&self.key(b'v', &[]))
    }

    /// Returns the name in a key of [`members`](Self::members).
    pub(super) fn member_at<'a>(&self, key: &'a [u8]) -> Option<&'a str> {
        std::str::from_utf8(key.get(self.prefix.len() + 1..)?).ok()
    }

    pub(super) fn roster(&self) -> Bytes {
        self.key(b'c', &[])
    }

    pub(super) fn counter(&self, partition: Partition) -> Bytes {
        self.key(b'g', &[&partition.get().to_be_bytes()])
    }

    pub(super) fn open(&self, partition: Partition, run: RunId) -> Bytes {
        self.key(b'p', &[&partition.get().to_be_bytes(), &id(run)])
    }

    pub(super) fn all_open(&self, partition: Partition) -> Range {
        Range::prefix(&self.key(b'p', &[&partition.get().to_be_bytes()]))
    }

    pub(super) fn settled(&self, partition: Partition, at: u64, run: RunId) -> Bytes {
        let partition = partition.get().to_be_bytes();
        self.key(b'q', &[&partition, &at.to_be_bytes(), &id(run)])
    }

    pub(super) fn all_settled(&self, partition: Partition) -> Range {
        Range::prefix(&self.key(b'q', &[&partition.get().to_be_bytes()]))
    }

    /// Returns when a run settled, from its key in [`all_settled`](Self::all_settled).
    pub(super) fn settled_at(&self, key: &[u8]) -> Option<u64> {
        let at = self.prefix.len() + 3;
        let bytes = key.get(at..at + 8)?.try_into().ok()?;
        Some(u64::from_be_bytes(bytes))
    }

    pub(super) fn doomed(&self, partition: Partition, run: RunId) -> Bytes {
        self.key(b'd', &[&partition.get().to_be_bytes(), &id(run)])
    }

    pub(super) fn all_doomed(&self, partition: Partition) -> Range {
        Range::prefix(&self.key(b'd', &[&partition.get().to_be_bytes()]))
    }

    /// Returns the start of the keys of all runs in a state.
    pub(super) fn in_state(&self, state: RunState) -> Bytes {
        let state = match state {
            RunState::Submitted => 0,
            RunState::Running => 1,
            RunState::Succeeded => 2,
            RunState::Failed => 3,
            RunState::Cancelled => 4,
            RunState::Paused => 5,
            RunState::Scheduled => 6,
        };
        self.key(b'i', &[&[state]])
    }

    pub(super) fn of_tenant(&self, tenant: &str) -> Bytes {
        self.key(b't', &[&key::pack(&(tenant,))])
    }

    pub(super) fn with_label(&self, name: &str, value: &str) -> Bytes {
        self.key(b'a', &[&key::pack(&(name, value))])
    }
}

/// Returns the key of a run in an index.
pub(super) fn entry_of(index: &Bytes, run: RunId) -> Bytes {
    [&**index, &id(run)].concat().into()
}

/// Returns the run that a key of an index ends with.
pub(super) fn run_of(key: &[u8]) -> Option<RunId> {
    let bytes = key.last_chunk::<16>()?;
    Some(RunId::from_uuid(Uuid::from_bytes(*bytes)))
}

fn id(run: RunId) -> [u8; 16] {
    *run.as_uuid().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_in_an_inbox_survive_their_keys() {
        let keys = Keys::new(Bytes::from_static(b"p"));
        let partition = Partition::new(7);
        for seq in [1, 0xffff, 0x1_0000, u64::MAX].map(Seq::new) {
            let key = keys.entry(partition, seq);
            assert_eq!(keys.entry_seq(&key), Some(seq));
            let range = keys.entries_after(partition, Seq::ZERO);
            assert!(*range.begin() <= key && key < *range.end());
        }
        let huge = CommitVersion::new(1 << 48, 0);
        let key = [&b"pn\0\x07"[..], Versionstamp::new(huge, 0).as_bytes()].concat();
        assert_eq!(keys.entry_seq(&key), None);
    }

    #[test]
    fn chunks_lie_in_order_and_apart_by_run() {
        let keys = Keys::new(Bytes::new());
        let (one, two) = (RunId::new(), RunId::new());
        let range = keys.chunks(one, Seq::new(1), Seq::new(u64::MAX - 1));
        assert!(keys.chunk(one, Seq::new(9)) < keys.chunk(one, Seq::new(10)));
        assert!(keys.chunk(one, Seq::new(1)) >= *range.begin());
        assert!(
            !(*range.begin() <= keys.chunk(two, Seq::new(1))
                && keys.chunk(two, Seq::new(1)) < *range.end())
        );
        assert_eq!(run_of(&keys.settled(Partition::new(1), 5, two)), Some(two));
        assert_eq!(
            keys.settled_at(&keys.settled(Partition::new(1), 5, two)),
            Some(5)
        );
    }
}
