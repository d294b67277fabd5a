//! Numbers of bytes as Kubernetes writes them: `16Ki`, `1Mi`, `500M`, or plain.

use std::fmt;

use schemars::{JsonSchema, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{self, Unexpected, Visitor},
};

/// A number of bytes, as Kubernetes writes them: `16Ki`, `1Mi`, `500M`, or plain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub usize);

const UNITS: [(&str, usize); 6] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
];

impl Bytes {
    fn parse(text: &str) -> Option<Self> {
        let unit =
            UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
        let (number, factor) = unit.unwrap_or((text, 1));
        number.parse::<usize>().ok()?.checked_mul(factor).map(Self)
    }
}

impl JsonSchema for Bytes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Bytes".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        json_schema!({ "x-kubernetes-int-or-string": true })
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BytesVisitor)
    }
}

struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of bytes such as 65536 or 64Ki")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Bytes, E> {
        let refused = || E::invalid_value(Unexpected::Unsigned(number), &self);
        usize::try_from(number).map(Bytes).map_err(|_| refused())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Bytes, E> {
        let refused = || E::invalid_value(Unexpected::Signed(number), &self);
        usize::try_from(number).map(Bytes).map_err(|_| refused())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Bytes, E> {
        Bytes::parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_those_of_kubernetes() {
        for (text, bytes) in [("7", 7), ("16Ki", 16384), ("1Mi", 1 << 20), ("2k", 2000)] {
            assert_eq!(Bytes::parse(text), Some(Bytes(bytes)), "{text}");
        }
        for text in ["", "Ki", "1.5Mi", "-1", "1KB", "99999999999Gi"] {
            assert_eq!(Bytes::parse(text), None, "{text}");
        }
    }
}
