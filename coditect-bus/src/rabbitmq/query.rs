//! What the query of a URL says beyond what the driver reads of it.

use std::fs;

use super::config::{QueueKind, RabbitMqBusBuilder};
use crate::{Error, ErrorKind};

/// What the driver reads by itself.
const OF_DRIVER: [&str; 5] = [
    "auth_mechanism",
    "channel_max",
    "connection_timeout",
    "frame_max",
    "heartbeat",
];
/// What is read here.
const OURS: [&str; 5] = [
    "cacertfile",
    "certfile",
    "keyfile",
    "namespace",
    "queue_kind",
];

/// Applies a URL's parameters, which were written later than the program and so count before what it says.
pub(super) fn apply(
    mut builder: RabbitMqBusBuilder,
    url: &str,
) -> Result<RabbitMqBusBuilder, Error> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    // What stands before an `@` is a password whose `?` should have been written otherwise; not a word of it is repeated.
    if query.contains('@') {
        return Err(invalid(
            "url has an `@` after a `?`: write them in a password as %40 and %3F",
        ));
    }
    let (mut certificate, mut key) = (None, None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "namespace" => builder = builder.with_namespace(value),
            "queue_kind" => builder = builder.with_queue_kind(kind(&value)?),
            "cacertfile" => builder = builder.with_ca_pem(text(&name, &value)?),
            "certfile" => certificate = Some(text(&name, &value)?),
            "keyfile" => key = Some(text(&name, &value)?),
            known if OF_DRIVER.contains(&known) => {}
            unknown => {
                return Err(invalid(format!(
                    "url has the parameter `{}`; known are {} and {}",
                    unknown.escape_debug(),
                    OURS.join(", "),
                    OF_DRIVER.join(", "),
                )));
            }
        }
    }
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(builder.with_client_certificate(certificate, key)),
        (None, None) => Ok(builder),
        _ => Err(invalid(
            "url must have both `certfile` and `keyfile`, or neither",
        )),
    }
}

fn kind(value: &str) -> Result<QueueKind, Error> {
    match value {
        "quorum" => Ok(QueueKind::Quorum),
        "classic" => Ok(QueueKind::Classic),
        other => Err(invalid(format!(
            "queue_kind `{}` is neither `quorum` nor `classic`",
            other.escape_debug()
        ))),
    }
}

/// Reads a file that a parameter names.
fn text(name: &str, path: &str) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|error| {
        let path = path.escape_debug();
        invalid(format!("{name} `{path}` cannot be read")).with_source(error)
    })
}

fn invalid(text: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Invalid, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(query: &str) -> Result<RabbitMqBusBuilder, String> {
        let url = format!("amqps://anna:s3cret@example.org/?{query}");
        let read = apply(RabbitMqBusBuilder::new(url.clone()), &url);
        read.map_err(|error| error.to_string())
    }

    #[test]
    fn parameters_say_what_the_builder_says() {
        let builder = applied("namespace=blue&queue_kind=classic&heartbeat=7").unwrap();
        assert_eq!(
            (&*builder.namespace, builder.kind),
            ("blue", QueueKind::Classic)
        );
        assert_eq!(applied("").unwrap().namespace, "coditect");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_can() {
        let cases = [
            ("name_space=blue", "known are cacertfile"),
            ("queue_kind=stream", "neither `quorum` nor `classic`"),
            ("certfile=/dev/null", "both `certfile` and `keyfile`"),
            (
                "cacertfile=%2Fno%20where",
                "cacertfile `/no where` cannot be read",
            ),
        ];
        for (query, expected) in cases {
            let error = applied(query).unwrap_err();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn a_password_with_a_question_mark_is_not_taken_for_a_parameter() {
        for url in ["amqp://anna:s3c?ret@host/", "amqp://anna:s3c?a&b=ret@host/"] {
            let error = apply(RabbitMqBusBuilder::new(url.to_owned()), url).unwrap_err();
            assert!(error.to_string().contains("%3F"), "{error}");
            assert!(!error.to_string().contains("ret"), "{error}");
        }
    }
}
