//! Ids as Kafka writes them in text: the 16 bytes in URL-safe base64, without padding, 22 characters.
//!
//! *Which core*: any.
//! *Invariants*: what is written reads back; nothing else is accepted.
//! Source: org.apache.kafka.common.Uuid.

use uuid::Uuid;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const TEXT_CHARS: usize = 22;

/// The id as text.
pub fn to_text(id: Uuid) -> String {
    // 22 digits of 6 bits are 132 bits: the last has 4 zero bits.
    let bits = id.as_u128();
    let digit = |index: usize| match 122_usize.checked_sub(index * 6) {
        Some(shift) => (bits >> shift) as usize & 63,
        None => (bits as usize & 3) << 4,
    };
    (0..TEXT_CHARS).map(|index| char::from(ALPHABET[digit(index)])).collect()
}

/// The id that [`to_text`] makes this text of.
pub fn from_text(text: &str) -> Option<Uuid> {
    if text.len() != TEXT_CHARS {
        return None;
    }
    let mut bits: u128 = 0;
    for (index, character) in text.bytes().enumerate() {
        let digit = ALPHABET.iter().position(|&known| known == character)? as u128;
        match 122_usize.checked_sub(index * 6) {
            Some(shift) => bits |= digit << shift,
            None if digit & 15 == 0 => bits |= digit >> 4,
            None => return None,
        }
    }
    Some(Uuid::from_u128(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_as_kafka_prints_them() {
        for (id, text) in [
            (Uuid::from_u128(0), "AAAAAAAAAAAAAAAAAAAAAA"),
            (Uuid::from_u128(1), "AAAAAAAAAAAAAAAAAAAAAQ"),
            (Uuid::from_u128(u128::MAX), "_____________________w"),
            (Uuid::from_u128(0x00112233445566778899aabbccddeeff), "ABEiM0RVZneImaq7zN3u_w"),
        ] {
            assert_eq!(to_text(id), text);
            assert_eq!(from_text(text), Some(id));
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in ["", "AAAA", "AAAAAAAAAAAAAAAAAAAAAB", "AAAAAAAAAAAAAAAAAAAAA=", "AAAAAAAAAAAAAAAAAAAAAAA", "ä"] {
            assert_eq!(from_text(text), None, "{text}");
        }
    }
}
