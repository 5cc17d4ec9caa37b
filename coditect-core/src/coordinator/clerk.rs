//! What an owner asks of the store about limits, beside its loop.

use std::sync::Arc;
use std::time::Duration;

use coditect_state::{StateStore, Watch};
use tokio::sync::mpsc;

use super::owner::Owner;
use crate::limit::Group;
use crate::limit::board::Ask;
use crate::limit::kept::{self, NotTold, TOGETHER, Told};

/// How long the store is left alone that could not be asked.
const AGAIN: Duration = Duration::from_secs(1);
/// How much news the owner has not taken in at most.
const NEWS: usize = 16;

/// The way to the task that asks; one question is under way at most.
#[derive(Debug)]
pub(super) struct Clerk {
    asks: mpsc::Sender<Vec<(Group, Ask)>>,
    pub(super) is_busy: bool,
}

/// What the store has told.
#[derive(Debug)]
pub(super) enum News {
    /// What the partition had when this owner took it.
    Adopted(Vec<(Group, u32)>),
    /// The answers to some of what was asked.
    Told(Vec<(Group, Told)>),
    NotTold(Vec<Group>),
    /// All that was asked was answered.
    Done,
    Called(Vec<Group>),
    /// The partition has a later owner.
    Stale,
}

/// The way of the news.
pub(super) fn news() -> (mpsc::Sender<News>, mpsc::Receiver<News>) {
    mpsc::channel(NEWS)
}

impl Owner {
    /// Begins to talk to the store about limits.
    pub(super) fn start_clerk(&mut self) {
        let (asks, questions) = mpsc::channel(1);
        let (partition, token) = {
            let lease = self.lease.lock();
            (lease.partition().get(), lease.token().get())
        };
        let desk = Desk {
            store: Arc::clone(&self.shared.ports.store),
            partition,
            token,
            told: self.to_told.clone(),
        };
        self.gates.clerk = Some(Clerk {
            asks,
            is_busy: false,
        });
        let (shared, lost) = (Arc::clone(&self.shared), self.lost.clone());
        let work = async move {
            tokio::select! {
                biased;
                () = lost.cancelled() => {}
                () = shared.abort.cancelled() => {}
                _ = desk.work(questions) => {}
            }
        };
        self.shared.tracker.spawn(work);
    }
}

impl Clerk {
    /// Asks for shares; the last was answered.
    pub(super) fn ask(&mut self, asks: Vec<(Group, Ask)>) {
        // There is room for one, and an owner whose clerk has ended does too.
        self.is_busy = self.asks.try_send(asks).is_ok();
    }
}

struct Desk {
    store: Arc<dyn StateStore>,
    partition: u16,
    token: u64,
    told: mpsc::Sender<News>,
}

/// The owner has ended, or was replaced.
struct Ended;

impl Desk {
    async fn work(self, mut questions: mpsc::Receiver<Vec<(Group, Ask)>>) -> Result<(), Ended> {
        let adopted = loop {
            match kept::adopt(&self.store, self.partition, self.token).await {
                Ok(adopted) => break adopted,
                Err(NotTold::Stale) => return self.tell(News::Stale).await,
                Err(NotTold::Failed(error)) => self.rest(&error).await,
            }
        };
        self.tell(News::Adopted(adopted)).await?;
        let mut watch = None;
        loop {
            if watch.is_none() {
                watch = self.begin_to_watch().await?;
            }
            tokio::select! {
                biased;
                asks = questions.recv() => match asks {
                    Some(asks) => self.ask(asks).await?,
                    None => return Err(Ended),
                },
                is_there = changed(&mut watch) => match is_there {
                    true => if !self.take_calls().await? {
                        watch = None;
                    },
                    false => watch = None,
                },
            }
        }
    }

    /// Watches, and takes what was called before; none if the store cannot be reached now.
    async fn begin_to_watch(&self) -> Result<Option<Watch>, Ended> {
        match kept::watch_calls(&*self.store, self.partition).await {
            Ok(watch) => Ok(self.take_calls().await?.then_some(watch)),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(
                    error,
                    "calls for shares of limits cannot be watched; trying again"
                );
                Ok(None)
            }
        }
    }

    /// Tells the owner what it was called for; says whether that is known.
    async fn take_calls(&self) -> Result<bool, Ended> {
        match kept::take_calls(&self.store, self.partition).await {
            Ok(calls) => {
                if !calls.is_empty() {
                    self.tell(News::Called(calls)).await?;
                }
                Ok(true)
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(
                    error,
                    "calls for shares of limits cannot be read; trying again"
                );
                Ok(false)
            }
        }
    }

    async fn ask(&self, asks: Vec<(Group, Ask)>) -> Result<(), Ended> {
        for part in asks.chunks(TOGETHER) {
            let groups = || part.iter().map(|(group, _)| group.clone());
            let news = match kept::ask(&self.store, part).await {
                Ok(told) => News::Told(groups().zip(told).collect()),
                Err(NotTold::Stale) => return self.tell(News::Stale).await,
                Err(NotTold::Failed(error)) => {
                    self.rest(&error).await;
                    News::NotTold(groups().collect())
                }
            };
            self.tell(news).await?;
        }
        self.tell(News::Done).await
    }

    async fn tell(&self, news: News) -> Result<(), Ended> {
        self.told.send(news).await.map_err(|_| Ended)
    }

    async fn rest(&self, error: &coditect_state::Error) {
        {
            let error = error as &dyn std::error::Error;
            tracing::warn!(
                partition = self.partition,
                error,
                "shares of limits cannot be asked for; trying again"
            );
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Waits until the watch tells something; says whether it still is there.
async fn changed(watch: &mut Option<Watch>) -> bool {
    match watch {
        Some(watch) => watch.changed().await.is_ok(),
        None => {
            tokio::time::sleep(AGAIN).await;
            false
        }
    }
}
