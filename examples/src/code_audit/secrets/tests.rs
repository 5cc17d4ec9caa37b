//! Every secret here is put together at run time, so that no scanner finds it in this file.

use super::*;

fn found(path: &str, text: &str) -> Vec<(Rule, u32, Severity)> {
    scan(text.as_bytes(), path)
        .iter()
        .map(|f| (f.rule, f.line, f.severity))
        .collect()
}

/// Characters that look random, the same every time.
fn random(length: usize) -> String {
    "q7Rz2Kd9Wm4Xb8Vn3Jt6Yc5Hp1Lf0Gs"
        .chars()
        .cycle()
        .take(length)
        .collect()
}

#[test]
fn tokens_of_known_services_are_found_where_they_stand() {
    let cases = [
        format!("AKIA{}", random(16).to_uppercase()),
        format!("AIza{}", random(35)),
        format!("ghp_{}", random(36)),
        format!("github_pat_{}", random(82)),
        format!("glpat-{}", random(20)),
        format!("npm_{}", random(36)),
        format!("sk_live_{}", random(24)),
        format!("xoxb-{}-{}", "730191371", random(24)),
    ];
    for secret in cases {
        let text = format!("first\nurl = https://x:{secret}@host\n");
        let findings = scan(text.as_bytes(), "deploy.sh");
        assert_eq!(findings.len(), 1, "{secret}");
        assert_eq!((findings[0].rule, findings[0].line), (Rule::SecretToken, 2));
        let body = &secret[secret.len() - 12..];
        assert!(
            !findings[0].message.contains(body),
            "the secret is never shown"
        );
    }
}

#[test]
fn placeholders_are_no_tokens() {
    for text in [
        concat!("AKIA", "IOSFODNN7EXAMPLE"),
        concat!("ghp_", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        concat!("ghp_", "too_short"),
        "AKIA",
    ] {
        assert_eq!(found("a", text), [], "{text}");
    }
    assert_eq!(
        found("a", &format!("MAKIA{}", random(16).to_uppercase())),
        []
    );
}

#[test]
fn a_private_key_needs_a_body_and_is_milder_in_test_data() {
    let head = concat!("-----BEGIN RSA ", "PRIVATE KEY-----");
    let key = format!("{head}\n{}\n{}\n", random(64), random(64));
    assert_eq!(
        found("id_rsa", &key),
        [(Rule::SecretKey, 1, Severity::Critical)]
    );
    assert_eq!(
        found("tests/key.pem", &key),
        [(Rule::SecretKey, 1, Severity::Medium)]
    );
    assert_eq!(
        found("a.rs", &format!("if text.starts_with(\"{head}\") {{")),
        []
    );
    let public = key.replace("RSA PRIVATE", "PUBLIC");
    assert_eq!(found("a.pem", &public), []);
}

#[test]
fn a_random_literal_under_a_secret_name_is_found_and_not_shown() {
    let value = random(16);
    for line in [
        format!("password = \"{value}\""),
        format!("const API_KEY: &str = \"{value}\";"),
        format!("  \"dbPassword\": \"{value}\","),
        format!("client_secret: '{value}'"),
    ] {
        let findings = scan(line.as_bytes(), "a.rs");
        assert_eq!(findings.len(), 1, "{line}");
        assert_eq!(findings[0].rule, Rule::SecretPassword);
        assert!(
            !findings[0].message.contains(&value[..4]),
            "{}",
            findings[0].message
        );
    }
    let unquoted = format!("DB_PASSWORD={value}\n");
    assert_eq!(found(".env", &unquoted).len(), 1);
    assert_eq!(found("notes.txt", &unquoted), []);
}

#[test]
fn names_references_and_placeholders_are_no_passwords() {
    for line in [
        "password = \"changeme123\"",
        "password = \"correct horse battery\"",
        "let token = \"identifier_of_token\";",
        "secret = \"${VAULT_SECRET_17a9}\"",
        "password: String,",
        "token == \"a8s7d6f5g4h3\"",
        "token_url = \"https://host/a8s7d6f5\"",
        "secret_name = \"projects/p1/secrets/s2\"",
        "token_id: \"123e4567-e89b-12d3-a456-426614174000\"",
        "tokenizer = \"model-v2\"",
    ] {
        assert_eq!(found("a.rs", line), [], "{line}");
    }
}
