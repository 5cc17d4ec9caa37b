//! Reading elements back; any bytes are either a tuple or an error.

use uuid::Uuid;

use super::MAX_DEPTH;
use super::element::{Element, Int};
use super::encode::{
    BYTES, END, ESCAPE, FALSE, NULL, STRING, TRUE, TUPLE, UUID, VERSIONSTAMP, ZERO,
};
use crate::error::{Error, Result};
use crate::version::Versionstamp;

const MIN_INT: u8 = ZERO - 8;
const MAX_INT: u8 = ZERO + 8;

pub(super) fn elements(key: &[u8]) -> Result<Vec<Element>> {
    let mut reader = Reader { rest: key };
    let mut elements = Vec::new();
    while !reader.rest.is_empty() {
        elements.push(reader.element(0)?);
    }
    Ok(elements)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn element(&mut self, depth: usize) -> Result<Element> {
        match self.byte()? {
            NULL => Ok(Element::Null),
            BYTES => Ok(Element::Bytes(self.terminated()?.into())),
            STRING => {
                let text = String::from_utf8(self.terminated()?);
                text.map(Element::String)
                    .map_err(|error| Error::corrupt("key string is no utf-8").with_source(error))
            }
            TUPLE if depth == MAX_DEPTH => Err(Error::corrupt("key is nested too deep")),
            TUPLE => self.tuple(depth + 1),
            code @ MIN_INT..=MAX_INT => self.int(code),
            FALSE => Ok(Element::Bool(false)),
            TRUE => Ok(Element::Bool(true)),
            UUID => Ok(Element::Uuid(Uuid::from_bytes(self.array()?))),
            VERSIONSTAMP => Ok(Element::Versionstamp(Versionstamp::from_bytes(
                self.array()?,
            ))),
            code => Err(Error::corrupt(format!(
                "key has an unknown type code {code:#04x}"
            ))),
        }
    }

    fn tuple(&mut self, depth: usize) -> Result<Element> {
        let mut elements = Vec::new();
        loop {
            match self.rest {
                [NULL, ESCAPE, rest @ ..] => {
                    self.rest = rest;
                    elements.push(Element::Null);
                }
                [END, rest @ ..] => {
                    self.rest = rest;
                    return Ok(Element::Tuple(elements));
                }
                _ => elements.push(self.element(depth)?),
            }
        }
    }

    /// Reads an integer; only the shortest form is one, so that a tuple has one encoding.
    fn int(&mut self, code: u8) -> Result<Element> {
        let length = usize::from(code.abs_diff(ZERO));
        let negative = code < ZERO;
        let mut digits = if negative { [0xff; 8] } else { [0; 8] };
        digits[8 - length..].copy_from_slice(self.bytes(length)?);
        let digits = u64::from_be_bytes(digits);
        let magnitude = if negative { !digits } else { digits };
        if 8 - magnitude.leading_zeros() as usize / 8 != length {
            return Err(Error::corrupt("key integer is not in its shortest form"));
        }
        if !negative {
            return Ok(Element::Int(Int::from(magnitude)));
        }
        let number = i64::try_from(-i128::from(magnitude));
        number
            .map(|number| Element::Int(Int::from(number)))
            .map_err(|_| Error::corrupt("key integer is out of range"))
    }

    fn terminated(&mut self) -> Result<Vec<u8>> {
        let mut value = Vec::new();
        loop {
            let Some(zero) = self.rest.iter().position(|byte| *byte == END) else {
                return Err(cut());
            };
            value.extend_from_slice(&self.rest[..zero]);
            self.rest = &self.rest[zero + 1..];
            if self.rest.first() != Some(&ESCAPE) {
                return Ok(value);
            }
            value.push(END);
            self.rest = &self.rest[1..];
        }
    }

    fn byte(&mut self) -> Result<u8> {
        let (first, rest) = self.rest.split_first().ok_or_else(cut)?;
        self.rest = rest;
        Ok(*first)
    }

    fn bytes(&mut self, length: usize) -> Result<&[u8]> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or_else(cut)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }
}

fn cut() -> Error {
    Error::corrupt("key ends within an element")
}
