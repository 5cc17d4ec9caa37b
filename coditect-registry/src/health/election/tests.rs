//! Checkers that stand for election, in paused time.

use async_trait::async_trait;
use parking_lot::Mutex;

use super::*;
use crate::{AgentRecord, Answer, CheckPolicy, Checker, MemoryRegistry, Probe, View};

const LEASE: Duration = Duration::from_secs(3600);

/// Notes who asks.
struct Asked(usize, Arc<Mutex<Vec<usize>>>);

#[async_trait]
impl Probe for Asked {
    async fn probe(&self, _: &AgentRecord) -> Answer {
        self.1.lock().push(self.0);
        Answer::Alive
    }
}

struct Bench {
    registry: Arc<MemoryRegistry>,
    asked: Arc<Mutex<Vec<usize>>>,
}

async fn bench() -> Bench {
    let registry = Arc::new(MemoryRegistry::new());
    for agent in ["a", "b"] {
        let record = AgentRecord::new(agent.parse().unwrap(), Incarnation::fresh());
        registry.register(record, LEASE).await.unwrap();
    }
    Bench {
        registry,
        asked: Arc::default(),
    }
}

impl Bench {
    /// A process that stands, under a number.
    async fn process(&self, number: usize, candidate: Incarnation) -> Checker {
        let registry = Arc::clone(&self.registry) as Arc<dyn Registry>;
        let view = View::follow(Arc::clone(&registry)).await.unwrap();
        let probe = Arc::new(Asked(number, Arc::clone(&self.asked)));
        Checker::stand(view, registry, probe, CheckPolicy::default(), candidate)
    }

    /// Who asks within so many seconds, each once.
    async fn asking(&self, seconds: u64) -> Vec<usize> {
        self.asked.lock().clear();
        sleep(Duration::from_secs(seconds)).await;
        let mut asked = self.asked.lock().clone();
        asked.sort_unstable();
        asked.dedup();
        asked
    }
}

#[tokio::test(start_paused = true)]
async fn one_of_several_asks_and_when_it_ends_another() {
    let bench = bench().await;
    let mut checkers = Vec::new();
    for number in 0..3 {
        checkers.push(Some(bench.process(number, Incarnation::fresh()).await));
    }
    for left in (1..=3).rev() {
        let asking = bench.asking(60).await;
        assert_eq!(asking.len(), 1, "{left} stand: {asking:?}");
        // Two agents, each asked about every five seconds.
        let probes = bench.asked.lock().len();
        assert!((18..=34).contains(&probes), "{probes} probes");
        let ended = checkers[asking[0]].take().expect("it asks");
        ended.close().await;
        let next = bench.asking(12).await;
        assert_eq!(next.len(), usize::from(left > 1), "{left} stood: {next:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_dies_is_followed_when_its_term_is_over() {
    let bench = bench().await;
    let term = CheckPolicy::default().term();
    let role = Role::of_checker();
    // It is never heard of again.
    let dead = Incarnation::fresh();
    let elected = bench.registry.elect(&role, dead, term).await;
    assert!(elected.unwrap().is_some());
    let _first = bench.process(1, Incarnation::fresh()).await;
    let _second = bench.process(2, Incarnation::fresh()).await;
    assert!(bench.asking(term.as_secs() - 1).await.is_empty());
    assert_eq!(bench.asking(term.as_secs() / 2 + 7).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_has_lost_its_role_asks_no_more_and_comes_back_when_it_can() {
    let bench = bench().await;
    let (role, term) = (Role::of_checker(), CheckPolicy::default().term());
    let (former, other) = (Incarnation::fresh(), Incarnation::fresh());
    let checker = bench.process(1, former).await;
    assert_eq!(bench.asking(20).await, [1]);
    bench.registry.resign(&role, former).await.unwrap();
    let elected = bench.registry.elect(&role, other, 6 * term).await;
    assert!(elected.unwrap().is_some());
    // It finds out when it asks to keep the role.
    sleep(term / 3).await;
    assert!(bench.asking(30).await.is_empty());
    bench.registry.resign(&role, other).await.unwrap();
    assert_eq!(bench.asking(20).await, [1]);
    checker.close().await;
    let free = bench.registry.elect(&role, other, term).await;
    assert!(free.unwrap().is_some(), "who ends resigns");
}
