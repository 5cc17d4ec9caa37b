//! Runs as files: out of one journal, into another.

use bytes::Bytes;
use coditect_dag::RunId;
use coditect_dag::journal::{Belonging, RunArchive};
use coditect_state::{Range, StateStoreExt, TransactionExt, Tx};

use super::Runtime;
use crate::context::belongings;
use crate::error::{Error, ErrorKind};

/// How many bytes of what belongs to a run are written at once.
const TOGETHER: usize = 512 << 10;

impl Runtime {
    /// Returns a run as the content of a file: what was asked for, everything that has happened, its blackboard and what
    /// [`once`](crate::TaskContext::once) has kept.
    ///
    /// A run that has not ended is exported as it is at this moment, and goes on here.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable).
    ///
    /// # Cancel safety
    ///
    /// It only reads.
    ///
    /// # Examples
    ///
    /// ```
    /// # use coditect_core::prelude::*;
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), coditect_core::Error> {
    /// const DOUBLE: Call<u64, u64> = Call::new("double");
    /// let double = || agent("double", async |x: u64| Ok::<_, AgentError>(2 * x));
    /// let here = Runtime::builder().agent(double()).start().await?;
    /// let run = here.submit(&DOUBLE, 21).await?;
    /// run.settled().await?;
    /// let file = here.export(run.id()).await?;
    ///
    /// let there = Runtime::builder().agent(double()).start().await?;
    /// let run = there.import(&file).await?;
    /// assert_eq!(there.attach::<u64>(run).result().await?, 42);
    /// # here.shutdown().await?;
    /// # there.shutdown().await
    /// # }
    /// ```
    pub async fn export(&self, run: RunId) -> Result<Bytes, Error> {
        let unknown = || Error::new(ErrorKind::NotFound, format!("there is no run {run}"));
        let log = self.journal().load(run).await?;
        let mut archive = RunArchive::new(log.ok_or_else(unknown)?);
        for (name, space) in belongings() {
            let prefix = &space.pack(&(run.as_uuid(),));
            let read =
                |mut tx: Tx| async move { tx.range_all(Range::prefix(prefix).snapshot()).await };
            for entry in self.store().transact(read).await? {
                archive.belongings.push(Belonging {
                    space: name.to_owned(),
                    key: entry.key.slice(prefix.len()..),
                    value: entry.value,
                });
            }
        }
        Ok(archive.to_bytes()?)
    }

    /// Takes in a run that was [exported](Self::export) elsewhere, under the id that it had there.
    ///
    /// One that has ended can be read like any other. One that has not is gone on with: attempts that were under way are
    /// handed out again. Where it began it should have been cancelled or lost, since two would go on with it otherwise.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for a file that is something else, is damaged, or was written by a
    /// newer release, and for a run or an idempotency key that is known here;
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable).
    ///
    /// # Cancel safety
    ///
    /// A dropped future may have imported the run; importing it again then fails and changes nothing.
    pub async fn import(&self, file: &Bytes) -> Result<RunId, Error> {
        self.check_open()?;
        let RunArchive {
            log,
            belongings: kept,
        } = RunArchive::from_bytes(file).map_err(|error| {
            let text = "the file cannot be imported";
            Error::invalid(text).with_source(error)
        })?;
        let run = log.submission.run;
        if self.journal().run(run).await?.is_some() {
            return Err(Error::invalid(format!("the run {run} is known here")));
        }
        // Before the run, which may go on at once.
        self.keep(run, &kept).await?;
        self.journal().import(log).await?;
        Ok(run)
    }

    async fn keep(&self, run: RunId, kept: &[Belonging]) -> Result<(), Error> {
        let spaces = &belongings();
        let mut rest = kept;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fitting = rest.iter().take_while(|one| {
                bytes += one.key.len() + one.value.len();
                bytes <= TOGETHER
            });
            let (some, others) = rest.split_at(fitting.count().max(1));
            let write = |mut tx: Tx| async move {
                for one in some {
                    // What a later release keeps besides is not known to anybody here.
                    let space = spaces.iter().find(|(name, _)| *name == one.space);
                    if let Some((_, space)) = space {
                        let key = [&space.pack(&(run.as_uuid(),))[..], &one.key].concat();
                        tx.set(&key, one.value.clone())?;
                    }
                }
                Ok(())
            };
            self.store().transact(write).await?;
            rest = others;
        }
        Ok(())
    }
}
