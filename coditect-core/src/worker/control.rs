//! Listening for what is told to all: what coordinators want stopped, and which queues were made anew.

use std::sync::Arc;
use std::time::Duration;

use coditect_bus::{ErrorKind, Subscription};

use super::Worker;
use super::consume::{RESUBSCRIBE, settle};
use crate::error::Error;
use crate::wire::{self, Notice};

/// How soon it is noticed that nothing could be heard for a while.
const LOOK: Duration = Duration::from_secs(5);

/// Listens until, at the end, every attempt has ended.
pub(super) async fn start(worker: &Arc<Worker>) -> Result<(), Error> {
    let fanout = wire::control_fanout()?;
    let bus = Arc::clone(&worker.services.ports.bus);
    let mut consumer = bus.subscribe(Subscription::fanout(fanout.clone())).await?;
    let listener = Arc::clone(worker);
    worker.tracker.spawn(async move {
        let listen = async {
            let mut gaps = consumer.gaps();
            loop {
                let heard = tokio::time::timeout(LOOK, consumer.recv()).await;
                // Also where there is always something to hear.
                let now = consumer.gaps();
                if std::mem::replace(&mut gaps, now) != now {
                    listener.heard_of(None);
                }
                let Ok(heard) = heard else {
                    continue;
                };
                let Some(delivery) = heard else {
                    tokio::time::sleep(RESUBSCRIBE).await;
                    let subscription = Subscription::fanout(fanout.clone());
                    match bus.subscribe(subscription).await {
                        Ok(again) => {
                            consumer = again;
                            gaps = consumer.gaps();
                            listener.heard_of(None);
                        }
                        Err(error) if error.kind() == ErrorKind::Closed => return,
                        Err(_) => {}
                    }
                    continue;
                };
                match Notice::read(delivery.envelope()) {
                    Ok(Notice::Stop(control)) => listener.obey(&control),
                    Ok(Notice::Anew(notice)) => listener.heard_of(Some(notice)),
                    Ok(Notice::Unwanted(notice)) => listener.running.unwanted(&notice.unwanted),
                    Err(error) => {
                        tracing::warn!(%error, "an unreadable control message was dropped");
                    }
                }
                settle(delivery.ack()).await;
            }
        };
        tokio::select! {
            biased;
            // What runs through a drain can still be stopped.
            () = listener.attempts_ended() => {}
            () = listen => {}
        }
    });
    Ok(())
}
