//! The shape of every served request, walked before it is decoded: no length may claim more than the request has bytes.
//!
//! *Which core*: the connection's shard.
//! *Invariants*: after [`check`], every array in the request has at most as many elements as there are bytes left for them, and
//! every string and bytes field lies inside. The walk takes no memory, and reads each field at the place where the decoder will.
//! *Why*: the generated decoder trusts array lengths and reserves memory by them; 15 bytes could ask it for 100 GB (lesson 81).
//! *Not here*: what a request means. Bytes behind a request are nobody's, as in Kafka.

mod tables;

use kafka_protocol::messages::ApiKey;

/// A field's form, for the versions from `.0` up to `.1`.
struct Field(i16, i16, Form);

enum Form {
    /// So many bytes.
    Fixed(usize),
    /// A string, maybe null.
    Text,
    /// Bytes, maybe null.
    Blob,
    /// An array of structs, maybe null.
    Array(&'static [Field]),
    /// An array of fixed-size elements, maybe null.
    FixedArray(usize),
    /// An array of strings.
    TextArray,
    /// A struct by itself.
    Struct(&'static [Field]),
    /// A struct, or null: a byte before it says which.
    MaybeStruct(&'static [Field]),
    /// Not at this place: a tagged field of this number, behind the struct's other fields (KIP-482).
    Tagged(u64, &'static Form),
}

const LAST: i16 = i16::MAX;

/// What is wrong with a request's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// A field goes beyond the request's end.
    #[error("a field ends beyond the request's {0} bytes")]
    Truncated(usize),
    /// An array claims more elements than there are bytes for.
    #[error("an array of {count} elements in {left} bytes")]
    Array {
        /// Elements claimed.
        count: u64,
        /// Bytes left.
        left: usize,
    },
    /// A variable-length integer of more than five bytes.
    #[error("a malformed varint")]
    Varint,
    /// A length below -1.
    #[error("a negative length")]
    Negative,
    /// A tagged field that does not fill its size, or that this version does not have.
    #[error("tagged field {0} is not what it claims")]
    Tag(u64),
    /// This API has no table: it is not served.
    #[error("no such API")]
    Unserved,
}

struct Walk<'a> {
    whole: usize,
    rest: &'a [u8],
    version: i16,
    flexible: bool,
}

impl Walk<'_> {
    fn skip(&mut self, bytes: usize) -> Result<(), ShapeError> {
        self.rest = self.rest.get(bytes..).ok_or(ShapeError::Truncated(self.whole))?;
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, ShapeError> {
        let byte = *self.rest.first().ok_or(ShapeError::Truncated(self.whole))?;
        self.skip(1)?;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, ShapeError> {
        let mut value = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return if value <= u64::from(u32::MAX) { Ok(value) } else { Err(ShapeError::Varint) };
            }
        }
        Err(ShapeError::Varint)
    }

    fn fixed_length(&mut self, width: usize) -> Result<i64, ShapeError> {
        let bytes = self.rest.get(..width).ok_or(ShapeError::Truncated(self.whole))?;
        let negative = bytes[0] & 0x80 != 0;
        let value = bytes.iter().fold(if negative { -1i64 } else { 0 }, |value, byte| value << 8 | i64::from(*byte));
        self.skip(width)?;
        Ok(value)
    }

    /// A length that is a varint plus one where flexible, else an integer of `width` bytes; null counts as 0.
    fn length(&mut self, width: usize) -> Result<u64, ShapeError> {
        if self.flexible {
            return Ok(self.varint()?.saturating_sub(1));
        }
        match self.fixed_length(width)? {
            -1 => Ok(0),
            length => u64::try_from(length).map_err(|_| ShapeError::Negative),
        }
    }

    fn sized(&mut self, width: usize) -> Result<(), ShapeError> {
        let length = self.length(width)?;
        self.skip(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn count(&mut self) -> Result<u64, ShapeError> {
        let (count, left) = (self.length(4)?, self.rest.len());
        // Every element takes at least a byte.
        if count > left as u64 { Err(ShapeError::Array { count, left }) } else { Ok(count) }
    }

    /// The tagged fields of a struct. The decoder skips those that it does not know by their size; those that it knows it reads by
    /// their form, whatever the size says, so the two must agree.
    fn tags(&mut self, fields: &[Field]) -> Result<(), ShapeError> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.varint()? {
            let number = self.varint()?;
            let bytes = self.varint()? as usize;
            let before = self.rest.len();
            match fields.iter().find(|field| matches!(field.2, Form::Tagged(known, _) if known == number)) {
                None => self.skip(bytes)?,
                Some(Field(from, to, Form::Tagged(_, form))) if (*from..=*to).contains(&self.version) => {
                    self.field(form)?;
                }
                Some(_) => return Err(ShapeError::Tag(number)),
            }
            if before - self.rest.len() != bytes {
                return Err(ShapeError::Tag(number));
            }
        }
        Ok(())
    }

    fn fields(&mut self, fields: &[Field]) -> Result<(), ShapeError> {
        for Field(from, to, form) in fields {
            if (*from..=*to).contains(&self.version) {
                self.field(form)?;
            }
        }
        self.tags(fields)
    }

    fn field(&mut self, form: &Form) -> Result<(), ShapeError> {
        match form {
            Form::Fixed(bytes) => self.skip(*bytes),
            Form::Text => self.sized(2),
            Form::Blob => self.sized(4),
            Form::Array(fields) => (0..self.count()?).try_for_each(|_| self.fields(fields)),
            Form::FixedArray(bytes) => {
                let count = self.count()? as usize;
                self.skip(count.saturating_mul(*bytes))
            }
            Form::TextArray => (0..self.count()?).try_for_each(|_| self.sized(2)),
            Form::Struct(fields) => self.fields(fields),
            // The decoder refuses what is neither 1 nor -1.
            Form::MaybeStruct(fields) if self.byte()? == 1 => self.fields(fields),
            Form::MaybeStruct(_) => Ok(()),
            Form::Tagged(..) => Ok(()),
        }
    }
}

/// Checks the body of a request of a served API and version; returns how many bytes of it the request takes.
pub fn check(key: ApiKey, version: i16, body: &[u8]) -> Result<usize, ShapeError> {
    let (flexible_from, fields) = tables::of(key).ok_or(ShapeError::Unserved)?;
    let mut walk = Walk { whole: body.len(), rest: body, version, flexible: version >= flexible_from };
    walk.fields(fields)?;
    Ok(body.len() - walk.rest.len())
}

/// Checks a request header of the given header version, at the start of `frame`.
pub fn check_header(header_version: i16, frame: &[u8]) -> Result<(), ShapeError> {
    // The client id is an old-style string in every header version (KIP-482).
    let mut walk = Walk { whole: frame.len(), rest: frame, version: header_version, flexible: false };
    walk.skip(8)?;
    if header_version >= 1 {
        walk.sized(2)?;
    }
    walk.flexible = header_version >= 2;
    walk.tags(&[])
}

#[cfg(test)]
mod tests;
