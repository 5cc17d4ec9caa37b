//! What one pick costs among 10, 1,000 and 10,000 agents, and what an agent costs in memory.
//!
//! Each figure is the median of several runs and stands beside a bare `agents[i % n]` with a clone of its `Arc`, measured in
//! the same run. A pick includes the look-up, the choice, the in-flight guard and its end.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use coditect_registry::{
    AgentRecord, Capability, Incarnation, LeastConnections, Load, MemoryRegistry,
    PowerOfTwoChoices, Registration, Registry, Requirement, RoundRobin, Selector, View, Weight,
    Weighted,
};
use tokio::time::Instant;

// Rounds are short, so that most fall between two switches of a busy machine, and the median is not about its neighbours.
const PICKS: u64 = 1_000;
const ROUNDS: u64 = 501;
const TTL: Duration = Duration::from_secs(3600);

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Outcome {
    // First, while no memory of another measurement can be used again.
    memory(10_000).await?;
    println!(
        "{:>7}  {:<20} {:>10} {:>14}",
        "agents", "selector", "ns/pick", "× bare index"
    );
    for agents in [10, 1_000, 10_000] {
        selection(agents).await?;
    }
    changes(10_000).await
}

/// Prints what a pick costs with each selector.
async fn selection(agents: usize) -> Outcome {
    let (_registry, view, _registrations) = filled(agents).await?;
    let requirement: Requirement = "work@^1".parse()?;
    let records = view.records();
    let bare = median(|i| {
        black_box(Arc::clone(&records[i as usize % records.len()]));
    });
    println!(
        "{agents:>7}  {:<20} {bare:>10.1} {:>14.1}",
        "(bare index)", 1.0
    );
    for selector in [
        &RoundRobin as &dyn Selector,
        &Weighted,
        &PowerOfTwoChoices,
        &LeastConnections,
    ] {
        let pick = median(|i| {
            black_box(view.pick(&requirement, selector, spread(i)));
        });
        println!(
            "{agents:>7}  {:<20} {pick:>10.1} {:>14.1}",
            format!("{selector:?}"),
            pick / bare
        );
    }
    // With work in flight everywhere, so that the loads differ and change.
    let mut window = std::collections::VecDeque::new();
    for i in 0..3 * agents as u64 {
        window.push_back(view.pick(&requirement, &LeastConnections, spread(i)));
    }
    let loaded = median(|i| {
        window.push_back(view.pick(&requirement, &LeastConnections, spread(i)));
        window.pop_front();
    });
    println!(
        "{agents:>7}  {:<20} {loaded:>10.1} {:>14.1}",
        "… 3 tasks at each",
        loaded / bare
    );
    Ok(())
}

/// Prints what the registry, and then a view, keep for each agent.
async fn memory(agents: usize) -> Outcome {
    let before = resident()?;
    let registry = Arc::new(MemoryRegistry::new());
    let registrations = register(&registry, agents).await?;
    let registered = resident()?;
    let view = View::follow(Arc::clone(&registry) as _).await?;
    drop(view.pick(&"work@^1".parse()?, &LeastConnections, 0));
    let viewed = resident()?;
    let per_agent = |bytes: u64| bytes as f64 / agents as f64;
    println!(
        "bytes per registered agent: {:.0}",
        per_agent(registered.saturating_sub(before))
    );
    println!(
        "bytes per agent in a view:  {:.0}",
        per_agent(viewed.saturating_sub(registered))
    );
    drop(registrations);
    Ok(())
}

/// Prints what a heartbeat costs the registry together with the view that hears of it.
async fn changes(agents: usize) -> Outcome {
    let (registry, view, registrations) = filled(agents).await?;
    drop(view.pick(&"work@^1".parse()?, &LeastConnections, 0));
    let started = Instant::now();
    for round in 1..=5 {
        for (i, registration) in registrations.iter().enumerate() {
            let load = Load::new(round + i as u32 % 7, 64);
            registry
                .renew(registration, load, coditect_registry::Health::Ready)
                .await?;
        }
        while view.sequence() < registry.sequence() {
            tokio::task::yield_now().await;
        }
    }
    let each = started.elapsed().as_nanos() as f64 / (5 * agents) as f64;
    println!("renewal with a new load, heard by a view: {each:.0} ns");
    Ok(())
}

async fn filled(agents: usize) -> Outcome<(Arc<MemoryRegistry>, View, Vec<Registration>)> {
    let registry = Arc::new(MemoryRegistry::new());
    let registrations = register(&registry, agents).await?;
    let view = View::follow(Arc::clone(&registry) as _).await?;
    Ok((registry, view, registrations))
}

async fn register(registry: &MemoryRegistry, agents: usize) -> Outcome<Vec<Registration>> {
    let mut registrations = Vec::with_capacity(agents);
    for i in 0..agents {
        let capabilities = ["work", "rest", "think", "write", "read"]
            .map(|name| Capability::new(name, semver::Version::new(1, 2, 0)));
        let record = AgentRecord::new(format!("agent-{i}").parse()?, Incarnation::fresh())
            .with_capabilities(capabilities.into_iter().collect::<Result<Vec<_>, _>>()?)
            .with_endpoint(format!("10.0.{}.{}:4100", i / 256, i % 256))
            .with_weight(Weight::new(1 + i as u32 % 4)?)
            .with_load(Load::idle(64))
            .with_label("zone", format!("zone-{}", i % 3));
        registrations.push(registry.register(record, TTL).await?);
    }
    Ok(registrations)
}

/// The median over the rounds of the nanoseconds that one call takes.
fn median(mut call: impl FnMut(u64)) -> f64 {
    let mut round = |round: u64| {
        let started = Instant::now();
        (round * PICKS..(round + 1) * PICKS).for_each(&mut call);
        started.elapsed().as_nanos() as f64 / PICKS as f64
    };
    (0..ROUNDS / 10).for_each(|warm_up| {
        round(warm_up);
    });
    let mut rounds: Vec<f64> = (0..ROUNDS).map(round).collect();
    rounds.sort_unstable_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

/// Numbers that look random, as cheap as can be (the first step of SplitMix64).
fn spread(i: u64) -> u64 {
    let mixed = i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93)
}

/// The resident memory of this process in bytes (Linux).
fn resident() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .ok_or("no VmRSS")?;
    let kilobytes: u64 = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
    Ok(kilobytes * 1024)
}
