//! What the query of a URL says beyond where Redis is.

use super::config::RedisStoreBuilder;
use crate::error::{Error, Result};

/// Takes the query off a URL and applies it, since it was written later than the program. A namespace needs no escapes.
pub(super) fn apply(mut builder: RedisStoreBuilder) -> Result<RedisStoreBuilder> {
    let Some((url, query)) = builder.url.split_once('?') else {
        return Ok(builder);
    };
    let (url, query) = (url.to_owned(), query.to_owned());
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=') {
            Some(("namespace", namespace)) => builder.namespace = namespace.to_owned(),
            // Not repeated: what stands behind a `?` in a password that was not encoded looks the same.
            _ => {
                return Err(Error::invalid(
                    "url has an unknown parameter; the only one known is namespace",
                ));
            }
        }
    }
    builder.url = url;
    Ok(builder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RedisStore;

    fn applied(query: &str) -> Result<RedisStoreBuilder> {
        let builder = RedisStore::builder(format!("redis://anna:s3cret@example.org/3{query}"));
        apply(builder.with_namespace("green"))
    }

    #[test]
    fn the_namespace_of_a_url_counts_and_is_no_part_of_the_address() {
        for (query, namespace) in [("?namespace=blue", "blue"), ("", "green"), ("?", "green")] {
            let builder = applied(query).unwrap();
            assert_eq!(builder.namespace, namespace);
            assert_eq!(builder.url, "redis://anna:s3cret@example.org/3");
        }
    }

    #[test]
    fn what_is_not_known_is_refused_and_not_repeated() {
        for query in ["?name_space=blue", "?s3cret@there", "?namespace"] {
            let error = applied(query).unwrap_err();
            assert!(error.to_string().contains("known is namespace"), "{error}");
            assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
        }
    }
}
