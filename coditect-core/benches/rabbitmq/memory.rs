//! What a coordinator and a worker have grown to after many tasks.

use coditect_harness::RabbitMq;

use super::{Pair, usage};

/// Tasks of one run.
const RUN: usize = 2_000;
/// When a look is taken: early, half-way and at the end.
const LOOKS: [usize; 3] = [20_000, 100_000, 200_000];

pub(crate) async fn measure(broker: &RabbitMq) {
    let vhost = broker.vhost().await.unwrap();
    let pair = Pair::start(&vhost).await;
    let mut done = 0;
    for look in LOOKS {
        while done < look {
            pair.run(RUN).await;
            done += RUN;
        }
        println!(
            "resident after {done:>6} tasks: coordinator {:.1} MiB, worker {:.1} MiB",
            usage::resident(std::process::id()) as f64 / 1024.0,
            usage::resident(pair.worker.id()) as f64 / 1024.0,
        );
    }
    pair.end().await;
}
