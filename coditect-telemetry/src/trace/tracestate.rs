//! The rules for `tracestate`, which is passed on unread.

/// The most members that a list may have.
const MAX_MEMBERS: usize = 32;

/// Returns the state without the white space around it, if it keeps the rules and is not empty.
///
/// A state that breaks them is dropped as a whole: the specification asks for that, and the trace itself
/// goes on without it.
pub(super) fn checked(state: &str) -> Option<&str> {
    let state = state.trim_matches([' ', '\t']);
    let mut keys = Vec::new();
    for member in state
        .split(',')
        .map(|member| member.trim_matches([' ', '\t']))
    {
        if member.is_empty() {
            continue;
        }
        let (key, value) = member.split_once('=')?;
        if keys.len() == MAX_MEMBERS || keys.contains(&key) || !is_key(key) || !is_value(value) {
            return None;
        }
        keys.push(key);
    }
    (!keys.is_empty()).then_some(state)
}

/// A simple key of up to 256 characters, or a tenant (241) and a system (14) joined by `@`.
fn is_key(key: &str) -> bool {
    match key.split_once('@') {
        None => key.len() <= 256 && begins_with(key, |c| c.is_ascii_lowercase()),
        Some((tenant, system)) => {
            tenant.len() <= 241
                && begins_with(tenant, |c| c.is_ascii_lowercase() || c.is_ascii_digit())
                && system.len() <= 14
                && begins_with(system, |c| c.is_ascii_lowercase())
        }
    }
}

fn begins_with(part: &str, first: impl Fn(u8) -> bool) -> bool {
    let rest = |c: &u8| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'_' | b'-' | b'*' | b'/')
    };
    part.bytes().next().is_some_and(first) && part.as_bytes().iter().all(rest)
}

/// Up to 256 printable characters other than a comma and an equals sign.
fn is_value(value: &str) -> bool {
    let allowed = |c: u8| matches!(c, b' '..=b'~') && c != b',' && c != b'=';
    (1..=256).contains(&value.len()) && value.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_keeps_the_rules_is_passed_on_unchanged() {
        for good in [
            "congo=t61rcWkgMzE",
            "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
            "0tenant@system=a b",
            "a=1, b=2",
            "a=1,,b=2",
            "a_-*/9=!",
        ] {
            assert_eq!(checked(good), Some(good), "{good:?}");
        }
        assert_eq!(checked("  a=1\t"), Some("a=1"));
    }

    #[test]
    fn a_list_that_breaks_a_rule_is_dropped() {
        let long_key = format!("{}=1", "k".repeat(257));
        let long_value = format!("k={}", "v".repeat(257));
        for bad in [
            "",
            " ",
            ",",
            "a",
            "=1",
            "a=",
            "A=1",
            "9a=1",
            "a=1=2",
            "a=1,a=2",
            "a=é",
            "a=\u{7f}",
            "a@=1",
            "@b=1",
            "a@9=1",
            "a@b@c=1",
            "a b=1",
            &long_key,
            &long_value,
        ] {
            assert_eq!(checked(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn at_most_32_members_are_allowed() {
        let members = |count: usize| {
            let members: Vec<_> = (0..count).map(|i| format!("k{i}=v")).collect();
            members.join(",")
        };
        assert!(checked(&members(32)).is_some());
        assert!(checked(&members(33)).is_none());
    }
}
