//! Every order in which threads can be let in while the limit moves.

use loom::thread;

use super::*;

#[test]
fn no_more_are_let_in_than_the_limit_allows() {
    loom::model(|| {
        let limiter = ConcurrencyLimiter::new(AdaptivePolicy::fixed(1).unwrap());
        let now = Instant::now();
        let other = {
            let limiter = limiter.clone();
            thread::spawn(move || limiter.acquire_at(0, now).ok())
        };
        let mine = limiter.acquire_at(0, now).ok();
        let theirs = other.join().unwrap();
        assert!(mine.is_some() != theirs.is_some(), "one of the two");
        drop((mine, theirs));
        assert_eq!(limiter.in_flight(), 0);
    });
}

#[test]
fn a_limit_that_moves_meanwhile_stays_what_the_machine_says() {
    loom::model(|| {
        let limiter = ConcurrencyLimiter::new(AdaptivePolicy::new(1, 10, 20).unwrap());
        let now = Instant::now();
        let other = {
            let limiter = limiter.clone();
            thread::spawn(move || limiter.acquire_at(0, now).unwrap().overload())
        };
        limiter.acquire_at(0, now).unwrap().overload();
        other.join().unwrap();
        assert_eq!(limiter.limit(), limiter.inner.machine.lock().limit());
        assert_eq!((limiter.limit(), limiter.in_flight()), (8, 0));
    });
}
