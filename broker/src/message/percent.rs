//! Percent-coding of header values (HTTP binding, section 3.1.3.2).

/// The value to put in a header: space, `"`, `%` and everything outside U+0021-U+007E become
/// `%XY`, so no text can end a header early.
pub(crate) fn encode(text: &str) -> String {
    let mut wire = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'"' | b'%' => push_hex(&mut wire, byte),
            0x21..=0x7e => wire.push(char::from(byte)),
            _ => push_hex(&mut wire, byte),
        }
    }
    wire
}

fn push_hex(wire: &mut String, byte: u8) {
    wire.push('%');
    for nibble in [byte >> 4, byte & 0xf] {
        if let Some(digit) = char::from_digit(nibble.into(), 16) {
            wire.push(digit.to_ascii_uppercase());
        }
    }
}

/// The text a header value stands for: quotes undone, then one round of percent-decoding.
///
/// A `%` without two hex digits stays as it is, because Go and Java senders do not encode it.
/// `None` when the bytes are not valid UTF-8, before or after decoding.
pub(crate) fn decode(wire: &[u8]) -> Option<String> {
    let wire = unquote(wire);
    let mut bytes = Vec::with_capacity(wire.len());
    let mut rest = wire.as_slice();
    while let Some((&first, tail)) = rest.split_first() {
        if let (b'%', [high, low, after @ ..]) = (first, tail)
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            bytes.push(high << 4 | low);
            rest = after;
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn unquote(wire: &[u8]) -> Vec<u8> {
    let [b'"', quoted @ .., b'"'] = wire else { return wire.to_vec() };
    let mut bytes = Vec::with_capacity(quoted.len());
    let mut escaped = false;
    for &byte in quoted {
        if byte == b'\\' && !escaped {
            escaped = true;
        } else {
            escaped = false;
            bytes.push(byte);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_coded_as_the_binding_says() {
        let cases = [
            ("plain/text:?&=", "plain/text:?&="),
            ("a b", "a%20b"),
            ("100%", "100%25"),
            ("say \"hi\"", "say%20%22hi%22"),
            ("Euro € 😀", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
            ("a\r\nce-evil: 1", "a%0D%0Ace-evil:%201"),
            ("\u{7f}", "%7F"),
        ];
        for (text, wire) in cases {
            assert_eq!(encode(text), wire);
            assert_eq!(decode(wire.as_bytes()).as_deref(), Some(text));
        }
    }

    #[test]
    fn other_senders_are_understood() {
        let cases: [(&[u8], Option<&str>); 7] = [
            (b"a b", Some("a b")),
            (b"%e2%82%ac", Some("€")),
            ("€".as_bytes(), Some("€")),
            (b"50% off %4", Some("50% off %4")),
            (b"\"a \\\"b\\\"\"", Some("a \"b\"")),
            (b"%2541", Some("%41")),
            (b"%C0%80", None),
        ];
        for (wire, text) in cases {
            assert_eq!(decode(wire).as_deref(), text, "{}", String::from_utf8_lossy(wire));
        }
    }
}
