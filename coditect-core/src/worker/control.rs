//! Listening for what coordinators want stopped.

use std::sync::Arc;

use coditect_bus::{ErrorKind, Subscription};

use super::Worker;
use super::consume::{RESUBSCRIBE, settle};
use crate::error::Error;
use crate::wire::{self, Control};

/// Listens until, at the end, every attempt has ended.
pub(super) async fn start(worker: &Arc<Worker>) -> Result<(), Error> {
    let fanout = wire::control_fanout()?;
    let bus = Arc::clone(&worker.services.ports.bus);
    let mut consumer = bus.subscribe(Subscription::fanout(fanout.clone())).await?;
    let listener = Arc::clone(worker);
    worker.tracker.spawn(async move {
        let listen = async {
            loop {
                let Some(delivery) = consumer.recv().await else {
                    tokio::time::sleep(RESUBSCRIBE).await;
                    let subscription = Subscription::fanout(fanout.clone());
                    match bus.subscribe(subscription).await {
                        Ok(again) => consumer = again,
                        Err(error) if error.kind() == ErrorKind::Closed => return,
                        Err(_) => {}
                    }
                    continue;
                };
                match Control::read(delivery.envelope()) {
                    Ok(control) => listener.obey(&control),
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
