//! Limits and boards in a memory store.

use coditect_state::MemoryStore;

use super::*;

fn store() -> Arc<dyn StateStore> {
    Arc::new(MemoryStore::new())
}

fn group(name: &str) -> Group {
    Group::Capability(name.into())
}

fn asks(partition: u16, token: u64, keeps: u32, wants: u32) -> Ask {
    Ask {
        partition,
        token,
        in_use: 0,
        keeps,
        wants,
    }
}

async fn one(store: &Arc<dyn StateStore>, ask: Ask) -> Result<Told, NotTold> {
    let told = super::ask(store, &[(group("render"), ask)]).await?;
    Ok(told[0])
}

fn held(told: Told) -> u32 {
    match told {
        Told::Given(given) => given.held,
        Told::Unlimited => panic!("there is a limit"),
    }
}

/// How many keys there are, but for the limits themselves and what only wakes.
async fn keys(store: &Arc<dyn StateStore>) -> usize {
    let mut count = 0;
    for kind in ["board", "of", "call"] {
        let mut tx = store.begin().await.unwrap();
        let under = subspace().child(&(kind,));
        count += tx.range_all(under.range()).await.unwrap().len();
    }
    count
}

#[tokio::test]
async fn what_processes_are_started_with_replaces_all_but_what_a_person_has_set() {
    let store = store();
    let max = async || {
        let limits = read(&*store).await.unwrap();
        limits.get(&group("render").on()).map(|kept| kept.max)
    };
    offer(&store, &[Limit::capability("render", 2)])
        .await
        .unwrap();
    assert_eq!(max().await, Some(2));
    offer(&store, &[Limit::capability("render", 3)])
        .await
        .unwrap();
    assert_eq!(max().await, Some(3));
    set(&store, &Limit::capability("render", 5)).await.unwrap();
    offer(&store, &[Limit::capability("render", 3)])
        .await
        .unwrap();
    assert_eq!(max().await, Some(5));
    assert!(lift(&store, &group("render").on()).await.unwrap());
    assert!(!lift(&store, &group("render").on()).await.unwrap());
    assert_eq!(max().await, None);
}

#[tokio::test]
async fn a_change_is_told_and_what_changes_nothing_is_not() {
    let store = store();
    let limits = [Limit::capability("render", 2)];
    let mut watch = super::watch(&*store).await.unwrap();
    offer(&store, &limits).await.unwrap();
    watch.changed().await.unwrap();
    let revision = async || {
        let mut tx = store.begin().await.unwrap();
        tx.get(&revision_key()).await.unwrap()
    };
    let before = revision().await;
    assert!(before.is_some());
    offer(&store, &limits).await.unwrap();
    assert_eq!(revision().await, before);
}

#[tokio::test]
async fn a_tenant_without_a_limit_of_its_own_has_that_of_each() {
    let store = store();
    let limits = [Limit::each_tenant(2), Limit::tenant("big", 5)];
    offer(&store, &limits).await.unwrap();
    for (tenant, max) in [("small", 2), ("big", 5)] {
        let group = Group::Tenant(tenant.into());
        let told = super::ask(&store, &[(group, asks(0, 1, 0, 9))])
            .await
            .unwrap();
        assert_eq!(held(told[0]), max);
    }
    let uses = uses(&*store).await.unwrap();
    let told: Vec<_> = uses
        .iter()
        .map(|one| (one.on.to_string(), one.max, one.held))
        .collect();
    let told: Vec<_> = told
        .iter()
        .map(|(on, max, held)| (&**on, *max, *held))
        .collect();
    assert_eq!(
        told,
        [
            ("tenant `big`", 5, 5),
            ("tenant `small`", 2, 2),
            ("each tenant", 2, 0)
        ]
    );
}

#[tokio::test]
async fn whoever_waits_calls_those_who_hold_and_is_called_when_something_is_free() {
    let store = store();
    offer(&store, &[Limit::capability("render", 2)])
        .await
        .unwrap();
    let mut watch = watch_calls(&*store, 0).await.unwrap();
    assert_eq!(held(one(&store, asks(0, 1, 0, 2)).await.unwrap()), 2);
    assert_eq!(held(one(&store, asks(1, 1, 0, 1)).await.unwrap()), 0);
    watch.changed().await.unwrap();
    assert_eq!(take_calls(&store, 0).await.unwrap(), [group("render")]);
    assert!(
        take_calls(&store, 0).await.unwrap().is_empty(),
        "it was heard"
    );
    assert_eq!(held(one(&store, asks(0, 1, 0, 0)).await.unwrap()), 0);
    assert_eq!(take_calls(&store, 1).await.unwrap(), [group("render")]);
    assert_eq!(held(one(&store, asks(1, 1, 0, 1)).await.unwrap()), 1);
    assert_eq!(held(one(&store, asks(1, 1, 0, 0)).await.unwrap()), 0);
    assert_eq!(
        keys(&store).await,
        0,
        "of whoever has nothing nothing is kept"
    );
}

#[tokio::test]
async fn the_next_owner_adopts_a_share_and_the_former_one_is_refused() {
    let store = store();
    offer(&store, &[Limit::capability("render", 4)])
        .await
        .unwrap();
    one(&store, asks(3, 7, 0, 4)).await.unwrap();
    let adopted = adopt(&store, 3, 9).await.unwrap();
    assert_eq!(adopted, [(group("render"), 4)]);
    assert!(matches!(
        one(&store, asks(3, 7, 4, 0)).await,
        Err(NotTold::Stale)
    ));
    assert!(matches!(adopt(&store, 3, 8).await, Err(NotTold::Stale)));
    assert_eq!(held(one(&store, asks(3, 9, 1, 0)).await.unwrap()), 1);
    assert!(adopt(&store, 2, 1).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_not_limited_any_more_is_forgotten() {
    let store = store();
    offer(&store, &[Limit::capability("render", 4)])
        .await
        .unwrap();
    one(&store, asks(0, 1, 0, 4)).await.unwrap();
    lift(&store, &group("render").on()).await.unwrap();
    assert_eq!(
        one(&store, asks(0, 1, 4, 0)).await.unwrap(),
        Told::Unlimited
    );
    assert_eq!(keys(&store).await, 0);
}

#[tokio::test]
async fn what_a_later_release_wrote_is_left_alone() {
    let store = store();
    let later = store.transact(|mut tx| async move {
        tx.set(&key(&("set", "colour", "red")), Bytes::from_static(b"{}"))?;
        tx.set(&key(&("of", 0_u16, "colour", "red")), Bytes::new())
    });
    later.await.unwrap();
    assert!(read(&*store).await.unwrap().is_empty());
    assert!(adopt(&store, 0, 1).await.unwrap().is_empty());
    assert!(uses(&*store).await.unwrap().is_empty());
}
