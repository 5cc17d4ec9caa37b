//! Typed references to what some agent can do.

use std::fmt;
use std::marker::PhantomData;

/// Names a capability together with the types that its agents take and answer with.
///
/// The name may carry a version requirement: `summarize`, `summarize@^1.2`. The types are what the
/// compiler checks wherever the call is used; nothing of them crosses the wire but JSON.
///
/// # Examples
///
/// ```
/// use coditect_core::Call;
///
/// const COUNT: Call<String, usize> = Call::new("count@^1");
/// assert_eq!(COUNT.requirement(), "count@^1");
/// ```
pub struct Call<I, O> {
    requirement: CallName,
    types: PhantomData<fn(I) -> O>,
}

#[derive(Clone)]
enum CallName {
    Constant(&'static str),
    Owned(String),
}

impl<I, O> Call<I, O> {
    /// Names a capability in a constant.
    #[must_use]
    pub const fn new(requirement: &'static str) -> Self {
        Self {
            requirement: CallName::Constant(requirement),
            types: PhantomData,
        }
    }

    /// The capability's name, with a version requirement if one was given.
    #[must_use]
    pub fn requirement(&self) -> &str {
        match &self.requirement {
            CallName::Constant(name) => name,
            CallName::Owned(name) => name,
        }
    }
}

/// Names a capability whose types the compiler infers from where the call is used.
pub fn call<I, O>(requirement: impl Into<String>) -> Call<I, O> {
    Call {
        requirement: CallName::Owned(requirement.into()),
        types: PhantomData,
    }
}

impl<I, O> Clone for Call<I, O> {
    fn clone(&self) -> Self {
        Self {
            requirement: self.requirement.clone(),
            types: PhantomData,
        }
    }
}

impl<I, O> fmt::Debug for Call<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Call").field(&self.requirement()).finish()
    }
}
