//! The envelope: a payload of bytes and all that a bus and a receiver need to know about it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{CorrelationId, Error, ErrorKind, Headers, MessageId, Priority, QueueName};

/// Names the form of a payload, as a media type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContentType(Cow<'static, str>);

impl ContentType {
    /// JSON in UTF-8: what the typed functions of this crate write and read.
    pub const JSON: Self = Self(Cow::Borrowed("application/json"));
    /// Bytes without a stated form.
    pub const OCTETS: Self = Self(Cow::Borrowed("application/octet-stream"));

    /// Takes a media type.
    #[must_use]
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self(text.into())
    }

    /// Returns the media type as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Carries one message: a payload and what belongs to it.
///
/// An envelope is cheap to clone: payload, headers and names are shared. Its `Debug` never shows the payload, only its length.
///
/// ```
/// use coditect_bus::{Envelope, Priority};
///
/// let envelope = Envelope::new("hello").with_priority(Priority::P0).with_header("tenant", "acme");
/// assert_eq!(envelope.payload(), "hello".as_bytes());
/// assert!(!format!("{envelope:?}").contains("hello"));
/// ```
#[derive(Clone)]
pub struct Envelope {
    id: MessageId,
    payload: Bytes,
    priority: Priority,
    headers: Headers,
    content_type: ContentType,
    correlation_id: Option<CorrelationId>,
    reply_to: Option<QueueName>,
    idempotency_key: Option<Arc<str>>,
    expires_at: Option<SystemTime>,
    delay: Option<Duration>,
}

impl Envelope {
    /// Makes an envelope around bytes, under a fresh id, of priority P1.
    #[must_use]
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self {
            id: MessageId::new(),
            payload: payload.into(),
            priority: Priority::default(),
            headers: Headers::new(),
            content_type: ContentType::OCTETS,
            correlation_id: None,
            reply_to: None,
            idempotency_key: None,
            expires_at: None,
            delay: None,
        }
    }

    /// Makes an envelope around a value written as JSON.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if the value cannot be written, for instance because a map has keys that are no text.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        let bytes = serde_json::to_vec(value).map_err(|source| {
            Error::new(ErrorKind::Invalid, "value cannot be written as json").with_source(source)
        })?;
        Ok(Self::new(bytes).with_content_type(ContentType::JSON))
    }

    /// Reads the payload as JSON.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Decode`] if the content type is neither JSON nor unstated, or the payload does not fit `T`; the text
    /// says where, and never shows the payload.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, Error> {
        if self.content_type != ContentType::JSON && self.content_type != ContentType::OCTETS {
            return Err(Error::new(
                ErrorKind::Decode,
                format!(
                    "payload is {:?}, not json",
                    crate::name::clipped(self.content_type.as_str())
                ),
            ));
        }
        serde_json::from_slice(&self.payload).map_err(|source| {
            let context = format!(
                "payload of {} bytes does not decode into {}: {} at line {} column {}",
                self.payload.len(),
                std::any::type_name::<T>(),
                match source.classify() {
                    serde_json::error::Category::Syntax => "no valid json",
                    serde_json::error::Category::Eof => "it ends too early",
                    _ => "another shape",
                },
                source.line(),
                source.column(),
            );
            Error::new(ErrorKind::Decode, context)
        })
    }

    /// Replaces the id, to publish again what may have been published already.
    #[must_use]
    pub fn with_id(mut self, id: MessageId) -> Self {
        self.id = id;
        self
    }

    /// Sets the priority.
    #[must_use]
    pub fn with_priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Sets one header.
    #[must_use]
    pub fn with_header(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Replaces all headers.
    #[must_use]
    pub fn with_headers(mut self, headers: Headers) -> Self {
        self.headers = headers;
        self
    }

    /// Sets the form of the payload.
    #[must_use]
    pub fn with_content_type(mut self, content_type: ContentType) -> Self {
        self.content_type = content_type;
        self
    }

    /// Sets which question this answers, or under which id the answer shall come.
    #[must_use]
    pub fn with_correlation_id(mut self, id: impl Into<CorrelationId>) -> Self {
        self.correlation_id = Some(id.into());
        self
    }

    /// Sets the queue for the answer.
    #[must_use]
    pub fn with_reply_to(mut self, queue: QueueName) -> Self {
        self.reply_to = Some(queue);
        self
    }

    /// Sets the key by which a receiver recognises a repetition.
    #[must_use]
    pub fn with_idempotency_key(mut self, key: impl Into<Arc<str>>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// Sets when the message loses its worth: from then on it is dead-lettered instead of delivered.
    #[must_use]
    pub fn with_expires_at(mut self, at: SystemTime) -> Self {
        self.expires_at = Some(at);
        self
    }

    /// Sets how long after publishing the message becomes visible to consumers.
    ///
    /// The span is counted by the bus and spent there: a delivered envelope has none.
    #[must_use]
    pub fn with_delay(mut self, delay: Duration) -> Self {
        self.delay = (!delay.is_zero()).then_some(delay);
        self
    }

    /// Returns the id.
    #[must_use]
    pub fn id(&self) -> MessageId {
        self.id
    }

    /// Returns the payload; a clone of it shares the bytes.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Takes the payload.
    #[must_use]
    pub fn into_payload(self) -> Bytes {
        self.payload
    }

    /// Returns the priority.
    #[must_use]
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// Returns the headers.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Returns the headers for change.
    pub fn headers_mut(&mut self) -> &mut Headers {
        &mut self.headers
    }

    /// Returns one header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// Returns the form of the payload.
    #[must_use]
    pub fn content_type(&self) -> &ContentType {
        &self.content_type
    }

    /// Returns the correlation id.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&CorrelationId> {
        self.correlation_id.as_ref()
    }

    /// Returns the queue for the answer.
    #[must_use]
    pub fn reply_to(&self) -> Option<&QueueName> {
        self.reply_to.as_ref()
    }

    /// Returns the idempotency key.
    #[must_use]
    pub fn idempotency_key(&self) -> Option<&str> {
        self.idempotency_key.as_deref()
    }

    /// Returns when the message loses its worth.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.expires_at
    }

    /// Returns how long after publishing the message becomes visible.
    #[must_use]
    pub fn delay(&self) -> Option<Duration> {
        self.delay
    }

    pub(crate) fn take_delay(&mut self) -> Option<Duration> {
        self.delay.take()
    }

    pub(crate) fn clear_expiry(&mut self) {
        self.expires_at = None;
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("id", &self.id)
            .field("payload_len", &self.payload.len())
            .field("priority", &self.priority)
            .field("headers", &self.headers)
            .field("content_type", &self.content_type)
            .field("correlation_id", &self.correlation_id)
            .field("reply_to", &self.reply_to)
            .field("idempotency_key", &self.idempotency_key)
            .field("expires_at", &self.expires_at)
            .field("delay", &self.delay)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decode_error_says_where_and_never_shows_the_payload() {
        let envelope = Envelope::new("{\"secret\": \"hunter2\"}");
        let error = envelope.decode::<u32>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode);
        let text = format!("{error} {error:?}");
        assert!(
            text.contains("21 bytes") && text.contains("line 1"),
            "{text}"
        );
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn another_content_type_is_not_decoded_as_json() {
        let envelope = Envelope::new("1").with_content_type(ContentType::new("text/csv"));
        assert_eq!(
            envelope.decode::<u32>().unwrap_err().kind(),
            ErrorKind::Decode
        );
        assert_eq!(Envelope::new("1").decode::<u32>().unwrap(), 1);
    }

    #[test]
    fn a_value_that_is_no_json_is_refused() {
        let map = std::collections::HashMap::from([((1, 2), 3)]);
        assert_eq!(Envelope::json(&map).unwrap_err().kind(), ErrorKind::Invalid);
    }
}
