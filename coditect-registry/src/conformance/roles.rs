//! Rule 17: what one process at a time does for all.

use std::time::Duration;

use super::support::{LONG, SHORT, Subject, assert_refused, pass, record};
use crate::{ErrorKind, FencingToken, Incarnation, MAX_TTL, Role};

fn role(name: &str) -> Role {
    name.parse().expect("a valid name")
}

impl Subject {
    async fn elect(
        &self,
        name: &str,
        candidate: Incarnation,
        ttl: Duration,
    ) -> Option<FencingToken> {
        let elected = self.registry.elect(&role(name), candidate, ttl).await;
        elected.expect("elect")
    }

    async fn resign(&self, name: &str, candidate: Incarnation) {
        let resigned = self.registry.resign(&role(name), candidate).await;
        resigned.expect("resign");
    }
}

/// The first who asks plays the role and keeps it; another role is another's to have.
pub async fn r17_a_role_is_given_to_one_candidate(subject: Subject) {
    let (first, second) = (Incarnation::fresh(), Incarnation::fresh());
    let token = subject.elect("checker", first, LONG).await;
    assert!(token.is_some());
    for _ in 0..2 {
        assert_eq!(subject.elect("checker", second, LONG).await, None);
        assert_eq!(subject.elect("checker", first, LONG).await, token);
    }
    assert!(subject.elect("sweeper", second, LONG).await > token);
    assert_eq!(subject.elect("sweeper", first, LONG).await, None);
    assert!(subject.records().await.is_empty(), "a role is no agent");
}

/// Whose time is over is followed by the next who asks, under a greater token; whoever asks in time stays.
pub async fn r17_a_role_is_free_when_its_time_is_over(subject: Subject) {
    let (first, second) = (Incarnation::fresh(), Incarnation::fresh());
    // So long that a slow machine is not late for it.
    let term = 3 * SHORT;
    let token = subject.elect("checker", first, term).await;
    for _ in 0..4 {
        pass(SHORT).await;
        assert_eq!(subject.elect("checker", first, term).await, token);
        assert_eq!(subject.elect("checker", second, term).await, None);
    }
    pass(term + SHORT).await;
    let registered = subject.registered(record("writer"), LONG).await;
    let later = subject.elect("checker", second, LONG).await;
    assert!(later > Some(registered.token) && Some(registered.token) > token);
    assert_eq!(subject.elect("checker", first, LONG).await, None);
}

/// Who resigns is followed at once; what somebody else says about it changes nothing.
pub async fn r17_only_the_holder_can_resign(subject: Subject) {
    let (first, second) = (Incarnation::fresh(), Incarnation::fresh());
    subject.resign("checker", first).await;
    let token = subject.elect("checker", first, LONG).await;
    subject.resign("checker", second).await;
    subject.resign("sweeper", first).await;
    assert_eq!(subject.elect("checker", second, LONG).await, None);
    subject.resign("checker", first).await;
    assert!(subject.elect("checker", second, LONG).await > token);
    subject.resign("checker", first).await;
    assert_eq!(subject.elect("checker", first, LONG).await, None);
    for ttl in [Duration::ZERO, 2 * MAX_TTL] {
        let refused = subject.registry.elect(&role("checker"), second, ttl).await;
        assert_refused(refused, ErrorKind::Invalid);
    }
}
