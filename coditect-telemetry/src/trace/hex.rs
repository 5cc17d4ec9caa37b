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

/// Appends two lower-case digits for each byte.
pub(crate) fn write(bytes: &[u8], text: &mut String) {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)]);
        text.push(DIGITS[usize::from(byte & 0xf)]);
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

    #[test]
    fn what_is_written_is_read() {
        let mut text = String::new();
        write(&[0x00, 0x0f, 0xa7], &mut text);
        assert_eq!(text, "000fa7");
        assert_eq!(read(text.as_bytes()), Some([0x00, 0x0f, 0xa7]));
    }
}
