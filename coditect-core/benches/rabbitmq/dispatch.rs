//! How long a task is on its way when a thousand come in a second, each in a run of its own.

use std::time::Duration;

use coditect_harness::RabbitMq;
use tokio::task::JoinSet;

use super::{Pair, STAMP, Stamped, at_rate, now, plain, quantile, report};

const RATE: u32 = 1_000;
const DURING: Duration = Duration::from_secs(20);
/// What is left out: the first tasks, while connections and code are cold.
const WARM_UP: usize = 1_000;

pub(crate) async fn measure(broker: &RabbitMq) {
    let vhost = broker.vhost().await.unwrap();
    let by_hand = plain::Plain::connect(&vhost.url()).await;
    let mut theirs = by_hand.paced(RATE, DURING).await.split_off(WARM_UP);
    by_hand.close().await;
    let pair = Pair::start(&vhost).await;
    let mut ours = paced(&pair).await.split_off(WARM_UP);
    pair.end().await;
    println!("{RATE} tasks/s for {DURING:?}, from submission to the start of the handler");
    for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        let name = format!("dispatch {name}, µs");
        report(
            &name,
            quantile(&mut ours, share),
            quantile(&mut theirs, share),
        );
    }
}

/// How long each task was on its way, in the order of their submission.
async fn paced(pair: &Pair) -> Vec<f64> {
    let mut asking = JoinSet::new();
    at_rate(RATE, DURING, |number| {
        let runtime = pair.runtime.clone();
        let padding = "a".repeat(plain::PAYLOAD.len() - 48);
        asking.spawn(async move {
            let stamped = Stamped { at: now(), padding };
            (number, runtime.run(&STAMP, stamped).await.unwrap())
        });
    })
    .await;
    let mut took = asking.join_all().await;
    took.sort_unstable();
    took.into_iter().map(|(_, took)| took as f64).collect()
}
