//! Zig-zag varints, and byte strings whose length is one.

/// Bits of each byte that carry the number.
const BITS: u32 = 7;

fn take_unsigned(bytes: &mut &[u8], bytes_max: usize) -> Result<u64, &'static str> {
    let mut number = 0;
    for (index, &byte) in bytes.iter().take(bytes_max).enumerate() {
        number |= u64::from(byte & 0x7f) << (index as u32 * BITS);
        if byte < 0x80 {
            *bytes = &bytes[index + 1..];
            return Ok(number);
        }
    }
    Err(if bytes.len() < bytes_max { "the bytes end within a number" } else { "a number is too long" })
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// A number of 32 bits: five bytes at most.
pub(super) fn take_varint(bytes: &mut &[u8]) -> Result<i32, &'static str> {
    let number = take_unsigned(bytes, 5)?;
    u32::try_from(number).map(|number| unzigzag(u64::from(number)) as i32).map_err(|_| "a number is too large")
}

/// A number of 64 bits: ten bytes at most.
pub(super) fn take_varlong(bytes: &mut &[u8]) -> Result<i64, &'static str> {
    take_unsigned(bytes, 10).map(unzigzag)
}

/// Bytes with their length before them; a negative length is `None`.
pub(super) fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>, &'static str> {
    let Ok(length) = usize::try_from(take_varint(bytes)?) else { return Ok(None) };
    let (taken, rest) = bytes.split_at_checked(length).ok_or("a field is longer than its record")?;
    *bytes = rest;
    Ok(Some(taken))
}

pub(super) fn put_varint(out: &mut Vec<u8>, number: i64) {
    let mut zigzag = (number << 1 ^ number >> 63) as u64;
    while zigzag >= 0x80 {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= BITS;
    }
    out.push(zigzag as u8);
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    put_varint(out, bytes.map_or(-1, |bytes| bytes.len() as i64));
    out.extend(bytes.unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_what_is_cut_or_too_long_is_refused() {
        for number in [0, 1, -1, 63, 64, -64, -65, i64::from(i32::MAX), i64::from(i32::MIN), i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            put_varint(&mut out, number);
            assert_eq!(take_varlong(&mut &out[..]), Ok(number));
            for cut in 0..out.len() {
                assert!(take_varlong(&mut &out[..cut]).is_err());
            }
            assert_eq!(take_varint(&mut &out[..]).ok(), i32::try_from(number).ok());
        }
        assert!(take_varint(&mut &[0x80; 5][..]).is_err());
        assert!(take_varlong(&mut &[0x80; 10][..]).is_err());
    }
}
