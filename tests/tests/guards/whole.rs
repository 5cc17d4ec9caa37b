//! A whole system behind guards, whose servers vanish and hang one after the other.

use std::sync::Arc;
use std::time::Duration;

use coditect_core::bus::{MemoryBus, MessageBus};
use coditect_core::dag::journal::{PartitionCount, RunJournal, StoreJournal, StoreJournalConfig};
use coditect_core::guard::{GuardPolicy, GuardedStore};
use coditect_core::prelude::*;
use coditect_core::registry::{MemoryRegistry, Registry};
use coditect_core::resilience::BreakerState;
use coditect_core::state::{MemoryStore, StateStore};
use coditect_core::{Dispatch, Error, ErrorKind, RuntimeBuilder, ScheduleFilter};
use futures::future::join_all;
use tokio::time::sleep;

use crate::shaky::{Line, Mode, Shaky};
use crate::stage::{chain, within};

const DOUBLE: Call<u64, u64> = Call::new("double");

/// Ports that two runtimes share, each behind a line of its own.
struct Servers {
    bus: Shaky<MemoryBus>,
    registry: Shaky<MemoryRegistry>,
    store: Shaky<MemoryStore>,
}

impl Servers {
    fn new() -> Self {
        Self {
            bus: Shaky::new(MemoryBus::new()),
            registry: Shaky::new(MemoryRegistry::new()),
            store: Shaky::new(MemoryStore::new()),
        }
    }

    fn lines(&self) -> [&Line; 3] {
        [&self.bus.line, &self.registry.line, &self.store.line]
    }

    /// A runtime on them, whose journal stands on a guarded store.
    async fn runtime(&self) -> RuntimeBuilder {
        let store: Arc<dyn StateStore> = Arc::new(self.store.clone());
        let guarded = GuardedStore::new(Arc::clone(&store), GuardPolicy::state());
        let config = StoreJournalConfig::default().with_partitions(PartitionCount::new(4).unwrap());
        let journal = StoreJournal::open(Arc::new(guarded), config).await.unwrap();
        let journal: Arc<dyn RunJournal> = Arc::new(journal);
        let registry: Arc<dyn Registry> = Arc::new(self.registry.clone());
        Runtime::builder()
            .bus(self.bus.handle())
            .guard_bus(GuardPolicy::bus())
            .registry(registry)
            .state((journal, store))
            .dispatch(Dispatch::Bus)
    }
}

fn double() -> impl Agent {
    agent("double", async |context: TaskContext, x: u64| {
        context
            .once("doubled", || async move { Ok::<_, AgentError>(2 * x) })
            .await
    })
}

/// Submits until it is taken, and waits for the result until it is there.
async fn done(runtime: &Runtime, x: u64) -> u64 {
    loop {
        let submit = runtime
            .submit(&DOUBLE, x)
            .idempotency_key(format!("double-{x}"));
        let answer: Result<u64, Error> = async { submit.await?.result().await }.await;
        match answer {
            Ok(doubled) => return doubled,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", chain(&error)),
        }
        sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn servers_that_vanish_and_hang_are_waited_for_and_nothing_is_lost() {
    let servers = Servers::new();
    let coordinator = servers.runtime().await.start().await.unwrap();
    let worker = servers.runtime().await.worker_only().agent(double());
    let worker = worker.start().await.unwrap();
    assert_eq!(done(&coordinator, 1_000).await, 2_000);
    let trouble = async {
        for line in servers.lines() {
            for mode in [Mode::Gone, Mode::Hangs] {
                line.set(mode);
                sleep(Duration::from_secs(4)).await;
                line.set(Mode::Well);
                sleep(Duration::from_secs(3)).await;
            }
        }
    };
    let work = join_all((0..400).map(|x| {
        let coordinator = coordinator.clone();
        async move {
            sleep(Duration::from_millis(x * 100)).await;
            done(&coordinator, x).await
        }
    }));
    let (doubled, ()) = within(async { tokio::join!(work, trouble) }).await;
    assert_eq!(doubled, Vec::from_iter((0..400).map(|x| 2 * x)));
    for runtime in [&coordinator, &worker] {
        for breaker in runtime.port_breakers() {
            assert_eq!(breaker.state(), BreakerState::Closed, "{}", breaker.name());
        }
    }
    worker.shutdown().await.unwrap();
    coordinator.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_operator_takes_a_port_in_hand() {
    let servers = Servers::new();
    let runtime = servers
        .runtime()
        .await
        .agent(double())
        .start()
        .await
        .unwrap();
    let breakers = runtime.port_breakers();
    let names = Vec::from_iter(breakers.iter().map(|breaker| breaker.name()));
    assert_eq!(names, ["bus", "registry", "state"]);
    breakers[2].force_open();
    let before = servers.store.line.calls();
    let asked = runtime.schedules(ScheduleFilter::default());
    let refused = asked.await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    let text = chain(&refused);
    assert!(
        text.ends_with("calls to the state store are refused until its breaker is reset"),
        "{text}"
    );
    breakers[2].reset();
    assert_eq!(done(&runtime, 21).await, 42);
    assert!(servers.store.line.calls() > before);
    runtime.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn within_one_process_there_are_no_guards_unless_they_are_asked_for() {
    let runtime = Runtime::builder().start().await.unwrap();
    assert!(runtime.port_breakers().is_empty());
    runtime.shutdown().await.unwrap();
    let bare = Servers::new().runtime().await;
    let bare = bare.guard_bus(None).guard_registry(None).guard_state(None);
    let runtime = bare.start().await.unwrap();
    assert!(runtime.port_breakers().is_empty());
    runtime.shutdown().await.unwrap();
}
