//! Random-looking literals assigned to names that mean a secret.

use super::Hit;

/// Parts of names, in lower case, that say that the value is a secret.
const NAMES: &[&str] = &[
    "password",
    "passwd",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "access_key",
];

/// Values, in lower case, that only stand for a secret.
const PLACEHOLDERS: &[&str] = &[
    "example",
    "changeme",
    "change_me",
    "placeholder",
    "dummy",
    "xxxx",
    "your",
    "insert",
    "replace",
    "todo",
    "test",
    "sample",
    "fake",
    "foobar",
    "password",
    "passwd",
    "secret",
    "hunter2",
    "1234",
    "abcd",
    "qwerty",
    "letmein",
    "redacted",
    "hidden",
    "****",
    "....",
    "token",
    "default",
    "none",
];

/// Shannon entropy, in bits per character, from which a value looks random.
const MIN_ENTROPY: f64 = 3.0;
const MIN_CHARS: usize = 8;
const MAX_CHARS: usize = 200;

/// Every suspicious assignment in `bytes`, in order.
pub(super) fn hits(bytes: &[u8], path: &str) -> Vec<Hit> {
    let unquoted = has_unquoted_values(path);
    let mut hits = Vec::new();
    let mut offset = 0;
    for line in bytes.split(|byte| *byte == b'\n') {
        // Long lines are data; a secret that somebody wrote stands on a short one.
        if line.len() <= 1_000
            && let Some((name, value)) = assignment(line, unquoted)
            && looks_random(value)
        {
            let message = format!(
                "a literal of {} characters is assigned to `{name}`",
                value.len()
            );
            hits.push(Hit {
                offset,
                is_key: false,
                message,
            });
        }
        offset += line.len() + 1;
    }
    hits
}

/// The first `name = "value"`, `"name": "value"` or (in configuration) `NAME=value` of a line.
fn assignment(line: &[u8], unquoted: bool) -> Option<(&str, &str)> {
    let mut from = 0;
    while let Some(at) = line[from..]
        .iter()
        .position(|byte| *byte == b'=' || *byte == b':')
    {
        let at = from + at;
        from = at + 1;
        let name = name_before(&line[..at]);
        if !is_secret_name(name) {
            continue;
        }
        let rest = line[at + 1..].trim_ascii();
        let value = match rest.first() {
            Some(quote @ (b'"' | b'\'' | b'`')) => {
                let end = rest[1..].iter().position(|byte| byte == quote)?;
                &rest[1..=end]
            }
            Some(_) if unquoted => rest,
            _ => continue,
        };
        return Some((
            std::str::from_utf8(name).ok()?,
            std::str::from_utf8(value).ok()?,
        ));
    }
    None
}

/// The identifier that `before` ends in, without quotes, spaces and a Rust type.
fn name_before(before: &[u8]) -> &[u8] {
    let before = before.trim_ascii_end();
    // `const PASSWORD: &str = "…"`: the name stands before the type.
    let before = match before.iter().rposition(|byte| *byte == b':') {
        Some(colon)
            if before[colon..].ends_with(b"str") || before[colon..].ends_with(b"String") =>
        {
            &before[..colon]
        }
        _ => before,
    };
    let before = match before {
        [rest @ .., b'"' | b'\''] => rest,
        _ => before,
    };
    let start = before
        .iter()
        .rposition(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'_' || *byte == b'-'))
        .map_or(0, |at| at + 1);
    &before[start..]
}

fn is_secret_name(name: &[u8]) -> bool {
    if !(5..=64).contains(&name.len()) {
        return false;
    }
    let name = name.to_ascii_lowercase();
    NAMES.iter().any(|known| {
        name.windows(known.len())
            .any(|window| window == known.as_bytes())
    })
}

fn looks_random(value: &str) -> bool {
    if !(MIN_CHARS..=MAX_CHARS).contains(&value.len())
        || !value.bytes().all(|b| b.is_ascii_graphic())
    {
        return false;
    }
    let lower = value.to_ascii_lowercase();
    let is_reference = value.contains(['$', '{', '<', '%', '(', '\\']) || lower.contains("://");
    let is_path = value.contains('/') && value.split('/').all(|part| part.len() < 16);
    if is_reference || is_path || PLACEHOLDERS.iter().any(|known| lower.contains(known)) {
        return false;
    }
    // Words joined by separators are names; random strings mix digits into letters.
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let letters = value.bytes().filter(u8::is_ascii_alphabetic).count();
    digits >= 2 && letters >= 2 && entropy(value) >= MIN_ENTROPY && !is_version_or_uuid(value)
}

/// `1.2.3-beta4` and UUIDs are identifiers.
fn is_version_or_uuid(value: &str) -> bool {
    let groups: Vec<usize> = value.split('-').map(str::len).collect();
    groups == [8, 4, 4, 4, 12] || value.split('.').count() > 2
}

fn entropy(value: &str) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in value.bytes() {
        counts[usize::from(byte)] += 1;
    }
    let length = value.len() as f64;
    let bits = |count: &u32| {
        let share = f64::from(*count) / length;
        -share * share.log2()
    };
    counts.iter().filter(|count| **count > 0).map(bits).sum()
}

/// Formats in which values stand without quotes.
fn has_unquoted_values(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.starts_with(".env")
        || [".env", ".ini", ".properties", ".cfg", ".conf"]
            .iter()
            .any(|end| name.ends_with(end))
}
