//! The aggregators that a runtime knows by name.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde_json::value::RawValue;

use super::{ErasedAggregator, ResultAggregator, aggregator_panic, builtin};
use crate::failure::{Failure, FailureKind};

type Factory =
    Arc<dyn Fn(Option<&RawValue>) -> Result<Box<dyn ErasedAggregator>, Failure> + Send + Sync>;

/// Makes aggregators by name.
#[derive(Clone)]
pub(crate) struct AggregatorCatalogue {
    factories: BTreeMap<String, Factory>,
}

impl AggregatorCatalogue {
    /// The catalogue that every runtime starts with.
    pub(crate) fn with_builtins() -> Self {
        let mut catalogue = Self {
            factories: BTreeMap::new(),
        };
        builtin::register(&mut catalogue);
        catalogue
    }

    pub(crate) fn insert<A: ResultAggregator>(
        &mut self,
        name: impl Into<String>,
        make: impl Fn() -> A + Send + Sync + 'static,
    ) {
        self.insert_configured(name, move |_| Ok(make()));
    }

    pub(super) fn insert_configured<A: ResultAggregator>(
        &mut self,
        name: impl Into<String>,
        make: impl Fn(Option<&RawValue>) -> Result<A, serde_json::Error> + Send + Sync + 'static,
    ) {
        let name = name.into();
        let owned = name.clone();
        self.factories.insert(
            name,
            Arc::new(
                move |config| match catch_unwind(AssertUnwindSafe(|| make(config))) {
                    Ok(Ok(aggregator)) => Ok(Box::new(aggregator) as Box<dyn ErasedAggregator>),
                    Err(panic) => Err(aggregator_panic(&*panic)),
                    Ok(Err(error)) => Err(Failure::new(
                        FailureKind::InvalidPlan,
                        format!("the configuration of aggregator `{owned}` is wrong: {error}"),
                    )),
                },
            ),
        );
    }

    pub(crate) fn make(
        &self,
        name: &str,
        config: Option<&RawValue>,
    ) -> Result<Box<dyn ErasedAggregator>, Failure> {
        let Some(factory) = self.factories.get(name) else {
            let known: Vec<_> = self.factories.keys().map(String::as_str).collect();
            return Err(Failure::new(
                FailureKind::InvalidPlan,
                format!(
                    "no aggregator is registered as `{name}`; known are {}",
                    known.join(", ")
                ),
            ));
        };
        factory(config)
    }
}

impl fmt::Debug for AggregatorCatalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.factories.keys()).finish()
    }
}
