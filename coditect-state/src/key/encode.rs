//! Writing elements so that their bytes sort like them.

use super::element::{Element, Int};
use crate::version::Versionstamp;

pub(super) const NULL: u8 = 0x00;
pub(super) const BYTES: u8 = 0x01;
pub(super) const STRING: u8 = 0x02;
pub(super) const TUPLE: u8 = 0x05;
/// Zero; n bytes of a positive number are `ZERO + n`, of a negative one `ZERO - n`.
pub(super) const ZERO: u8 = 0x14;
pub(super) const FALSE: u8 = 0x26;
pub(super) const TRUE: u8 = 0x27;
pub(super) const UUID: u8 = 0x30;
pub(super) const VERSIONSTAMP: u8 = 0x33;
/// Ends bytes, strings and nested tuples.
pub(super) const END: u8 = 0x00;
/// After a zero byte it says that the zero is content, not the end.
pub(super) const ESCAPE: u8 = 0xff;

/// Appends an element; inside of a nested tuple `Null` is escaped, since its code is also the end.
pub(super) fn element(element: &Element, nested: bool, out: &mut Vec<u8>) {
    match element {
        Element::Null => null(nested, out),
        Element::Bytes(value) => bytes(value, out),
        Element::String(value) => string(value, out),
        Element::Tuple(elements) => {
            out.push(TUPLE);
            for inner in elements {
                self::element(inner, true, out);
            }
            out.push(END);
        }
        Element::Int(value) => int(*value, out),
        Element::Bool(value) => out.push(if *value { TRUE } else { FALSE }),
        Element::Uuid(value) => uuid(value.as_u128(), out),
        Element::Versionstamp(stamp) => versionstamp(stamp, out),
    }
}

pub(super) fn null(nested: bool, out: &mut Vec<u8>) {
    out.push(NULL);
    if nested {
        out.push(ESCAPE);
    }
}

pub(super) fn bytes(value: &[u8], out: &mut Vec<u8>) {
    out.push(BYTES);
    terminated(value, out);
}

pub(super) fn string(value: &str, out: &mut Vec<u8>) {
    out.push(STRING);
    terminated(value.as_bytes(), out);
}

pub(super) fn int(value: Int, out: &mut Vec<u8>) {
    let number = value.as_i128();
    // An Int lies in i64::MIN..=u64::MAX, so its magnitude fits.
    let magnitude = number.unsigned_abs() as u64;
    let length = 8 - magnitude.leading_zeros() as usize / 8;
    // Negative numbers are written as their complement, so that the greater magnitude sorts first.
    let (code, digits) = if number < 0 {
        (ZERO - length as u8, !magnitude)
    } else {
        (ZERO + length as u8, magnitude)
    };
    out.push(code);
    out.extend_from_slice(&digits.to_be_bytes()[8 - length..]);
}

pub(super) fn uuid(value: u128, out: &mut Vec<u8>) {
    out.push(UUID);
    out.extend_from_slice(&value.to_be_bytes());
}

pub(super) fn versionstamp(stamp: &Versionstamp, out: &mut Vec<u8>) {
    out.push(VERSIONSTAMP);
    out.extend_from_slice(stamp.as_bytes());
}

fn terminated(value: &[u8], out: &mut Vec<u8>) {
    out.reserve(value.len() + 1);
    for &byte in value {
        out.push(byte);
        if byte == END {
            out.push(ESCAPE);
        }
    }
    out.push(END);
}
