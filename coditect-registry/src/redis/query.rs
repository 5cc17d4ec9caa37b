//! What the query of a URL says beyond where Redis is.

use std::fs;

use super::config::RedisRegistryBuilder;
use super::error::invalid;
use crate::Error;

/// The parameters that are read here; there are no others.
const KNOWN: [&str; 4] = ["cacertfile", "certfile", "keyfile", "namespace"];

/// Takes the query off a URL and applies its parameters, which were written later than the program and so count before
/// what it says.
pub(super) fn apply(mut builder: RedisRegistryBuilder) -> Result<RedisRegistryBuilder, Error> {
    let Some((url, query)) = builder.url.split_once('?') else {
        return Ok(builder);
    };
    let (url, query) = (url.to_owned(), query.to_owned());
    let (mut certificate, mut key) = (None, None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "namespace" => builder = builder.with_namespace(value),
            "cacertfile" => {
                let pem = read(&name, &value)?;
                builder = builder.with_ca_pem(String::from_utf8_lossy(&pem));
            }
            "certfile" => certificate = Some(read(&name, &value)?),
            "keyfile" => key = Some(read(&name, &value)?),
            // Not repeated: what stands behind a `?` in a password that was not encoded looks the same.
            _ => {
                let known = KNOWN.join(", ");
                return Err(invalid(format!(
                    "url has an unknown parameter; known are {known}"
                )));
            }
        }
    }
    builder.url = url;
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(builder.with_client_certificate(certificate, key)),
        (None, None) => Ok(builder),
        _ => Err(invalid(
            "url must have both `certfile` and `keyfile`, or neither",
        )),
    }
}

/// Reads a file that a parameter names.
fn read(name: &str, path: &str) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|error| {
        let path = path.escape_debug();
        invalid(format!("{name} `{path}` cannot be read")).with_source(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, RedisRegistry};

    fn applied(query: &str) -> Result<RedisRegistryBuilder, String> {
        let url = format!("rediss://anna:s3cret@example.org/3{query}");
        let read = apply(RedisRegistry::builder(url));
        read.map_err(|error| {
            assert_eq!(error.kind(), ErrorKind::Invalid);
            error.to_string()
        })
    }

    #[test]
    fn a_parameter_counts_before_the_program_and_is_no_part_of_the_address() {
        let builder = applied("?namespace=blue").unwrap();
        assert_eq!(builder.namespace, "blue");
        assert_eq!(builder.url, "rediss://anna:s3cret@example.org/3");
        assert_eq!(applied("").unwrap().namespace, "coditect");
        assert_eq!(applied("?").unwrap().namespace, "coditect");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_can() {
        let cases = [
            ("?name_space=blue", "known are cacertfile"),
            ("?s3cret@there", "known are cacertfile"),
            ("?certfile=/dev/null", "both `certfile` and `keyfile`"),
            (
                "?cacertfile=%2Fno%20where",
                "cacertfile `/no where` cannot be read",
            ),
        ];
        for (query, expected) in cases {
            let error = applied(query).unwrap_err();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
