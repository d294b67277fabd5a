//! The attribute that a filter names, and how it is read from an event.

use std::fmt;

use channel::Attributes;

/// An attribute as a filter names it, with Knative's extra names understood.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttributeName {
    /// The attribute or extension of this name.
    Plain(Box<str>),
    /// `dataschema`, or `schemaurl` as version 0.3 called it: one attribute under two names.
    DataSchema,
    /// `datamediatype`: the media type in `datacontenttype`, without its parameters. As media
    /// types do, it compares without regard to ASCII case.
    DataMediaType,
}

impl AttributeName {
    /// Understands a name that [`is_valid`] has passed.
    pub(super) fn new(name: &str) -> Self {
        match name {
            "dataschema" | "schemaurl" => Self::DataSchema,
            "datamediatype" => Self::DataMediaType,
            plain => Self::Plain(plain.into()),
        }
    }

    /// The attribute's text in `event`, or `None` when the event does not have it.
    pub fn read<'e>(&self, event: &'e (impl Attributes + ?Sized)) -> Option<&'e str> {
        match self {
            Self::Plain(name) => event.attribute(name),
            // In a 1.0 event `schemaurl` is somebody's extension, not the schema.
            Self::DataSchema if event.attribute("specversion") == Some("0.3") => {
                event.attribute("schemaurl").or_else(|| event.attribute("dataschema"))
            }
            Self::DataSchema => event.attribute("dataschema"),
            Self::DataMediaType => {
                let media_type = event.attribute("datacontenttype")?.split(';').next()?;
                Some(media_type.trim_ascii())
            }
        }
    }

    /// Whether equal texts are equal bytes, so that they can be looked up by hash.
    pub(crate) fn compares_by_bytes(&self) -> bool {
        !matches!(self, Self::DataMediaType)
    }

    /// Whether every event has it.
    pub(crate) fn is_required(&self) -> bool {
        matches!(self, Self::Plain(name) if matches!(&**name, "id" | "source" | "specversion" | "type"))
    }
}

impl fmt::Display for AttributeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(name) => name,
            Self::DataSchema => "dataschema",
            Self::DataMediaType => "datamediatype",
        })
    }
}

/// Whether a filter may name `name`: `^[a-z][a-z0-9]*$`, Knative's rule.
pub(super) fn is_valid(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}
