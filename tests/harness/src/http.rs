//! As much of an HTTP client as a management API needs: one request, one answer, JSON on both sides.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Error;

/// A place that answers HTTP, and who asks.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    /// `host:port`.
    pub(crate) place: String,
    pub(crate) user: String,
    pub(crate) password: String,
}

impl Http {
    /// Sends a request and returns what the answer carries; an answer other than 2xx is an error.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Error> {
        let what = format!("{method} http://{}{path}", self.place);
        timeout(Duration::from_secs(30), self.exchange(method, path, body))
            .await
            .map_err(Error::because(&what))?
            .map_err(Error::because(&what))
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Error> {
        let login = base64(format!("{}:{}", self.user, self.password).as_bytes());
        let body = body.map(Value::to_string).unwrap_or_default();
        // A client of version 1.0 gets no chunked answer.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nAuthorization: Basic {login}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.place,
            body.len(),
        );
        let mut stream = TcpStream::connect(&self.place)
            .await
            .map_err(Error::because("connect"))?;
        stream
            .write_all(request.as_bytes())
            .await
            .map_err(Error::because("write"))?;
        let mut answer = Vec::new();
        stream
            .read_to_end(&mut answer)
            .await
            .map_err(Error::because("read"))?;
        parse(&String::from_utf8_lossy(&answer))
    }
}

fn parse(answer: &str) -> Result<Value, Error> {
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| Error::failed("an answer without an end of its head"))?;
    let status = head.lines().next().unwrap_or_default();
    if status
        .split(' ')
        .nth(1)
        .is_none_or(|code| !code.starts_with('2'))
    {
        return Err(Error::failed(format!("{status}: {body}")));
    }
    if body.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(body).map_err(Error::because("an answer that is no JSON"))
}

/// Percent-encodes a part of a path.
pub(crate) fn part(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Base64 as in RFC 4648, section 4.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut bits = 0_usize;
        for at in 0..3 {
            bits = bits << 8 | usize::from(chunk.get(at).copied().unwrap_or(0));
        }
        for at in 0..4 {
            let digit = DIGITS[bits >> (18 - 6 * at) & 63];
            text.push(if at <= chunk.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let expected = [
            "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy",
        ];
        for (length, expected) in expected.iter().enumerate() {
            assert_eq!(base64(&b"foobar"[..length]), *expected);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }

    #[test]
    fn a_part_of_a_path_cannot_leave_it() {
        assert_eq!(part("a/b c%é"), "a%2Fb%20c%25%C3%A9");
    }

    #[test]
    fn an_answer_is_read_and_a_refusal_is_an_error() {
        let read = |text| parse(text).map_err(|error| error.to_string());
        assert_eq!(
            read("HTTP/1.1 201 Created\r\na: b\r\n\r\n"),
            Ok(Value::Null)
        );
        assert_eq!(
            read("HTTP/1.1 200 OK\r\n\r\n[1]"),
            Ok(serde_json::json!([1]))
        );
        let refused = read("HTTP/1.1 404 Not Found\r\n\r\nnothing here");
        assert_eq!(
            refused,
            Err("HTTP/1.1 404 Not Found: nothing here".to_owned())
        );
        assert!(read("HTTP/1.1 200 OK\r\n\r\n{").is_err());
        assert!(read("").is_err());
    }
}
