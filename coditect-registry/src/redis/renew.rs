//! Renewals of all agents of a process in few calls: those that come together travel together.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::error::Failure;
use super::link::Link;
use super::wire::{next_number, next_text, words};

/// How long the first renewal waits for company.
const GATHERING: Duration = Duration::from_millis(5);

/// The most renewals in one call, so that no call blocks the server for more than about a millisecond.
const LARGEST: usize = 128;

/// How many renewals may wait for their call.
const WAITING: usize = 8192;

/// What the script says to one who asks for something under a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    Granted,
    Lost,
    Superseded,
}

impl Ruling {
    pub(super) fn read(code: u8) -> Result<Self, Failure> {
        match code {
            0 => Ok(Self::Granted),
            1 => Ok(Self::Lost),
            2 => Ok(Self::Superseded),
            _ => Err(Failure::Strange("an unknown ruling")),
        }
    }
}

/// A ruling, and the epoch of the data that it was made on.
pub(super) type Answer = Result<(String, Ruling), Arc<Failure>>;

/// Asks for one renewal.
#[derive(Debug)]
struct Renewal {
    instance: String,
    token: String,
    report: String,
    answer: oneshot::Sender<Answer>,
}

/// Hands renewals to the task that sends them.
#[derive(Debug)]
pub(super) struct Renewals {
    waiting: mpsc::Sender<Renewal>,
}

impl Renewals {
    /// Makes the way in, and the task that has to be run.
    pub(super) fn new(link: Arc<Link>) -> (Self, impl Future<Output = ()> + Send) {
        let (waiting, asked) = mpsc::channel(WAITING);
        (Self { waiting }, run(link, asked))
    }

    pub(super) async fn renew(&self, instance: String, token: String, report: String) -> Answer {
        let closed = || Arc::new(Failure::Closed);
        let (answer, answered) = oneshot::channel();
        let renewal = Renewal {
            instance,
            token,
            report,
            answer,
        };
        self.waiting.send(renewal).await.map_err(|_| closed())?;
        answered.await.unwrap_or_else(|_| Err(closed()))
    }
}

async fn run(link: Arc<Link>, mut asked: mpsc::Receiver<Renewal>) {
    while let Some(first) = asked.recv().await {
        sleep(GATHERING).await;
        let mut batch = vec![first];
        while batch.len() < LARGEST
            && let Ok(next) = asked.try_recv()
        {
            batch.push(next);
        }
        // Who has gone meanwhile wants no answer, and no renewal either.
        batch.retain(|renewal| !renewal.answer.is_closed());
        let outcome = send(&link, &batch).await;
        if outcome.is_err() {
            // Who came meanwhile need not wait as long again to hear the same.
            while let Ok(next) = asked.try_recv() {
                batch.push(next);
            }
        }
        answer(outcome, batch);
    }
}

async fn send(link: &Link, batch: &[Renewal]) -> Result<(String, Vec<Ruling>), Failure> {
    let mut command = link.script.call("renew");
    for renewal in batch {
        command
            .arg(&renewal.instance)
            .arg(&renewal.token)
            .arg(&renewal.report);
    }
    let mut words = words(link.call(&command).await?)?;
    let epoch = next_text(&mut words)?;
    let rulings = batch
        .iter()
        .map(|_| Ruling::read(next_number(&mut words)?))
        .collect::<Result<_, _>>()?;
    Ok((epoch, rulings))
}

fn answer(outcome: Result<(String, Vec<Ruling>), Failure>, batch: Vec<Renewal>) {
    // An answer that nobody waits for any more is of no use to anyone else.
    match outcome {
        Ok((epoch, rulings)) => {
            for (renewal, ruling) in batch.into_iter().zip(rulings) {
                let _ = renewal.answer.send(Ok((epoch.clone(), ruling)));
            }
        }
        Err(failure) => {
            let failure = Arc::new(failure);
            for renewal in batch {
                let _ = renewal.answer.send(Err(Arc::clone(&failure)));
            }
        }
    }
}
