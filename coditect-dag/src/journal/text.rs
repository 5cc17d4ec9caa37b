//! Content in a command: text where it is text, a list of numbers elsewhere.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
}

pub(super) fn serialize<S: Serializer>(content: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    match std::str::from_utf8(content) {
        Ok(text) => Content::Text(text.into()),
        Err(_) => Content::Bytes((&**content).into()),
    }
    .serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    Ok(match Content::deserialize(deserializer)? {
        Content::Text(text) => text.into_owned().into(),
        Content::Bytes(bytes) => bytes.into_owned().into(),
    })
}

/// The same for content that may be missing.
pub(super) mod optional {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Present(#[serde(with = "super")] Bytes);

    pub(in super::super) fn serialize<S: Serializer>(
        content: &Option<Bytes>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        content.clone().map(Present).serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Bytes>, D::Error> {
        let content = Option::<Present>::deserialize(deserializer)?;
        Ok(content.map(|Present(content)| content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Command;
    use crate::{TaskId, Timestamp};

    #[test]
    fn text_is_readable_and_everything_comes_back() {
        for (payload, written) in [
            (&br#"{"a":1}"#[..], r#""{\"a\":1}""#),
            (&[255, 0], "[255,0]"),
            (b"", r#""""#),
        ] {
            let payload = Bytes::copy_from_slice(payload);
            let signal = Command::Signal {
                name: "paid".into(),
                payload: payload.clone(),
                at: Timestamp::EPOCH,
            };
            let redrive = Command::Redrive {
                task: TaskId::new(1),
                at: Timestamp::EPOCH,
                attempt: None,
                input: Some(payload),
                to: None,
            };
            for command in [signal, redrive] {
                let text = serde_json::to_string(&command).unwrap();
                assert!(text.contains(written), "{text}");
                assert_eq!(serde_json::from_str::<Command>(&text).unwrap(), command);
            }
        }
    }

    #[test]
    fn a_redrive_of_an_earlier_release_is_read() {
        let text = r#"{"redrive":{"task":3,"at":7}}"#;
        let command = Command::redrive(TaskId::new(3), Timestamp::from_millis(7));
        assert_eq!(serde_json::from_str::<Command>(text).unwrap(), command);
        assert_eq!(serde_json::to_string(&command).unwrap(), text);
    }
}
