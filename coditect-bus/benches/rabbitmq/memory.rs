//! Whether memory stays flat: a long flow of messages, published, consumed and acknowledged.

use coditect_bus::{MessageBus, RabbitMqBus};
use tokio::time::Instant;

use super::{from, publish, queue};

/// Messages before the first look, while pools and buffers find their size, and until the last.
const WARM_UP: usize = 40_000;
const MESSAGES: usize = 200_000;

pub(crate) async fn measure(bus: &RabbitMqBus) {
    flow(bus, WARM_UP).await;
    let (before, start) = (resident(), Instant::now());
    let mut highest = before;
    for _ in 0..10 {
        flow(bus, MESSAGES / 10).await;
        highest = highest.max(resident());
    }
    let rate = MESSAGES as f64 / start.elapsed().as_secs_f64();
    println!(
        "{MESSAGES} messages, resident memory: {} KiB before, {} KiB at the end, {} KiB at most; {rate:.0} messages/s",
        before.unwrap_or(0),
        resident().unwrap_or(0),
        highest.unwrap_or(0),
    );
}

async fn flow(bus: &RabbitMqBus, count: usize) {
    let mut consumer = bus.subscribe(from("tasks")).await.unwrap();
    let publisher = {
        let bus = bus.clone();
        tokio::spawn(async move { publish(&bus, &queue("tasks").into(), count).await })
    };
    for _ in 0..count {
        // It is on its way; what became of it shows in the next rounds, which would see it again.
        drop(consumer.recv().await.unwrap().ack());
    }
    publisher.await.unwrap();
}

/// The resident memory of this process in KiB, where the system tells it.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}
