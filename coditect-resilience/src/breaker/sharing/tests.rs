//! Three processes around one store, which fails in every way.

use std::future::pending;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{advance, sleep};

use super::super::observer::{BreakerObserver, Cause, Transition};
use super::super::policy::BreakerPolicy;
use super::*;
use crate::{Backoff, Jitter};

/// A store that can be made to fail or to hang.
#[derive(Default)]
struct Flaky {
    memory: MemoryBreakerStore,
    mood: AtomicU8,
}

const FAILING: u8 = 1;
const HANGING: u8 = 2;

impl Flaky {
    async fn pass(&self) -> Result<(), BoxError> {
        match self.mood.load(Ordering::Relaxed) {
            FAILING => Err("connection refused".into()),
            HANGING => pending().await,
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl BreakerStore for Flaky {
    async fn publish(&self, notice: &BreakerNotice) -> Result<(), BoxError> {
        self.pass().await?;
        self.memory.publish(notice).await
    }

    async fn notices(&self, limit: usize) -> Result<Vec<BreakerNotice>, BoxError> {
        self.pass().await?;
        self.memory.notices(limit).await
    }
}

#[derive(Default)]
struct Shared(Mutex<Vec<Transition>>);

impl BreakerObserver for Shared {
    fn on_transition(&self, _: &str, transition: Transition) {
        if transition.cause == Cause::Shared {
            self.0.lock().push(transition);
        }
    }
}

#[derive(Default)]
struct Failures(AtomicU32);

impl SharingObserver for Failures {
    fn on_store_failure(&self, error: &(dyn std::error::Error + 'static)) {
        assert!(!error.to_string().is_empty());
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct Fleet {
    store: Arc<Flaky>,
    processes: Vec<Breakers>,
    shared: Arc<Shared>,
    failures: Arc<Failures>,
    _tasks: JoinSet<Infallible>,
    handles: Vec<AbortHandle>,
}

fn fleet(sharing: SharingPolicy) -> Fleet {
    let open = Backoff::new(Duration::from_secs(2), Duration::from_secs(8)).unwrap();
    let policy = BreakerPolicy::builder()
        .consecutive_failures(3)
        .open_for(open.with_jitter(Jitter::None))
        .successes_to_close(1)
        .build()
        .unwrap();
    let mut fleet = Fleet {
        store: Arc::default(),
        processes: vec![],
        shared: Arc::default(),
        failures: Arc::default(),
        _tasks: JoinSet::new(),
        handles: vec![],
    };
    for _ in 0..3 {
        let breakers = Breakers::new(policy, 100).unwrap();
        let breakers = breakers.with_observer(fleet.shared.clone());
        let (breakers, task) = breakers.shared(fleet.store.clone(), sharing);
        let task = task.with_observer(fleet.failures.clone());
        assert!(format!("{task:?}").contains("capacity: 100"));
        fleet.handles.push(fleet._tasks.spawn(task.run()));
        fleet.processes.push(breakers);
    }
    fleet
}

impl Fleet {
    fn trip(&self, process: usize, key: &str) {
        for _ in 0..3 {
            self.processes[process]
                .breaker(key)
                .acquire()
                .unwrap()
                .failure();
        }
    }

    fn states(&self, key: &str) -> Vec<BreakerState> {
        let breakers = self.processes.iter();
        breakers
            .map(|breakers| breakers.breaker(key).state())
            .collect()
    }
}

/// Longer than a turn of the sharing.
const TURN: Duration = Duration::from_millis(600);

#[tokio::test(start_paused = true)]
async fn what_one_process_finds_out_keeps_all_away_and_brings_all_back() {
    let fleet = fleet(SharingPolicy::default());
    sleep(TURN).await;
    fleet.trip(0, "agent");
    sleep(TURN).await;
    assert_eq!(fleet.states("agent"), [BreakerState::Open; 3]);
    assert_eq!(fleet.states("other"), [BreakerState::Closed; 3]);

    // Its probe fails, so that the others stay away longer without a probe of their own.
    sleep(Duration::from_secs(2) - TURN).await;
    fleet.processes[0]
        .breaker("agent")
        .acquire()
        .unwrap()
        .failure();
    sleep(TURN).await;
    for breakers in &fleet.processes {
        let left = breakers.breaker("agent").open_left().unwrap();
        assert!(left > Duration::from_millis(2_500), "{left:?}");
    }

    // It answers again: all probe at once, and each closes by its own probe.
    sleep(Duration::from_secs(4) - TURN).await;
    fleet.processes[0]
        .breaker("agent")
        .acquire()
        .unwrap()
        .success();
    sleep(TURN).await;
    assert_eq!(
        fleet.states("agent"),
        [
            BreakerState::Closed,
            BreakerState::HalfOpen,
            BreakerState::HalfOpen
        ]
    );
    fleet.processes[1]
        .breaker("agent")
        .acquire()
        .unwrap()
        .success();
    assert_eq!(fleet.states("agent")[1], BreakerState::Closed);
    assert_eq!(fleet.failures.0.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_notice_is_adopted_once() {
    let fleet = fleet(SharingPolicy::default());
    fleet.trip(0, "agent");
    sleep(TURN).await;
    fleet.processes[1].breaker("agent").reset();
    sleep(TURN).await;
    assert_eq!(
        fleet.states("agent")[1],
        BreakerState::Closed,
        "it was told before"
    );
    assert_eq!(
        fleet.shared.0.lock().len(),
        2,
        "one for each of the other two"
    );
}

#[tokio::test(start_paused = true)]
async fn where_networks_differ_the_word_of_another_costs_one_probe() {
    let fleet = fleet(SharingPolicy::default().with_adoption(Adoption::Probe));
    fleet.trip(0, "agent");
    sleep(TURN).await;
    use BreakerState::{Closed, HalfOpen, Open};
    assert_eq!(fleet.states("agent"), [Open, HalfOpen, HalfOpen]);
    fleet.processes[1]
        .breaker("agent")
        .acquire()
        .unwrap()
        .success();
    fleet.processes[2]
        .breaker("agent")
        .acquire()
        .unwrap()
        .failure();
    assert_eq!(fleet.states("agent"), [Open, Closed, Open]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_or_hangs_never_touches_a_call_and_is_used_again_after() {
    let fleet = fleet(SharingPolicy::default());
    for mood in [FAILING, HANGING] {
        fleet.store.mood.store(mood, Ordering::Relaxed);
        let before = fleet.failures.0.load(Ordering::Relaxed);
        // More than fit into the box of names: the calls neither wait nor fail.
        let started = Instant::now();
        for key in 0..OUTBOX * 2 {
            fleet.trip(0, &format!("{mood} {key}"));
        }
        assert_eq!(Instant::now(), started);
        assert_eq!(fleet.processes[0].tripped().len(), 100);
        sleep(TURN * 3).await;
        assert!(fleet.failures.0.load(Ordering::Relaxed) > before);
        assert!(fleet.shared.0.lock().is_empty());
        advance(Duration::from_secs(60)).await;
    }
    fleet.store.mood.store(0, Ordering::Relaxed);
    sleep(TURN).await;
    fleet.trip(0, "agent");
    sleep(TURN).await;
    assert_eq!(fleet.states("agent"), [BreakerState::Open; 3]);
    assert!(fleet.handles.iter().all(|task| !task.is_finished()));
}

#[tokio::test(start_paused = true)]
async fn what_an_operator_forces_stays_where_it_was_forced() {
    let fleet = fleet(SharingPolicy::default());
    fleet.processes[0].breaker("agent").force_open();
    sleep(TURN).await;
    assert_eq!(fleet.states("agent")[1..], [BreakerState::Closed; 2]);
    fleet.processes[2].breaker("agent").force_closed();
    fleet.trip(1, "agent");
    sleep(TURN).await;
    use BreakerState::{ForcedClosed, ForcedOpen, Open};
    assert_eq!(fleet.states("agent"), [ForcedOpen, Open, ForcedClosed]);
}

#[test]
fn spans_of_nothing_are_refused() {
    let (zero, one) = (Duration::ZERO, Duration::from_secs(1));
    assert!(SharingPolicy::new(zero, one).is_err() && SharingPolicy::new(one, zero).is_err());
    let policy = SharingPolicy::new(one, one).unwrap().with_limit(3);
    assert_eq!((policy.limit(), policy.keep_closed()), (3, one * 4));
}

#[test]
fn a_notice_travels_and_says_what_it_is() {
    let notice = BreakerNotice {
        name: "agent".into(),
        origin: 255,
        sequence: 3,
        finding: Finding::Open,
        left: Duration::from_secs(2),
    };
    let sent = serde_json::to_string(&notice).unwrap();
    assert_eq!(
        serde_json::from_str::<BreakerNotice>(&sent).unwrap(),
        notice
    );
    assert_eq!(
        format!("{notice:?}"),
        r#""agent" is Open for 2s, says ff#3"#
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_store_makes_up_neither_panics_nor_keeps_anybody_away_for_long() {
    let fleet = fleet(SharingPolicy::default());
    for (name, finding) in [("a", Finding::Open), ("b", Finding::Closed)] {
        let notice = BreakerNotice {
            name: name.into(),
            origin: 1,
            sequence: u64::MAX,
            finding,
            left: Duration::MAX,
        };
        fleet.store.publish(&notice).await.unwrap();
    }
    sleep(TURN).await;
    assert_eq!(fleet.states("a"), [BreakerState::Open; 3]);
    assert_eq!(fleet.states("b"), [BreakerState::Closed; 3]);
    for breakers in &fleet.processes {
        let left = breakers.breaker("a").open_left().unwrap();
        assert!(left <= Duration::from_secs(8), "{left:?}");
    }
}
