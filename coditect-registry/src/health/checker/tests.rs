//! A checker over a memory registry, in paused time.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::*;
use crate::{
    AgentRecord, Capability, Incarnation, MemoryRegistry, Registration, RoundRobin, Standing,
};

const TTL: Duration = Duration::from_secs(3600);

/// Answers for all but those who are said to be silent, cut off, or to make the probe panic.
#[derive(Debug, Default)]
struct Scripted {
    silent: Mutex<HashSet<String>>,
    broken: Mutex<HashSet<String>>,
    asked: Mutex<Vec<(Instant, String)>>,
}

#[async_trait]
impl Probe for Scripted {
    async fn probe(&self, record: &AgentRecord) -> Answer {
        let agent = record.agent().to_string();
        self.asked.lock().push((Instant::now(), agent.clone()));
        assert!(!self.broken.lock().contains(&agent), "the probe is broken");
        if self.silent.lock().contains(&agent) {
            std::future::pending::<()>().await;
        }
        Answer::Alive
    }
}

struct Bench {
    registry: Arc<MemoryRegistry>,
    view: View,
    probe: Arc<Scripted>,
    registrations: Vec<Registration>,
    checker: Checker,
}

async fn bench(agents: usize, policy: CheckPolicy) -> Bench {
    let registry = Arc::new(MemoryRegistry::new());
    let mut registrations = Vec::new();
    for i in 0..agents {
        let work = Capability::new("work", semver::Version::new(1, 0, 0)).unwrap();
        let id = format!("a{i}").parse().unwrap();
        let record = AgentRecord::new(id, Incarnation::fresh()).with_capabilities([work]);
        registrations.push(registry.register(record, TTL).await.unwrap());
    }
    let view = View::follow(Arc::clone(&registry) as _).await.unwrap();
    let probe = Arc::new(Scripted::default());
    let checker = Checker::start(
        view.clone(),
        Arc::clone(&registry) as _,
        Arc::clone(&probe) as _,
        policy,
    );
    Bench {
        registry,
        view,
        probe,
        registrations,
        checker,
    }
}

impl Bench {
    fn standing(&self, agent: usize) -> Standing {
        let instance = &self.registrations[agent].instance;
        self.view.candidate(instance).unwrap().record().standing()
    }

    /// Waits until the view shows an agent in this standing.
    async fn until(&self, agent: usize, standing: Standing) {
        loop {
            let changed = self.view.changed();
            if self.standing(agent) == standing {
                return;
            }
            changed.await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_silent_is_evicted_everywhere_and_comes_back_when_it_answers() {
    let bench = bench(3, CheckPolicy::default()).await;
    let elsewhere = View::follow(Arc::clone(&bench.registry) as _)
        .await
        .unwrap();
    bench.probe.silent.lock().insert("a1".into());
    let lost = elsewhere
        .candidate(&bench.registrations[1].instance)
        .unwrap()
        .lost();
    let began = Instant::now();
    bench.until(1, Standing::Degraded).await;
    bench.until(1, Standing::Evicted).await;
    // Three rounds of 3.75 to 6.25 seconds, and 2 seconds for each answer.
    assert!(
        began.elapsed() < Duration::from_secs(25),
        "{:?}",
        began.elapsed()
    );
    lost.await;
    let evicted = elsewhere
        .candidate(&bench.registrations[1].instance)
        .unwrap()
        .record();
    let reason = evicted.reason().unwrap();
    assert_eq!(reason.text(), "3 probes missed in a row: silent for 2s");
    let chosen: HashSet<_> = (0..10)
        .filter_map(|i| elsewhere.pick(&"work".parse().unwrap(), &RoundRobin, i))
        .map(|picked| picked.instance().agent.to_string())
        .collect();
    assert_eq!(chosen, HashSet::from(["a0".into(), "a2".into()]));
    assert_eq!(
        (bench.standing(0), bench.standing(2)),
        (Standing::Ready, Standing::Ready)
    );

    bench.probe.silent.lock().clear();
    bench.until(1, Standing::Ready).await;
    bench.checker.close().await;
    let asked = bench.probe.asked.lock().len();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(
        bench.probe.asked.lock().len(),
        asked,
        "nobody asks any more"
    );
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_panics_says_nothing_of_the_agent() {
    let bench = bench(2, CheckPolicy::default()).await;
    bench.probe.broken.lock().insert("a0".into());
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(bench.standing(0), Standing::Ready);
    let asked = bench.probe.asked.lock().clone();
    let of = |agent: &str| asked.iter().filter(|(_, asked)| asked == agent).count();
    assert!(
        (19..=33).contains(&of("a0")) && (19..=33).contains(&of("a1")),
        "{} {}",
        of("a0"),
        of("a1")
    );
}

#[tokio::test(start_paused = true)]
async fn probes_are_spread_over_the_interval_and_newcomers_are_asked_too() {
    let bench = bench(200, CheckPolicy::default()).await;
    let began = Instant::now();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let first = bench.probe.asked.lock().clone();
    let seconds: Vec<usize> = (0..5)
        .map(|second| {
            first
                .iter()
                .filter(|(at, _)| (*at - began).as_secs() == second)
                .count()
        })
        .collect();
    assert!(seconds.iter().all(|&probes| probes > 10), "{seconds:?}");

    let late = AgentRecord::new("late".parse().unwrap(), Incarnation::fresh());
    bench.registry.register(late, TTL).await.unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(
        bench
            .probe
            .asked
            .lock()
            .iter()
            .any(|(_, asked)| asked == "late")
    );
}
