//! Text of attributes in HTTP headers (CloudEvents HTTP binding 1.0.2, section 3.1.3.2).

use std::borrow::Cow;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Whether a byte goes into a header as it is.
fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e) && byte != b'"' && byte != b'%'
}

/// Whether all bytes are printable ASCII, space included, with neither quoting nor percent-coding:
/// then they are their own text, and no rule about characters is broken. Looks at eight at a time.
pub(crate) fn is_plain_text(bytes: &[u8]) -> bool {
    let (words, _) = bytes.as_chunks::<8>();
    let is_plain = |word: &[u8; 8]| is_plain_word(u64::from_le_bytes(*word));
    match bytes.last_chunk::<8>() {
        Some(last) => is_plain(last) && words.iter().all(is_plain),
        None => bytes.iter().all(|&byte| byte == b' ' || self::is_plain(byte)),
    }
}

fn is_plain_word(word: u64) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // Bit 7 of a byte is set where it is zero; exact as long as no byte below it is.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let below_space = word.wrapping_sub(ONES * 0x20) & !word;
    let special =
        zero(word ^ (ONES * 0x22)) | zero(word ^ (ONES * 0x25)) | zero(word ^ (ONES * 0x7f));
    (word | below_space | special) & HIGH == 0
}

/// The header form of `text`, or `None` when it is the text itself.
pub(crate) fn encode(text: &str) -> Option<String> {
    if text.bytes().all(is_plain) {
        return None;
    }
    let mut wire = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if is_plain(byte) {
            wire.push(char::from(byte));
        } else {
            wire.push('%');
            wire.push(char::from(nibble(byte >> 4)));
            wire.push(char::from(nibble(byte & 0xf)));
        }
    }
    Some(wire)
}

fn nibble(value: u8) -> u8 {
    HEX.get(usize::from(value)).copied().unwrap_or(b'0')
}

/// The text that a header value stands for: quoted strings undone, then one round of percent-decoding.
///
/// Raw UTF-8 is taken as it is, since producers of Go and Rust send it.
///
/// # Errors
///
/// The rule that is broken: unfinished quoting or percent-coding, or bytes that are not UTF-8.
pub(crate) fn decode(wire: &[u8]) -> Result<Cow<'_, str>, &'static str> {
    let unquoted =
        if wire.contains(&b'"') { Cow::Owned(unquote(wire)?) } else { Cow::Borrowed(wire) };
    let decoded =
        if unquoted.contains(&b'%') { Cow::Owned(undo_percent(&unquoted)?) } else { unquoted };
    match decoded {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| NOT_UTF8),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| NOT_UTF8),
    }
}

const NOT_UTF8: &str = "is not valid UTF-8 after percent-decoding (HTTP binding 3.1.3.2)";

fn unquote(wire: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut text = Vec::with_capacity(wire.len());
    let mut bytes = wire.iter().copied();
    let mut quoted = false;
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => text.push(bytes.next().ok_or(UNFINISHED_QUOTE)?),
            byte => text.push(byte),
        }
    }
    if quoted { Err(UNFINISHED_QUOTE) } else { Ok(text) }
}

const UNFINISHED_QUOTE: &str = "has a double quote that is not closed (HTTP binding 3.1.3.2)";

fn undo_percent(wire: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut text = Vec::with_capacity(wire.len());
    let mut bytes = wire.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            text.push(byte);
            continue;
        }
        let high = bytes.next().and_then(hex_value).ok_or(BROKEN_PERCENT)?;
        let low = bytes.next().and_then(hex_value).ok_or(BROKEN_PERCENT)?;
        text.push(high << 4 | low);
    }
    Ok(text)
}

const BROKEN_PERCENT: &str = "has a '%' that two hexadecimal digits do not follow; \
    a percent sign itself is written %25 (HTTP binding 3.1.3.2)";

fn hex_value(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specifications_example_goes_both_ways() {
        let text = "Euro € 😀";
        let wire = "Euro%20%E2%82%AC%20%F0%9F%98%80";
        assert_eq!(encode(text).as_deref(), Some(wire));
        assert_eq!(decode(wire.as_bytes()).unwrap(), text);
    }

    #[test]
    fn text_without_special_characters_is_its_own_header() {
        assert_eq!(encode("/a?b=c&d:~"), None);
        assert!(matches!(decode(b"/a?b=c&d:~"), Ok(Cow::Borrowed("/a?b=c&d:~"))));
    }

    #[test]
    fn decoding_undoes_what_any_sender_may_write() {
        for (wire, text) in [
            ("a b", "a b"),
            ("%61", "a"),
            ("%e2%82%ac", "€"),
            ("%2525", "%25"),
            ("é", "é"),
            ("\"quoted\"", "quoted"),
            ("a \"b\\\"c\" d", "a b\"c d"),
            ("back\\slash", "back\\slash"),
            ("\"%20\"", " "),
            ("%F0%9f%98%80", "😀"),
            ("%22a%22", "\"a\""),
            ("\"\\a\\\\\"", "a\\"),
            ("a\"\"b", "ab"),
            ("\"a\" \"b\"", "a b"),
            ("~!*'();:@&=+$,/?#[]", "~!*'();:@&=+$,/?#[]"),
            ("", ""),
        ] {
            assert_eq!(decode(wire.as_bytes()).unwrap(), text, "{wire}");
        }
    }

    #[test]
    fn text_is_plain_when_each_of_its_bytes_is() {
        for len in [1, 7, 8, 9, 16, 23] {
            for at in 0..len {
                for byte in 0..=u8::MAX {
                    let mut text = vec![b'a'; len];
                    text[at] = byte;
                    let expected = matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'%';
                    assert_eq!(is_plain_text(&text), expected, "{byte} at {at} of {len}");
                }
            }
        }
        assert!(is_plain_text(b""));
    }

    proptest::proptest! {
        #[test]
        fn any_text_comes_back_from_its_header(text in ".{0,60}") {
            let wire = encode(&text).unwrap_or_else(|| text.clone());
            proptest::prop_assert!(wire.bytes().all(|byte| byte == b'%' || is_plain(byte)));
            proptest::prop_assert_eq!(decode(wire.as_bytes()).unwrap(), text);
        }
    }

    #[test]
    fn what_cannot_be_decoded_is_refused() {
        for wire in [
            &b"%"[..],
            b"%2",
            b"%zz",
            b"%4g",
            b"% 4",
            b"a%",
            b"%E2%82",
            b"%80",
            b"%FF",
            b"%F4%90%80%80",
            b"%F0%82%82%AC",
            b"\"%\"",
            b"%C0%A0",
            b"%ED%A0%80",
            b"%ED%A0%80%ED%B0%80",
            b"\xff",
            b"\"open",
            b"\"open\\",
        ] {
            assert!(decode(wire).is_err(), "{wire:?}");
        }
    }
}
