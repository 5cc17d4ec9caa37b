//! Secrets that are known by their format.

use super::Hit;

/// A token format: what it starts with and what must follow.
struct Format {
    prefix: &'static str,
    service: &'static str,
    /// The least number of characters after the prefix.
    min: usize,
    /// The greatest number.
    max: usize,
    alphabet: fn(u8) -> bool,
}

const FORMATS: &[Format] = &[
    Format {
        prefix: "AKIA",
        service: "AWS access key id",
        min: 16,
        max: 16,
        alphabet: upper,
    },
    Format {
        prefix: "ASIA",
        service: "AWS access key id",
        min: 16,
        max: 16,
        alphabet: upper,
    },
    Format {
        prefix: "AIza",
        service: "Google API key",
        min: 35,
        max: 35,
        alphabet: url_safe,
    },
    Format {
        prefix: "ghp_",
        service: "GitHub token",
        min: 36,
        max: 255,
        alphabet: alphanumeric,
    },
    Format {
        prefix: "gho_",
        service: "GitHub token",
        min: 36,
        max: 255,
        alphabet: alphanumeric,
    },
    Format {
        prefix: "ghu_",
        service: "GitHub token",
        min: 36,
        max: 255,
        alphabet: alphanumeric,
    },
    Format {
        prefix: "ghs_",
        service: "GitHub token",
        min: 36,
        max: 255,
        alphabet: alphanumeric,
    },
    Format {
        prefix: "ghr_",
        service: "GitHub token",
        min: 36,
        max: 255,
        alphabet: alphanumeric,
    },
    Format {
        prefix: "github_pat_",
        service: "GitHub token",
        min: 70,
        max: 100,
        alphabet: url_safe,
    },
    Format {
        prefix: "glpat-",
        service: "GitLab token",
        min: 20,
        max: 64,
        alphabet: url_safe,
    },
    Format {
        prefix: "npm_",
        service: "npm token",
        min: 36,
        max: 36,
        alphabet: alphanumeric,
    },
    Format {
        prefix: "sk_live_",
        service: "Stripe key",
        min: 24,
        max: 120,
        alphabet: alphanumeric,
    },
    Format {
        prefix: "rk_live_",
        service: "Stripe key",
        min: 24,
        max: 120,
        alphabet: alphanumeric,
    },
    Format {
        prefix: "xoxb-",
        service: "Slack token",
        min: 20,
        max: 255,
        alphabet: url_safe,
    },
    Format {
        prefix: "xoxp-",
        service: "Slack token",
        min: 20,
        max: 255,
        alphabet: url_safe,
    },
    Format {
        prefix: "xoxa-",
        service: "Slack token",
        min: 20,
        max: 255,
        alphabet: url_safe,
    },
    Format {
        prefix: "xoxr-",
        service: "Slack token",
        min: 20,
        max: 255,
        alphabet: url_safe,
    },
    Format {
        prefix: "xoxs-",
        service: "Slack token",
        min: 20,
        max: 255,
        alphabet: url_safe,
    },
];

/// Every token and private key in `bytes`, in order.
pub(super) fn hits(bytes: &[u8]) -> Vec<Hit> {
    let mut hits = Vec::new();
    let mut start = 0;
    // Words are cut at anything that no token contains, so each byte is looked at once.
    for (offset, byte) in bytes.iter().chain([&b' ']).enumerate() {
        if url_safe(*byte) {
            continue;
        }
        let word = &bytes[start..offset];
        if word.len() >= 20
            && let Some(message) = judge(word)
        {
            hits.push(Hit {
                offset: start,
                is_key: false,
                message,
            });
        } else if word.starts_with(b"-----BEGIN")
            && let Some(kind) = private_key(&bytes[start..])
        {
            hits.push(Hit {
                offset: start,
                is_key: true,
                message: format!("{kind} stands here"),
            });
        }
        start = offset + 1;
    }
    hits
}

fn judge(word: &[u8]) -> Option<String> {
    let format = FORMATS
        .iter()
        .find(|format| word.starts_with(format.prefix.as_bytes()))?;
    let body = &word[format.prefix.len()..];
    let fits = (format.min..=format.max).contains(&body.len())
        && body.iter().all(|byte| (format.alphabet)(*byte))
        && !is_dummy(body);
    fits.then(|| {
        format!(
            "a {} ({}…, {} characters)",
            format.service,
            format.prefix,
            word.len()
        )
    })
}

/// Documentation writes `AKIA…EXAMPLE`, `xxxx` or one character again and again.
fn is_dummy(body: &[u8]) -> bool {
    let upper = body.to_ascii_uppercase();
    let has = |needle: &[u8]| upper.windows(needle.len()).any(|window| window == needle);
    let mut distinct = upper.clone();
    distinct.sort_unstable();
    distinct.dedup();
    distinct.len() < 6
        || has(b"EXAMPLE")
        || has(b"XXXX")
        || has(b"12345678")
        || has(b"ABCDEFGH")
        || has(b"YOUR")
}

/// The kind of private key whose block starts `bytes`, if key material follows.
fn private_key(bytes: &[u8]) -> Option<String> {
    const LONGEST_LABEL: usize = 64;
    let head = &bytes[b"-----BEGIN ".len().min(bytes.len())..];
    let head = &head[..head.len().min(LONGEST_LABEL)];
    let end = head.windows(5).position(|window| window == b"-----")?;
    let label = std::str::from_utf8(&head[..end]).ok()?;
    let is_label = label
        .bytes()
        .all(|byte| byte.is_ascii_uppercase() || byte == b' ');
    if !is_label || !(label.ends_with("PRIVATE KEY") || label == "PGP PRIVATE KEY BLOCK") {
        return None;
    }
    // A mention of the format has no body; base64 of a real key is longer than one line.
    let body = &bytes[b"-----BEGIN ".len() + end + 5..];
    let material = body.iter().take(200).take_while(|byte| **byte != b'-');
    let base64 = material.filter(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte));
    (base64.count() >= 60).then(|| format!("a block `{label}`"))
}

fn upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

fn alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn url_safe(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}
