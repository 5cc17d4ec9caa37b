//! Effect classes: what an irreversible task does, and does not do, when nobody knows what became of it.

#[path = "effects/begin.rs"]
mod begin;
#[path = "effects/failure.rs"]
mod failure;
#[path = "effects/redrive.rs"]
mod redrive;
#[path = "effects/ruling.rs"]
mod ruling;
#[path = "effects/vanished.rs"]
mod vanished;

mod stage;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coditect_core::bus::{Envelope, QueueName};
use coditect_core::dag::journal::RecordKind;
use coditect_core::prelude::*;
use coditect_core::{Awaited, EffectClass, Error, EventStream, FnAgent, Handler, RunId, RunReport};

use stage::{Count, Gate, Meddled, Shared, within};

const PAY: Call<u64, u64> = Call::new("pay");

fn queue() -> QueueName {
    QueueName::for_capability("pay.v1").expect("a name")
}

fn is(envelope: &Envelope, kind: &str) -> bool {
    envelope.header("coditect-kind") == Some(kind)
}

/// An agent that counts its calls, and answers once it is let through.
fn handler(
    gate: &Gate,
    calls: &Count,
) -> FnAgent<impl Handler<(u64,), Input = u64, Output = u64> + use<>, (u64,)> {
    let (gate, calls) = (gate.clone(), calls.clone());
    agent("pay", move |x: u64| {
        let gate = gate.clone();
        calls.add();
        async move {
            gate.pass().await;
            Ok::<_, AgentError>(x + 1)
        }
    })
}

/// The same, and what it does must not be done twice.
fn pay(gate: &Gate, calls: &Count) -> impl Agent<Input = u64, Output = u64> + use<> {
    handler(gate, calls).with_effect(EffectClass::Irreversible)
}

/// Messages of these kinds do not arrive while the switch is on.
#[derive(Clone, Default)]
struct Mute(Arc<AtomicBool>);

impl Mute {
    fn set(&self, on: bool) {
        self.0.store(on, Ordering::SeqCst);
    }

    /// Ports on a bus on which messages of these kinds can be muted.
    fn ports(&self, kinds: &'static [&'static str]) -> Shared {
        let muted = Arc::clone(&self.0);
        let bus = Meddled::new().on_publish(move |envelope| {
            let muted = muted.load(Ordering::SeqCst) && kinds.iter().any(|kind| is(envelope, kind));
            Box::pin(std::future::ready(!muted))
        });
        Shared::on(Arc::new(bus))
    }
}

/// What the journal says of a run, by the names of its records.
async fn history(shared: &Shared, run: RunId) -> Vec<&'static str> {
    let log = shared.journal.load(run).await.expect("readable");
    let log = log.expect("the run is known");
    let names = log.tail.iter().map(|record| match &record.kind {
        RecordKind::Dispatched { .. } => "dispatched",
        RecordKind::Granted { .. } => "granted",
        RecordKind::Claimed { .. } => "claimed",
        RecordKind::Parked { .. } => "parked",
        RecordKind::Lost { .. } => "lost",
        RecordKind::Snoozed { .. } => "snoozed",
        RecordKind::Failed { .. } => "failed",
        RecordKind::Succeeded { .. } => "succeeded",
        RecordKind::Signalled { .. } => "signalled",
        RecordKind::Expired { .. } => "expired",
        _ => "",
    });
    names.filter(|name| !name.is_empty()).collect()
}

/// Reads events until the task is parked; tells why.
async fn parked(events: &mut EventStream) -> Result<String, Error> {
    loop {
        let event = within(events.next()).await?.expect("the run goes on");
        if let RunEventKind::Parked(info, reason) = event.kind {
            assert_eq!(info.path, "pay");
            return Ok(reason.to_string());
        }
    }
}

/// What everybody sees of a run whose one task is parked.
async fn assert_parked<O>(run: &RunHandle<O>, reason: &str) -> Result<RunReport, Error> {
    let waiting = run.waiting().await?;
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0].task.path, "pay");
    assert_eq!(waiting[0].awaited, Awaited::Ruling(reason.into()));
    let report = run.report().await?;
    assert_eq!(report.tasks[0].parked.as_deref(), Some(reason));
    assert!(!run.state().await?.is_settled());
    Ok(report)
}
