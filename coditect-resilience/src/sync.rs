//! What threads share: the real thing, or loom's stand-ins where every order of steps is tried.

#[cfg(all(test, loom))]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(all(test, loom)))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(all(test, loom))]
use loom::sync::{Mutex as Inner, MutexGuard as Guard};
#[cfg(not(all(test, loom)))]
use parking_lot::{Mutex as Inner, MutexGuard as Guard};

/// A lock that is held for a few steps and never across an await.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(Inner<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Inner::new(value))
    }

    pub(crate) fn lock(&self) -> Guard<'_, T> {
        #[cfg(all(test, loom))]
        return self
            .0
            .lock()
            .expect("loom ends the test at the first panic");
        #[cfg(not(all(test, loom)))]
        self.0.lock()
    }
}
