//! Reading the log, and making the copy anew where the log does not tell everything.

use std::time::Duration;

use tokio::sync::broadcast;
use tokio::time::Instant;

use super::super::address::Connection;
use super::super::error::Failure;
use super::super::link::jittered;
use super::super::read::{Range, fetch, page, status};
use super::super::wire::{self, Entry, Kind};
use super::replica::{Applied, Replica};
use super::{Follower, State};

/// How long a read waits for news.
const BLOCK: Duration = Duration::from_secs(1);

/// How many entries are read at once.
const COUNT: usize = 256;

/// How often a copy is begun again because the log did not reach back to its beginning.
const ATTEMPTS: usize = 5;

impl Follower {
    /// Reads until something fails, and returns what.
    pub(super) async fn read(&self) -> Failure {
        match self.read_over_own_connection().await {
            Ok(never) => match never {},
            Err(failure) => failure,
        }
    }

    async fn read_over_own_connection(&self) -> Result<std::convert::Infallible, Failure> {
        let mut connection = self.link.own_connection(BLOCK).await?;
        let status = status(&self.link).await?;
        self.hear();
        let continues = {
            let state = self.state.lock();
            state.origin.as_ref() == Some(&status.origin)
                && state.replica.sequence() <= status.sequence
        };
        match continues {
            true => self.resume(),
            false => self.resync(&mut connection).await?,
        }
        let mut reconcile = Instant::now() + jittered(self.settings.reconcile);
        loop {
            let entries = self.next(&mut connection, self.sequence(), true).await?;
            // A server may have been silent for so long that watches ended, and yet answer in the end.
            self.resume();
            let is_idle = entries.is_empty();
            let is_whole = self.take(entries).await?;
            if !is_whole || (is_idle && self.has_gone_astray(&mut connection).await?) {
                tracing::warn!("changes of the registry were missed; its copy is made anew");
                self.resync(&mut connection).await?;
            }
            if Instant::now() >= reconcile {
                self.reconcile(&mut connection).await?;
                reconcile = Instant::now() + jittered(self.settings.reconcile);
            }
        }
    }

    fn sequence(&self) -> u64 {
        self.state.lock().replica.sequence()
    }

    async fn next(
        &self,
        connection: &mut Connection,
        after: u64,
        block: bool,
    ) -> Result<Vec<Entry>, Failure> {
        let block = block.then_some(BLOCK.as_millis() as u64);
        let command = self.link.script.read(after, COUNT, block);
        let answer = connection.send(&command).await;
        let answer = answer.map_err(|error| self.link.failure(error))?;
        self.hear();
        wire::entries(answer)
    }

    /// Applies entries and tells the watches; `false` if the copy has to be made anew.
    async fn take(&self, entries: Vec<Entry>) -> Result<bool, Failure> {
        for entry in entries {
            let entry = self.completed(entry).await?;
            if !self.apply(entry) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn apply(&self, entry: Entry) -> bool {
        let mut state = self.state.lock();
        let Applied::Told(events) = state.replica.apply(entry, false) else {
            return false;
        };
        self.tell(&state, events);
        self.reached.send_replace(state.replica.sequence());
        true
    }

    /// Fetches a record that is too large for the log. What comes may be newer than the entry; what made it newer follows.
    async fn completed(&self, mut entry: Entry) -> Result<Entry, Failure> {
        match &entry.kind {
            Kind::Put(instance, None) => match fetch(&self.link, instance).await? {
                Some(Ok(stored)) => {
                    entry.kind = Kind::Put(instance.clone(), Some(Box::new(stored.record)));
                }
                Some(Err(unreadable)) => {
                    unreadable.warn();
                    entry.kind = Kind::Foreign(instance.clone());
                }
                None => {}
            },
            Kind::Foreign(instance) => {
                tracing::warn!(%instance, "a record in redis cannot be read and is left out");
            }
            Kind::Unreadable(kind) => {
                tracing::warn!(%kind, "a change in redis cannot be read and is left out");
            }
            _ => {}
        }
        Ok(entry)
    }

    /// Tells whether the data have gone on, or have become others, without an entry in the log.
    async fn has_gone_astray(&self, connection: &mut Connection) -> Result<bool, Failure> {
        let status = status(&self.link).await?;
        if self.state.lock().origin.as_ref() != Some(&status.origin) {
            return Ok(true);
        }
        let entries = self.next(connection, self.sequence(), false).await?;
        let is_whole = self.take(entries).await?;
        Ok(!is_whole || self.sequence() < status.sequence)
    }

    /// Goes on with the copy as it is.
    fn resume(&self) {
        let mut state = self.state.lock();
        self.open(&mut state);
        self.reached.send_replace(state.replica.sequence());
    }

    fn open(&self, state: &mut State) {
        let buffer = self.settings.buffer;
        state
            .events
            .get_or_insert_with(|| broadcast::Sender::new(buffer));
    }

    /// Makes the copy anew, and has all watches begin anew with it.
    async fn resync(&self, connection: &mut Connection) -> Result<(), Failure> {
        let (replica, origin) = self.copy(connection).await?;
        self.install(replica, origin);
        Ok(())
    }

    fn install(&self, mut replica: Replica, origin: (String, String)) {
        let mut state = self.state.lock();
        let epoch = |origin: &(String, String)| origin.0.clone();
        let known = state.origin.as_ref().map(epoch);
        let same_data = known.is_none_or(|known| known == origin.0);
        replica.succeed(&state.replica, same_data);
        let snapshot = replica.snapshot();
        self.observer.resynced(replica.len());
        state.replica = replica;
        state.origin = Some(origin);
        self.open(&mut state);
        self.tell(&state, vec![snapshot]);
        self.reached.send_replace(state.replica.sequence());
    }

    /// Reads everything page by page, and then what has changed meanwhile.
    async fn copy(
        &self,
        connection: &mut Connection,
    ) -> Result<(Replica, (String, String)), Failure> {
        for _ in 0..ATTEMPTS {
            let before = status(&self.link).await?;
            let mut replica = Replica::new(before.sequence);
            let mut rest = Some(Range::all());
            while rest.is_some() {
                for found in page(&self.link, &mut rest).await? {
                    match found {
                        Ok(stored) => replica.put(stored),
                        Err(unreadable) => {
                            unreadable.warn();
                            let instance = wire::parse_instance(&unreadable.name);
                            instance.into_iter().for_each(|it| replica.put_foreign(it));
                        }
                    }
                }
                self.hear();
            }
            let after = status(&self.link).await?;
            if before.origin == after.origin
                && self
                    .settle(connection, &mut replica, after.sequence)
                    .await?
            {
                return Ok((replica, after.origin));
            }
        }
        Err(Failure::Unsettled)
    }

    /// Applies what has changed since the copy was begun; `false` if the log does not reach back so far.
    async fn settle(
        &self,
        connection: &mut Connection,
        replica: &mut Replica,
        until: u64,
    ) -> Result<bool, Failure> {
        while replica.sequence() < until {
            let entries = self.next(connection, replica.sequence(), false).await?;
            if entries.is_empty() {
                return Ok(false);
            }
            for entry in entries {
                let entry = self.completed(entry).await?;
                if replica.apply(entry, true) == Applied::Gap {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Compares the copy with the whole, and corrects it.
    async fn reconcile(&self, connection: &mut Connection) -> Result<(), Failure> {
        let (mut fresh, origin) = self.copy(connection).await?;
        while self.sequence() < fresh.sequence() {
            let entries = self.next(connection, self.sequence(), false).await?;
            if entries.is_empty() {
                break;
            }
            for entry in entries {
                let entry = self.completed(entry).await?;
                fresh.apply(entry.clone(), true);
                if !self.apply(entry) {
                    break;
                }
            }
        }
        let agrees = {
            let state = self.state.lock();
            state.replica.sequence() == fresh.sequence() && state.replica.agrees(&fresh)
        };
        if !agrees {
            tracing::warn!("the copy of the registry had gone wrong and has been corrected");
            self.install(fresh, origin);
        }
        Ok(())
    }
}
