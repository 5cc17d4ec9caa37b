//! Lower-case hexadecimal digits of a fixed number, as the specification writes every field.

/// Reads exactly `2 * N` lower-case digits; upper case is refused, as the specification demands.
pub(crate) fn read<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lower_case_digits_of_the_right_number_are_read() {
        assert_eq!(read::<2>(b"00ff"), Some([0x00, 0xff]));
        assert_eq!(read::<2>(b"a1b2"), Some([0xa1, 0xb2]));
        for wrong in ["00FF", "00f", "00fff", "00ff00", "0 ff", "", "zz00"] {
            assert_eq!(read::<2>(wrong.as_bytes()), None, "{wrong:?}");
        }
    }
}
