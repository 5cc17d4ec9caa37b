//! What a publisher is told when many messages are in flight at once.

use coditect_bus::{Destination, Envelope, ErrorKind, MessageBus, QueueName, QueueSpec};
use futures::stream::{FuturesUnordered, StreamExt};

use super::{bus_at, vhost};

fn places(kind: &str) -> Vec<QueueName> {
    (0..8)
        .map(|number| QueueName::new(format!("{kind}{number}")).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_in_flight_is_told_its_own_fate() {
    const COUNT: usize = 16_000;
    let Some(vhost) = vhost().await else { return };
    let bus = bus_at(vhost.url()).await;
    let (there, missing) = (places("there"), places("missing"));
    for name in &there {
        bus.declare(QueueSpec::new(name.clone())).await.unwrap();
    }
    let mut publishing = FuturesUnordered::new();
    for number in 0..COUNT {
        let is_missing = number % 4 == 0;
        let names = if is_missing { &missing } else { &there };
        let to = Destination::Queue(names[number / 4 % names.len()].clone());
        let bus = &bus;
        publishing.push(async move {
            let fate = bus.publish(&to, Envelope::new("x")).await;
            (is_missing, fate.map_err(|error| error.kind()))
        });
    }
    let (mut lost, mut accused) = (0, 0);
    while let Some((is_missing, fate)) = publishing.next().await {
        match fate {
            Ok(()) => lost += usize::from(is_missing),
            Err(kind) => {
                assert_eq!(kind, ErrorKind::NoRoute);
                accused += usize::from(!is_missing);
            }
        }
    }
    drop(publishing);
    assert_eq!(
        (lost, accused),
        (0, 0),
        "lost in silence, and refused although taken"
    );
    let mut ready = 0;
    for name in &there {
        ready += bus.stats(name).await.unwrap().ready();
    }
    assert_eq!(ready, COUNT / 4 * 3);
    bus.close().await.unwrap();
}
