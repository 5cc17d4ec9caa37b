//! The thread that owns the file for writing: it commits in groups, and mends what a failure has left.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error, warn};

use super::Core;
use super::conflicts::{Changes, Conflicts};
use super::error::Fault;
use super::file::{Last, Opening};
use super::group::{self, Outcome, Pending, Unwritten};
use crate::error::{Error, ErrorKind, Result};

/// How many transactions one commit of the file takes at most; fewer than there are orders in a batch.
const GROUP: usize = 4_096;

/// How many bytes of writes, from which on no further transaction joins a commit.
const GROUP_BYTES: usize = 8 << 20;

/// How long after a failure was told of the next one is.
const QUIET: Duration = Duration::from_secs(10);

/// Is what the thread is asked to do.
#[derive(Debug)]
pub(super) enum Request {
    Commit(Pending),
    /// Open the file again if it is not.
    Reopen(oneshot::Sender<Result<()>>),
    Check(oneshot::Sender<Result<()>>),
    Compact(oneshot::Sender<Result<u64>>),
    Close(oneshot::Sender<Result<()>>),
}

/// Is the thread's own.
pub(super) struct Committer {
    core: Arc<Core>,
    opening: Opening,
    conflicts: Conflicts,
    last: Last,
    /// Until when failures are not told of again.
    quiet_until: Option<SystemTime>,
}

impl Committer {
    pub(super) fn new(core: Arc<Core>, opening: Opening, last: Last, history: usize) -> Self {
        Self {
            core,
            opening,
            conflicts: Conflicts::new(history, last.version),
            last,
            quiet_until: None,
        }
    }

    /// Serves requests until nobody can make any more, and closes the file.
    pub(super) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        while let Some(request) = requests.blocking_recv() {
            // What panics drops the senders of its answers, so that nobody waits for ever.
            let serve = AssertUnwindSafe(|| self.serve(request, &mut requests));
            if let Err(panic) = catch_unwind(serve) {
                error!(path = %self.opening.path.display(), panic = text(&*panic), "the storage engine panicked");
                self.shut();
            }
        }
        if let Err(fault) = self.close() {
            warn!(%fault, "the store's file was not closed in order, and is repaired when it is next opened");
        }
    }

    fn serve(&mut self, request: Request, requests: &mut mpsc::Receiver<Request>) {
        let mut next = Some(request);
        while let Some(request) = next.take() {
            match request {
                Request::Commit(first) => {
                    let (mut group, mut bytes) = (Vec::new(), first.draft.writes.size);
                    group.push(first);
                    while group.len() < GROUP && bytes < GROUP_BYTES {
                        match requests.try_recv() {
                            Ok(Request::Commit(pending)) => {
                                bytes += pending.draft.writes.size;
                                group.push(pending);
                            }
                            Ok(other) => {
                                next = Some(other);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    self.commit(group);
                }
                Request::Reopen(reply) => {
                    let result = self.reopen().map_err(|fault| fault.during("opening again"));
                    drop(reply.send(result));
                }
                Request::Check(reply) => drop(reply.send(self.check())),
                Request::Compact(reply) => drop(reply.send(self.compact())),
                Request::Close(reply) => {
                    let result = self.close().map_err(|fault| fault.during("closing"));
                    drop(reply.send(result));
                }
            }
        }
    }

    fn commit(&mut self, group: Vec<Pending>) {
        if let Err(fault) = self.reopen() {
            return refuse(group, &fault);
        }
        let database = self.core.database.read();
        let Some(open) = database.as_ref() else {
            return refuse(group, &Fault::Failed);
        };
        let now = self.core.clock.now();
        self.opening.progress.begin();
        let written = match group::write(open, &self.conflicts, self.last, now, group) {
            Ok(Some(written)) => written,
            Ok(None) => return,
            Err(Unwritten { group, fault }) => {
                drop(database);
                self.failed(&fault);
                return refuse(group, &fault);
            }
        };
        self.opening.progress.begin();
        let (outcome, result) = written.commit();
        drop(database);
        match result {
            Ok(()) => self.committed(outcome),
            Err(fault) => {
                let unclear = self.opening.progress.may_have_happened();
                self.failed(&fault);
                if unclear {
                    self.resolve(outcome, &fault);
                } else {
                    let group = outcome.accepted.into_iter().map(|(pending, _)| pending);
                    refuse(group.collect(), &fault);
                }
            }
        }
    }

    /// Makes a commit known, then answers those who wait for it.
    fn committed(&mut self, outcome: Outcome) {
        self.last = outcome.last;
        let accepted = outcome.accepted.iter();
        for ((_, version), changes) in accepted.zip(&outcome.changes) {
            self.conflicts.note(*version, changes);
        }
        let floor = self.conflicts.bound();
        let oldest = self.core.snapshots.publish(self.last.version, floor);
        // Only now, since who is told reads at once.
        self.notify(&outcome.changes);
        self.conflicts.forget_until(oldest);
        debug_assert!(self.conflicts.floor() <= self.last.version);
        for (pending, version) in outcome.accepted {
            pending.answer(Ok(version));
        }
    }

    fn notify(&self, changed: &[Changes]) {
        let mut watches = self.core.watches.lock();
        if watches.is_empty() {
            return;
        }
        for changes in changed {
            for key in &changes.keys {
                watches.notify(key);
            }
            for (begin, end) in &changes.ranges {
                watches.notify_all(|key| begin <= key && key < end);
            }
        }
    }

    /// Finds out what became of a commit that failed on its last steps, by what the file says.
    fn resolve(&mut self, outcome: Outcome, fault: &Fault) {
        let reopened = self.reopen();
        if reopened.is_err() {
            let error = || {
                let text = "commit failed on its last steps, and the file cannot be opened to look";
                Error::new(ErrorKind::OutcomeUnknown, text).with_source(fault.clone())
            };
            for (pending, _) in outcome.accepted {
                pending.answer(Err(error()));
            }
            return;
        }
        if self.last.version == outcome.last.version {
            // Opening has written and synced the header anew, so what it says is durable.
            return self.committed(outcome);
        }
        let group = outcome.accepted.into_iter().map(|(pending, _)| pending);
        refuse(group.collect(), fault);
    }

    fn failed(&mut self, fault: &Fault) {
        let path = self.opening.path.display();
        let cause = std::error::Error::source(fault);
        let now = self.core.clock.now();
        // A full disk fails several a second.
        if self.quiet_until.is_some_and(|until| now < until) {
            debug!(%path, %fault, cause, "a commit failed again");
        } else {
            self.quiet_until = Some(now + QUIET);
            error!(%path, %fault, cause, "a commit failed, nothing of it has happened unless said otherwise");
        }
        self.shut();
    }

    /// Lets go of the file as it is; the engine refuses to go on after a failure.
    fn shut(&mut self) {
        self.core.snapshots.clear();
        let database = self.core.database.write().take();
        drop(database);
    }

    /// Opens the file if it is not open, mending what a failure has left.
    fn reopen(&mut self) -> std::result::Result<(), Fault> {
        if self.core.closed.load(Ordering::SeqCst) {
            return Err(Fault::Closed);
        }
        if self.core.database.read().is_some() {
            return Ok(());
        }
        let (database, last) = self.opening.open()?;
        if last.version < self.last.version {
            let text = "the file has fallen back behind a commit that was answered";
            return Err(Fault::Damaged(text.into()));
        }
        debug!(path = %self.opening.path.display(), version = %last.version, "the store's file is open again");
        self.last = last;
        // What was read before cannot be judged against commits that are only found now.
        self.conflicts.forget_until(last.version);
        self.core.snapshots.clear();
        self.core.snapshots.publish(last.version, last.version);
        *self.core.database.write() = Some(database);
        Ok(())
    }

    fn check(&mut self) -> Result<()> {
        let what = "checking the file";
        self.reopen().map_err(|fault| fault.during(what))?;
        let mut open = self.core.database.write();
        self.core.snapshots.clear();
        let checked = open.as_mut().map(redb::Database::check_integrity);
        drop(open);
        let damage = match checked {
            Some(Ok(true)) | None => return Ok(()),
            Some(Ok(false)) => Fault::Damaged("its bookkeeping was wrong and was rebuilt".into()),
            Some(Err(error)) => error.into(),
        };
        // Whether what was answered is still there shows when it is opened.
        self.shut();
        Err(damage.during(what))
    }

    fn compact(&mut self) -> Result<u64> {
        let what = "compacting the file";
        self.reopen().map_err(|fault| fault.during(what))?;
        let size = || std::fs::metadata(&self.opening.path).map(|file| file.len());
        let before = size().map_err(|error| Fault::from(error).during(what))?;
        let mut open = self.core.database.write();
        self.core.snapshots.clear();
        let compacted = open.as_mut().map(redb::Database::compact);
        drop(open);
        if let Some(Err(error)) = compacted {
            let fault = Fault::from(error);
            self.failed(&fault);
            return Err(fault.during(what));
        }
        let after = size().map_err(|error| Fault::from(error).during(what))?;
        Ok(before.saturating_sub(after))
    }

    fn close(&mut self) -> std::result::Result<(), Fault> {
        self.core.closed.store(true, Ordering::SeqCst);
        self.core.watches.lock().clear();
        self.core.snapshots.clear();
        let database = self.core.database.write().take();
        database.map_or(Ok(()), |database| Ok(database.close()?))
    }
}

fn refuse(group: Vec<Pending>, fault: &Fault) {
    for pending in group {
        pending.answer(Err(fault.clone().during("commit")));
    }
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a text")
}

/// Is the machine's clock, kept from running backwards.
#[derive(Debug)]
pub(super) struct Clock {
    epoch: SystemTime,
    started: tokio::time::Instant,
}

impl Clock {
    /// Starts after `last`, the time of the last commit, whatever has happened to the machine's clock since.
    pub(super) fn after(last: SystemTime) -> Self {
        Self {
            epoch: SystemTime::now().max(last),
            started: tokio::time::Instant::now(),
        }
    }

    pub(super) fn now(&self) -> SystemTime {
        self.epoch + self.started.elapsed()
    }
}
