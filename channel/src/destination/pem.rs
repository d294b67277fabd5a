//! Whether a text holds certificates, judged before any connection needs them.

use base64::{Engine, prelude::BASE64_STANDARD};

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// First byte of every certificate in DER: the tag of a SEQUENCE.
const SEQUENCE: u8 = 0x30;

/// Checks that `text` is one or more PEM certificates (RFC 7468), in Knative's words if not.
///
/// The certificate inside is only looked at for its tag; the TLS client reads it whole.
pub(super) fn check(text: &str) -> Result<(), &'static str> {
    let mut rest = text;
    let mut is_empty = true;
    while let Some((_, block)) = rest.split_once(BEGIN) {
        let (label, body) = block.split_once(DASHES).ok_or(INVALID)?;
        let (body, after) = body.split_once(END).ok_or(INVALID)?;
        if label != "CERTIFICATE" {
            return Err("CA Cert provided is not a certificate");
        }
        rest = after.strip_prefix(label).and_then(|it| it.strip_prefix(DASHES)).ok_or(INVALID)?;
        let packed: String = body.split_ascii_whitespace().collect();
        let der = BASE64_STANDARD.decode(packed).map_err(|_| INVALID)?;
        if der.first() != Some(&SEQUENCE) {
            return Err(INVALID);
        }
        is_empty = false;
    }
    if is_empty { Err(INVALID) } else { Ok(()) }
}

const INVALID: &str = "CA Cert provided is invalid";
