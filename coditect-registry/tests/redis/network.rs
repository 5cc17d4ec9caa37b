//! What a network does to the registry: cuts, stalls, half-opens.

use std::time::Duration;

use coditect_harness::{Relay, seed};
use coditect_registry::{Change, ErrorKind, Filter, Health, Load, Registry, View};
use tokio::time::timeout;

use super::support::*;

#[tokio::test]
async fn a_watch_outlives_a_cut_without_missing_or_repeating_anything() {
    let Some(redis) = server().await else {
        return;
    };
    let relay = Relay::start(redis.place()).await.unwrap();
    let direct = connect(redis.url()).await;
    let watching = connect(redis.url_through(relay.addr())).await;
    let mut watch = watch(&watching).await;
    let mut last = None;
    for round in 0..10 {
        relay.cut();
        let added = direct
            .register(record(&format!("agent-{round}")), LONG)
            .await
            .unwrap();
        let event = next(&mut watch).await.unwrap();
        let Change::Added(record) = event.change else {
            panic!("started over: {event:?}");
        };
        assert_eq!(record.instance, added.instance);
        assert!(last.is_none_or(|last| event.sequence == last + 1));
        last = Some(event.sequence);
    }
}

#[tokio::test]
async fn a_connection_that_dies_silently_ends_the_watch_and_the_next_one_knows_all() {
    let Some(redis) = server().await else {
        return;
    };
    let direct = connect(redis.url()).await;
    for half_open in [true, false] {
        let relay = Relay::start(redis.place()).await.unwrap();
        let watching = connect(redis.url_through(relay.addr())).await;
        let view = View::follow(watching.clone()).await.unwrap();
        let mut watch = watch(&watching).await;
        match half_open {
            true => relay.half_open(),
            false => relay.stall(),
        }
        let missed = direct.register(record("missed"), LONG).await.unwrap();
        // Nothing tells that the connection is dead but that no answer comes.
        let heard = next(&mut watch).await;
        assert_eq!(heard, None, "over a dead connection");
        relay.resume();
        loop {
            let changed = view.changed();
            if sorted(view.records()).contains(&missed.instance) {
                break;
            }
            timeout(PATIENCE, changed).await.unwrap();
        }
        direct.deregister(&missed).await.unwrap();
    }
}

#[tokio::test]
async fn what_the_log_no_longer_tells_is_made_up_for_by_a_resync() {
    let Some(redis) = server().await else {
        return;
    };
    let relay = Relay::start(redis.place()).await.unwrap();
    let direct = connect(redis.url()).await;
    let watching = connect(redis.url_through(relay.addr())).await;
    let mut watch = watch(&watching).await;
    relay.refuse();
    let missed = direct.register(record("missed"), LONG).await.unwrap();
    redis
        .cli(&["XTRIM", &key("log"), "MAXLEN", "0"])
        .await
        .unwrap();
    let told = direct.register(record("told"), LONG).await.unwrap();
    relay.resume();
    let event = until_added(&mut watch, &missed.instance).await;
    assert!(matches!(event.change, Change::Resync(_)), "{event:?}");
    let left = direct.register(record("later"), LONG).await.unwrap();
    until_added(&mut watch, &left.instance).await;
    assert_eq!(instances(&watching).await.len(), 3);
    drop(told);
}

#[tokio::test]
async fn a_flood_of_cuts_changes_nothing_in_the_end() {
    let Some(redis) = server().await else {
        return;
    };
    let relay = Relay::start(redis.place()).await.unwrap();
    let registry = connect(redis.url_through(relay.addr())).await;
    let view = View::follow(connect(redis.url_through(relay.addr())).await)
        .await
        .unwrap();
    let cutting = relay.cut_at_random(seed(), Duration::from_millis(60));
    let mut registrations = Vec::new();
    for number in 0..60 {
        let record = record(&format!("agent-{number}"));
        registrations.push(registry.register(record, LONG).await.unwrap());
        for (index, registration) in registrations.iter().enumerate() {
            if index % 7 == number % 7 {
                let load = Load::new(number as u32, 100);
                let renewed = registry.renew(registration, load, Health::Ready).await;
                renewed.unwrap();
            }
        }
        if number % 5 == 4 {
            let left = registrations.remove(number % registrations.len());
            registry.deregister(&left).await.unwrap();
        }
    }
    drop(cutting);
    let last = registry.register(record("last"), LONG).await.unwrap();
    loop {
        let changed = view.changed();
        if sorted(view.records()).contains(&last.instance) {
            break;
        }
        timeout(PATIENCE, changed).await.unwrap();
    }
    let listed = registry.list(&Filter::all()).await.unwrap();
    let loads = |records: Vec<std::sync::Arc<coditect_registry::AgentRecord>>| {
        let mut loads: Vec<_> = records
            .iter()
            .map(|it| (it.instance.clone(), it.load.in_flight))
            .collect();
        loads.sort_unstable();
        loads
    };
    assert_eq!(loads(listed), loads(view.records()));
    assert_eq!(view.len(), registrations.len() + 1);
}

#[tokio::test]
async fn a_call_that_is_dropped_half_way_harms_no_other() {
    let Some(redis) = server().await else {
        return;
    };
    let registry = connect(redis.url()).await;
    let kept = registry.register(record("kept"), LONG).await.unwrap();
    for number in 0..50_u32 {
        let dropped = record(&format!("dropped-{number}"));
        let within = Duration::from_micros(u64::from(number) * 40);
        let _ = timeout(within, registry.register(dropped, LONG)).await;
        let _ = timeout(within, renew(&registry, &kept)).await;
        let load = Load::new(number, 100);
        registry.renew(&kept, load, Health::Ready).await.unwrap();
        let filter = Filter::all().with_agent("kept".parse().unwrap());
        assert_eq!(registry.list(&filter).await.unwrap()[0].load, load);
    }
}

#[tokio::test]
async fn what_is_closed_says_so_and_its_watches_end() {
    let Some(redis) = server().await else {
        return;
    };
    let registry = connect(redis.url()).await;
    let registration = registry.register(record("writer"), LONG).await.unwrap();
    let mut watch = watch(&registry).await;
    timeout(PATIENCE, registry.close()).await.unwrap();
    assert!(next(&mut watch).await.is_none());
    assert_eq!(
        registry.watch().await.unwrap_err().kind(),
        ErrorKind::Unavailable
    );
    assert_eq!(
        renew(&registry, &registration).await.unwrap_err().kind(),
        ErrorKind::Unavailable
    );
}
