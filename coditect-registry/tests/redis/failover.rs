//! More than one server: a master that dies, and a cluster whose nodes share the slots.

use std::net::TcpListener;
use std::time::Duration;

use coditect_harness::{Redis, required};
use coditect_registry::{ErrorKind, Registry, View};
use tokio::time::{Instant, sleep, timeout};

use super::route::lives;
use super::support::*;

/// Asks a server again and again until its answer has all of these parts.
async fn until_says(redis: &Redis, command: &[&str], parts: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = redis.cli(command).await.unwrap_or_default();
        if parts.iter().all(|part| said.contains(part)) {
            return;
        }
        assert!(Instant::now() < deadline, "{command:?}: {said}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_master_that_dies_is_followed_to_the_replica_that_takes_over() {
    let Some(master) = server().await else {
        return;
    };
    let place = master.place().replace(':', " ");
    let replica = Redis::options().with_setting(format!("replicaof {place}"));
    let replica = replica.start().await.unwrap();
    until_says(&replica, &["INFO", "replication"], &["link_status:up"]).await;
    let sentinel = Redis::options()
        .as_sentinel_of(&master, "main")
        .with_setting("sentinel down-after-milliseconds main 500")
        .with_setting("sentinel failover-timeout main 3000");
    let sentinel = sentinel.start().await.unwrap();
    let (_, port) = replica.place().split_once(':').unwrap();
    until_says(&sentinel, &["SENTINEL", "REPLICAS", "main"], &[port]).await;

    let url = format!("redis+sentinel://{}/main", sentinel.place());
    let registry = connect(&url).await;
    let view = View::follow(connect(&url).await).await.unwrap();
    let registration = registry.register(record("writer"), LONG).await.unwrap();
    until_says(&replica, &["DBSIZE"], &["7"]).await;
    master.kill().await.unwrap();
    // Calls are repeated for some time; until the sentinel has decided they may run out of it.
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = renew(&registry, &registration).await {
        assert!(error.is_retryable(), "{error:?}");
        assert!(Instant::now() < deadline, "{error:?}");
    }
    until_says(&replica, &["ROLE"], &["master"]).await;
    let later = registry.register(record("later"), LONG).await.unwrap();
    assert!(later.token > registration.token);
    loop {
        let changed = view.changed();
        if view.candidate(&later.instance).is_some() {
            break;
        }
        timeout(PATIENCE, changed).await.unwrap();
    }
    assert!(view.candidate(&registration.instance).is_some());
}

/// A node of a cluster that has no slots yet.
async fn bare_node() -> Redis {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let node = Redis::options()
        .with_setting("cluster-enabled yes")
        .with_setting(format!("cluster-port {port}"));
    node.start().await.unwrap()
}

#[tokio::test]
async fn in_a_cluster_each_namespace_is_found_on_the_node_that_has_its_slot() {
    let Some(first) = required(Redis::options().with_cluster().start()).await else {
        return;
    };
    let second = bare_node().await;
    let upper = ["8192", "16383"];
    first
        .cli(&["CLUSTER", "DELSLOTSRANGE", upper[0], upper[1]])
        .await
        .unwrap();
    second
        .cli(&["CLUSTER", "ADDSLOTSRANGE", upper[0], upper[1]])
        .await
        .unwrap();
    let bus_port = first.cli(&["CONFIG", "GET", "cluster-port"]).await.unwrap();
    let bus_port = bus_port.lines().last().unwrap().to_owned();
    let (host, port) = first.place().split_once(':').unwrap();
    second
        .cli(&["CLUSTER", "MEET", host, port, &bus_port])
        .await
        .unwrap();
    let whole = ["cluster_state:ok", "slots_assigned:16384", "known_nodes:2"];
    for node in [&first, &second] {
        until_says(node, &["CLUSTER", "INFO"], &whole).await;
    }
    let mut kept = [0; 2];
    for number in 0..8 {
        let namespace = format!("ns{number}");
        let tag = format!("coditect:{namespace}");
        let slot = first.cli(&["CLUSTER", "KEYSLOT", &tag]).await.unwrap();
        let on_second = slot.parse::<u32>().unwrap() >= 8192;
        let url = format!("redis+cluster://{}", first.place());
        lives(builder(url).with_namespace(&namespace)).await;
        let node = if on_second { &second } else { &first };
        let pattern = format!("{{{tag}}}:*");
        let keys = node.cli(&["KEYS", &pattern]).await.unwrap();
        assert!(keys.contains(":registry:meta"), "{namespace}: {keys}");
        kept[usize::from(on_second)] += 1;
    }
    assert!(kept.iter().all(|&namespaces| namespaces > 0), "{kept:?}");
    let nowhere = builder("redis+cluster://127.0.0.1:1").connect().await;
    assert_eq!(nowhere.unwrap_err().kind(), ErrorKind::Unavailable);
}
