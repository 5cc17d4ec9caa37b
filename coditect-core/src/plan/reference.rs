//! Typed references to what a task will answer with, and how they become inputs.

use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;

use super::spec::{self, Binding};

/// Stands for a value of type `T` that a task of the same plan will answer with.
///
/// Wiring a reference into an input of another type does not compile:
///
/// ```compile_fail
/// use coditect_core::{Call, Plan};
///
/// const FETCH: Call<String, String> = Call::new("fetch");
/// const SQUARE: Call<u64, u64> = Call::new("square");
/// let mut plan = Plan::builder();
/// let page = plan.task("fetch", &FETCH, "https://example.org".to_owned());
/// plan.task("square", &SQUARE, page); // a page is no number
/// ```
pub struct TaskRef<T> {
    binding: Binding,
    /// The builder that made it.
    plan: u64,
    value: PhantomData<fn() -> T>,
}

impl<T> TaskRef<T> {
    pub(crate) fn of_task(plan: u64, position: u32) -> Self {
        Self {
            binding: Binding::Task(position),
            plan,
            value: PhantomData,
        }
    }

    pub(crate) fn of_value(plan: u64, binding: Binding) -> Self {
        Self {
            binding,
            plan,
            value: PhantomData,
        }
    }

    /// The task's position in the plan; none for a plain value.
    pub(crate) fn position(&self) -> Option<u32> {
        match self.binding {
            Binding::Task(position) => Some(position),
            _ => None,
        }
    }

    pub(crate) fn binding(&self) -> &Binding {
        &self.binding
    }

    pub(crate) fn plan(&self) -> u64 {
        self.plan
    }
}

impl<T> Clone for TaskRef<T> {
    fn clone(&self) -> Self {
        Self {
            binding: self.binding.clone(),
            plan: self.plan,
            value: PhantomData,
        }
    }
}

impl<T> fmt::Debug for TaskRef<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TaskRef").field(&self.binding).finish()
    }
}

/// What a task's input of type `T` can be made of: a value, a reference, a list or a tuple of
/// references.
///
/// References make the task depend on the tasks that they stand for. In a list, tasks that did not
/// succeed are left out (which happens only where the task runs [whatever its upstreams'
/// fate](super::TaskSettings::run_after_failure)); elsewhere they are `null`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no input of type `{T}`",
    label = "expected a `{T}`, or what stands for one in a plan",
    note = "an input is a value of the very type, such as a `String` where a `&str` is at hand, a `TaskRef` of it, or a `Vec` or tuple of `TaskRef`s where it is a `Vec` or tuple"
)]
pub trait IntoInput<T> {
    #[doc(hidden)]
    fn into_input(self) -> Input;
}

/// An input on its way into a plan.
#[doc(hidden)]
#[derive(Debug)]
pub struct Input {
    pub(crate) binding: Result<Binding, serde_json::Error>,
    pub(crate) plans: Vec<u64>,
}

impl<T> From<TaskRef<T>> for Input {
    fn from(reference: TaskRef<T>) -> Self {
        Self {
            binding: Ok(reference.binding),
            plans: vec![reference.plan],
        }
    }
}

impl Input {
    fn list(references: impl Iterator<Item = Self>, list: fn(Vec<Binding>) -> Binding) -> Self {
        let mut plans = Vec::new();
        let binding = references
            .map(|input| {
                plans.extend(input.plans);
                input.binding
            })
            .collect::<Result<Vec<_>, _>>()
            .map(list);
        plans.dedup();
        Self { binding, plans }
    }
}

impl<T: Serialize> IntoInput<T> for T {
    fn into_input(self) -> Input {
        Input {
            binding: spec::encode(&self).map(Binding::Value),
            plans: Vec::new(),
        }
    }
}

impl<T> IntoInput<T> for TaskRef<T> {
    fn into_input(self) -> Input {
        self.into()
    }
}

impl<T> IntoInput<T> for &TaskRef<T> {
    fn into_input(self) -> Input {
        self.clone().into()
    }
}

impl<T> IntoInput<Vec<T>> for Vec<TaskRef<T>> {
    fn into_input(self) -> Input {
        Input::list(self.into_iter().map(Input::from), Binding::List)
    }
}

impl<T> IntoInput<Vec<T>> for &[TaskRef<T>] {
    fn into_input(self) -> Input {
        Input::list(self.iter().cloned().map(Input::from), Binding::List)
    }
}

macro_rules! tuple_input {
    ($($name:ident),+) => {
        impl<$($name),+> IntoInput<($($name,)+)> for ($(TaskRef<$name>,)+) {
            #[allow(non_snake_case, reason = "type parameters name the fields")]
            fn into_input(self) -> Input {
                let ($($name,)+) = self;
                Input::list([$(Input::from($name)),+].into_iter(), Binding::Tuple)
            }
        }
    };
}
tuple_input!(A, B);
tuple_input!(A, B, C);
tuple_input!(A, B, C, D);
