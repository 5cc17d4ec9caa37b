//! Rust types as elements and as tuples.

use bytes::Bytes;
use uuid::Uuid;

use super::element::{Element, Int};
use super::encode;
use crate::error::{Error, Result};
use crate::version::Versionstamp;

/// Is written as one element of a tuple key.
pub trait IntoElement {
    /// Appends the element; `nested` says that it stands inside of a nested tuple.
    fn encode(&self, nested: bool, out: &mut Vec<u8>);
}

/// Is read from one element of a tuple key.
pub trait FromElement: Sized {
    /// Converts the element.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if it is of another type or out of range.
    fn from_element(element: Element) -> Result<Self>;
}

/// Is written as a whole key: a tuple of up to eight elements, or a slice of [`Element`]s.
pub trait Pack {
    /// Appends the elements.
    fn pack_into(&self, out: &mut Vec<u8>);
}

/// Is read from a whole key: a tuple of up to eight elements, or a vector of [`Element`]s.
pub trait Unpack: Sized {
    /// Converts the elements.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if their number or types differ.
    fn from_elements(elements: Vec<Element>) -> Result<Self>;
}

fn mismatch<T>(wanted: &str) -> Result<T> {
    Err(Error::corrupt(format!("key element is no {wanted}")))
}

macro_rules! elements {
    ($($type:ty => |$value:ident, $nested:ident, $out:ident| $encode:expr;)*) => {$(
        impl IntoElement for $type {
            fn encode(&self, $nested: bool, $out: &mut Vec<u8>) {
                let $value = self;
                let _ = $nested;
                $encode;
            }
        }
    )*};
}

elements! {
    str => |value, nested, out| encode::string(value, out);
    String => |value, nested, out| encode::string(value, out);
    [u8] => |value, nested, out| encode::bytes(value, out);
    Vec<u8> => |value, nested, out| encode::bytes(value, out);
    Bytes => |value, nested, out| encode::bytes(value, out);
    bool => |value, nested, out| encode::element(&Element::Bool(*value), nested, out);
    Uuid => |value, nested, out| encode::uuid(value.as_u128(), out);
    u128 => |value, nested, out| encode::uuid(*value, out);
    Versionstamp => |value, nested, out| encode::versionstamp(value, out);
    Element => |value, nested, out| encode::element(value, nested, out);
    usize => |value, nested, out| encode::int(Int::from(*value as u64), out);
}

macro_rules! integers {
    ($wide:ty: $($type:ty),*) => {$(
        impl IntoElement for $type {
            fn encode(&self, _nested: bool, out: &mut Vec<u8>) {
                encode::int(Int::from(<$wide>::from(*self)), out);
            }
        }
    )*};
}

integers!(u64: u8, u16, u32, u64);
integers!(i64: i8, i16, i32, i64);

impl<T: IntoElement + ?Sized> IntoElement for &T {
    fn encode(&self, nested: bool, out: &mut Vec<u8>) {
        (**self).encode(nested, out);
    }
}

impl<T: IntoElement> IntoElement for Option<T> {
    fn encode(&self, nested: bool, out: &mut Vec<u8>) {
        match self {
            Some(value) => value.encode(nested, out),
            None => encode::null(nested, out),
        }
    }
}

impl<const N: usize> IntoElement for [u8; N] {
    fn encode(&self, _nested: bool, out: &mut Vec<u8>) {
        encode::bytes(self, out);
    }
}

macro_rules! read {
    ($($type:ty, $wanted:literal: $pattern:pat => $value:expr;)*) => {$(
        impl FromElement for $type {
            fn from_element(element: Element) -> Result<Self> {
                match element {
                    $pattern => Ok($value),
                    _ => mismatch($wanted),
                }
            }
        }
    )*};
}

read! {
    String, "string": Element::String(value) => value;
    Vec<u8>, "bytes": Element::Bytes(value) => value.into();
    Bytes, "bytes": Element::Bytes(value) => value;
    bool, "bool": Element::Bool(value) => value;
    Uuid, "uuid": Element::Uuid(value) => value;
    u128, "u128": Element::Uuid(value) => value.as_u128();
    Versionstamp, "versionstamp": Element::Versionstamp(value) => value;
}

macro_rules! read_integers {
    ($($type:ty),*) => {$(
        impl FromElement for $type {
            fn from_element(element: Element) -> Result<Self> {
                let Element::Int(value) = element else { return mismatch(stringify!($type)) };
                Self::try_from(value.as_i128()).or_else(|_| mismatch(stringify!($type)))
            }
        }
    )*};
}

read_integers!(u8, u16, u32, u64, usize, i8, i16, i32, i64);

impl FromElement for Element {
    fn from_element(element: Element) -> Result<Self> {
        Ok(element)
    }
}

impl<T: FromElement> FromElement for Option<T> {
    fn from_element(element: Element) -> Result<Self> {
        match element {
            Element::Null => Ok(None),
            other => T::from_element(other).map(Some),
        }
    }
}

impl Pack for [Element] {
    fn pack_into(&self, out: &mut Vec<u8>) {
        for element in self {
            encode::element(element, false, out);
        }
    }
}

impl Pack for () {
    fn pack_into(&self, _out: &mut Vec<u8>) {}
}

impl Pack for Vec<Element> {
    fn pack_into(&self, out: &mut Vec<u8>) {
        self[..].pack_into(out);
    }
}

impl Unpack for Vec<Element> {
    fn from_elements(elements: Vec<Element>) -> Result<Self> {
        Ok(elements)
    }
}

macro_rules! tuples {
    ($(($($name:ident $index:tt),*))*) => {$(
        impl<$($name: IntoElement),*> Pack for ($($name,)*) {
            fn pack_into(&self, out: &mut Vec<u8>) {
                let _ = &out;
                $(self.$index.encode(false, out);)*
            }
        }

        impl<$($name: IntoElement),*> IntoElement for ($($name,)*) {
            fn encode(&self, _nested: bool, out: &mut Vec<u8>) {
                out.push(encode::TUPLE);
                $(self.$index.encode(true, out);)*
                out.push(encode::END);
            }
        }

        impl<$($name: FromElement),*> Unpack for ($($name,)*) {
            fn from_elements(elements: Vec<Element>) -> Result<Self> {
                let found = elements.len();
                let mut elements = elements.into_iter();
                let mut wanted = 0;
                let tuple = ($({
                    wanted += 1;
                    match elements.next() {
                        Some(element) => $name::from_element(element)?,
                        None => return Err(Error::corrupt(format!("key has only {found} elements"))),
                    }
                },)*);
                if found > wanted {
                    return Err(Error::corrupt(format!("key has {found} elements, not {wanted}")));
                }
                Ok(tuple)
            }
        }

        impl<$($name: FromElement),*> FromElement for ($($name,)*) {
            fn from_element(element: Element) -> Result<Self> {
                match element {
                    Element::Tuple(elements) => Self::from_elements(elements),
                    _ => mismatch("tuple"),
                }
            }
        }
    )*};
}

tuples! {
    (A 0)
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7)
}
