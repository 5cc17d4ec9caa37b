//! What stands before the gates of a partition, and what is kept of it.

use super::*;
use crate::limit::kept::Kept;
use crate::limit::{Limit, LimitOn};

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000 + millis)
}

fn given(held: u32) -> Given {
    Given {
        held,
        part: held,
        ..Given::default()
    }
}

fn with(limits: &[Limit]) -> Gates {
    let kept = |limit: &Limit| Kept {
        max: limit.max(),
        is_set: false,
    };
    let limits: BTreeMap<LimitOn, Kept> = limits
        .iter()
        .map(|limit| (limit.on().clone(), kept(limit)))
        .collect();
    let mut gates = Gates::default();
    gates.set(Arc::new(Known::of(&limits)), 1);
    gates.adopt(Vec::new());
    gates
}

/// Has all gates looked at, before which nothing waits, and answers them.
fn settle(gates: &mut Gates, now: Timestamp) {
    for group in gates.take_dirty(now) {
        if let Plan::Ask { keeps, .. } = gates.plan(&group, 0, now) {
            gates.told(&group, given(keeps), now);
        }
    }
}

#[test]
fn of_ten_thousand_tenants_that_have_come_and_gone_nothing_is_kept() {
    let mut gates = with(&[Limit::each_tenant(1)]);
    let tenants: Vec<Arc<str>> = (0..10_000).map(|it| format!("t{it}").into()).collect();
    for tenant in &tenants {
        assert!(!gates.admits_tenant(tenant, at(0)));
        gates.block(tenant, Class(0));
    }
    for group in gates.take_dirty(at(0)) {
        assert!(matches!(
            gates.plan(&group, 1, at(0)),
            Plan::Ask { wants: 1, .. }
        ));
        gates.told(&group, given(1), at(0));
    }
    assert_eq!(gates.unblock(at(0)).len(), tenants.len());
    for tenant in &tenants {
        assert!(gates.admits_tenant(tenant, at(1)));
        let groups = gates.groups("work", tenant);
        gates.enter(&groups);
        assert!(!gates.admits_tenant(tenant, at(1)));
        gates.leave(&groups);
    }
    let mut now = 2;
    while !gates.gates.is_empty() {
        settle(&mut gates, at(now));
        now += 500;
        assert!(now < 10_000, "{} gates are kept", gates.gates.len());
    }
    assert!(gates.timers.is_empty() && gates.wakes.is_empty());
    assert!(gates.dirty.is_empty() && gates.blocked.is_empty());
}

#[test]
fn a_gate_is_looked_at_again_once_however_often_something_happens() {
    let mut gates = with(&[Limit::capability("work", 4)]);
    let groups = gates.groups("work", &"one".into());
    gates.enter(&groups);
    settle(&mut gates, at(0));
    for now in 1..500 {
        gates.leave(&groups);
        settle(&mut gates, at(now));
        gates.enter(&groups);
        settle(&mut gates, at(now));
        assert!(gates.timers.len() <= 1 && gates.wakes.len() <= 1);
    }
}

#[test]
fn a_tenant_without_room_stands_nowhere_until_there_is_some_or_no_limit() {
    let tenant: Arc<str> = "one".into();
    let mut gates = with(&[Limit::tenant("one", 1)]);
    assert!(!gates.admits_tenant(&tenant, at(0)));
    gates.block(&tenant, Class(3));
    gates.block(&tenant, Class(3));
    assert!(gates.unblock(at(0)).is_empty());
    gates.told(&Group::Tenant(Arc::clone(&tenant)), given(1), at(0));
    assert_eq!(
        gates.unblock(at(0)),
        [(Arc::clone(&tenant), vec![Class(3)])]
    );
    gates.enter(&gates.groups("work", &tenant));
    gates.block(&tenant, Class(3));
    gates.set(Arc::default(), 2);
    assert!(gates.admits_tenant(&tenant, at(0)));
    assert_eq!(gates.unblock(at(0)).len(), 1);
}

#[test]
fn who_would_go_on_has_room_kept_and_needs_all_shares_at_once() {
    let tenant: Arc<str> = "one".into();
    let mut gates = with(&[Limit::tenant("one", 1), Limit::capability("work", 1)]);
    let groups = gates.groups("work", &tenant);
    let place = gates.line_up(
        &groups,
        (RunId::from_uuid(uuid::Uuid::nil()), TaskId::new(0)),
    );
    let [of_tenant, of_capability]: [Group; 2] = groups
        .iter()
        .cloned()
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    gates.told(&of_tenant, given(1), at(0));
    assert!(!gates.admits_tenant(&tenant, at(0)), "room is kept");
    assert!(!gates.let_return(&groups, at(0)));
    gates.told(&of_capability, given(1), at(0));
    assert!(gates.let_return(&groups, at(0)));
    gates.leave_line(&groups, place);
    gates.enter(&groups);
    assert!(!gates.let_return(&groups, at(0)));
}
