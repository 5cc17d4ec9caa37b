use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::error::ErrorKind;
use crate::version::Versionstamp;

fn element() -> impl Strategy<Value = Element> {
    // Few distinct bytes, zero and 0xff among them, make common prefixes and escapes likely.
    let byte = prop_oneof![Just(0u8), Just(0xff), Just(1), any::<u8>()];
    let int = prop_oneof![
        any::<i64>().prop_map(Int::from),
        any::<u64>().prop_map(Int::from),
        (-300i64..300).prop_map(Int::from),
        (0u32..64, -1i64..=1)
            .prop_map(|(bit, off)| Int::from((1u64 << bit).wrapping_add_signed(off))),
        (0u32..63, -1i64..=1).prop_map(|(bit, off)| Int::from(-(1i64 << bit) + off)),
    ];
    let leaf = prop_oneof![
        Just(Element::Null),
        vec(byte, 0..5).prop_map(|bytes| Element::Bytes(bytes.into())),
        "[\0\u{1}a-c\u{10ffff}]{0,4}".prop_map(Element::String),
        int.prop_map(Element::Int),
        any::<bool>().prop_map(Element::Bool),
        any::<u128>().prop_map(|uuid| Element::Uuid(Uuid::from_u128(uuid))),
        any::<[u8; 12]>().prop_map(|stamp| Element::Versionstamp(Versionstamp::from_bytes(stamp))),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| vec(inner, 0..4).prop_map(Element::Tuple))
}

fn tuple() -> impl Strategy<Value = Vec<Element>> {
    vec(element(), 0..5)
}

/// Two tuples that agree at first, so that the difference is decided deep inside.
fn neighbours() -> impl Strategy<Value = (Vec<Element>, Vec<Element>)> {
    (tuple(), tuple(), tuple()).prop_map(|(start, one, two)| {
        let with = |end: Vec<Element>| start.iter().cloned().chain(end).collect();
        (with(one), with(two))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn byte_order_is_tuple_order((one, two) in neighbours()) {
        prop_assert_eq!(pack(&one).cmp(&pack(&two)), one.cmp(&two));
    }

    #[test]
    fn nested_order_is_tuple_order((one, two) in neighbours(), after in element()) {
        let one = vec![Element::Tuple(one), after.clone()];
        let two = vec![Element::Tuple(two), after];
        prop_assert_eq!(pack(&one).cmp(&pack(&two)), one.cmp(&two));
    }

    #[test]
    fn what_was_packed_is_unpacked(tuple in tuple()) {
        prop_assert_eq!(unpack_elements(&pack(&tuple)).unwrap(), tuple);
    }

    #[test]
    fn garbage_is_an_error_or_the_one_encoding(bytes in vec(prop_oneof![0u8..0x40, any::<u8>()], 0..40)) {
        match unpack_elements(&bytes) {
            Ok(tuple) => prop_assert_eq!(&pack(&tuple)[..], &bytes[..]),
            Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Corrupt),
        }
    }

    #[test]
    fn a_key_cut_short_never_panics(tuple in tuple(), cut in any::<prop::sample::Index>()) {
        let key = pack(&tuple);
        let _ = unpack_elements(&key[..cut.index(key.len() + 1)]);
    }

    #[test]
    fn typed_integers_keep_their_order(one in any::<i64>(), two in any::<u64>()) {
        prop_assert_eq!(pack(&(one,)).cmp(&pack(&(two,))), i128::from(one).cmp(&i128::from(two)));
    }

    #[test]
    fn a_subspace_range_holds_its_tuples_only(prefix in tuple(), one in tuple(), other in tuple()) {
        let space = Subspace::new(&prefix);
        let (range, key) = (space.range(), space.pack(&one));
        let within = |key: &Bytes| range.begin() <= key && key < range.end();
        prop_assert_eq!(within(&key), !one.is_empty());
        prop_assert_eq!(space.unpack::<Vec<Element>>(&key).unwrap(), one);
        let foreign = pack(&other);
        prop_assert_eq!(within(&foreign), other.starts_with(&prefix) && other.len() > prefix.len());
    }
}

#[test]
fn typed_tuples_come_back() {
    let stamp = Versionstamp::from_bytes([7; 12]);
    let key = pack(&(
        "run",
        -5i32,
        Some(true),
        None::<u8>,
        (1u8, "in", None::<i64>),
        9u128,
        stamp,
        &b"\0\xff"[..],
    ));
    type Row = (
        String,
        i32,
        Option<bool>,
        Option<u8>,
        (u8, String, Option<i64>),
        u128,
        Versionstamp,
        Bytes,
    );
    let row: Row = unpack(&key).unwrap();
    assert_eq!(row.0, "run");
    assert_eq!((row.1, row.2, row.3), (-5, Some(true), None));
    assert_eq!(row.4, (1, "in".to_owned(), None));
    assert_eq!((row.5, row.6, &row.7[..]), (9, stamp, &b"\0\xff"[..]));
}

#[test]
fn the_encoding_stays_as_it_is() {
    assert_eq!(
        &pack(&("a\0", 0, 1, 256, -1, -256))[..],
        b"\x02a\0\xff\0\x14\x15\x01\x16\x01\0\x13\xfe\x12\xfe\xff"
    );
    assert_eq!(
        &pack(&(None::<u8>, (None::<u8>,), true, false))[..],
        b"\0\x05\0\xff\0\x27\x26"
    );
    assert_eq!(
        &pack(&(u64::MAX, i64::MIN))[..],
        b"\x1c\xff\xff\xff\xff\xff\xff\xff\xff\x0c\x7f\xff\xff\xff\xff\xff\xff\xff"
    );
}

#[test]
fn other_types_and_counts_are_corrupt() {
    let corrupt = |error: crate::Error| assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    corrupt(unpack::<(String,)>(&pack(&(1,))).unwrap_err());
    corrupt(unpack::<(u8,)>(&pack(&(256,))).unwrap_err());
    corrupt(unpack::<(u8,)>(&pack(&(-1,))).unwrap_err());
    corrupt(unpack::<(u8,)>(&pack(&(1, 2))).unwrap_err());
    corrupt(unpack::<(u8, u8)>(&pack(&(1,))).unwrap_err());
    corrupt(unpack::<((u8,),)>(&pack(&(1,))).unwrap_err());
    corrupt(unpack_elements(b"\x0c\0\0\0\0\0\0\0\0").unwrap_err());
    corrupt(unpack_elements(b"\x16\0\x01").unwrap_err());
    corrupt(unpack_elements(b"\x02\xc3\0").unwrap_err());
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| [vec![0x05; depth], vec![0x00; depth]].concat();
    assert!(unpack_elements(&nested(MAX_DEPTH)).is_ok());
    assert_eq!(
        unpack_elements(&nested(MAX_DEPTH + 1)).unwrap_err().kind(),
        ErrorKind::Corrupt
    );
    assert_eq!(
        unpack_elements(&vec![0x05; 1_000_000]).unwrap_err().kind(),
        ErrorKind::Corrupt
    );
}

#[test]
fn a_key_of_elsewhere_is_refused() {
    let (here, there) = (Subspace::new(&("here",)), Subspace::new(&("there",)));
    assert_eq!(
        here.unpack::<(u8,)>(&there.pack(&(1,))).unwrap_err().kind(),
        ErrorKind::Invalid
    );
    assert!(there.contains(&there.pack(&(1,))) && !here.contains(&there.pack(&(1,))));
    assert_eq!(here.child(&(1,)).pack(&(2,)), here.pack(&(1, 2)));
}
