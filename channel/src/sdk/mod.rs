//! To and from the event of `cloudevents-sdk`, the type that Rust programs know.
//!
//! Both ways go through the SDK's message traits, so an [`Event`] also goes into every binding of the
//! SDK ([`BinaryDeserializer`], [`StructuredDeserializer`]), and [`Builder`] takes an event out of one.
//!
//! # What is lost
//!
//! To the SDK: `time` is turned to UTC and `dataschema` and `schemaurl` are normalised, because it
//! holds them parsed; the order of attributes, carried headers, and the form of the data, which arrives
//! as [`cloudevents::Data::Binary`] with its bytes unchanged. An attribute that it cannot parse, such
//! as a relative `schemaurl`, is an error.
//!
//! From the SDK: nothing, but its JSON data has been parsed and is written anew by it. Its events are
//! checked like any others: it accepts many that are not valid.

#[cfg(test)]
mod tests;

use cloudevents::{
    Data as SdkData,
    event::SpecVersion as SdkVersion,
    message::{
        BinaryDeserializer, BinarySerializer, Encoding, Error, MessageAttributeValue,
        MessageDeserializer, Result as SdkResult, StructuredDeserializer, StructuredSerializer,
    },
};

use crate::{
    Data, Draft, Event, Form, Invalid, Kind, SpecVersion,
    binding::{Limits, json},
    event::DATACONTENTTYPE,
    rules,
};

impl TryFrom<&Event> for cloudevents::Event {
    type Error = Error;

    fn try_from(event: &Event) -> SdkResult<Self> {
        BinaryDeserializer::into_event(event)
    }
}

impl TryFrom<cloudevents::Event> for Event {
    type Error = Invalid;

    fn try_from(event: cloudevents::Event) -> Result<Self, Invalid> {
        let form = match event.data() {
            Some(SdkData::Json(_)) => Form::Json,
            Some(SdkData::String(_)) => Form::Text,
            _ => Form::Opaque,
        };
        let mut draft: Draft =
            BinaryDeserializer::deserialize_binary(event, Builder::default()).map_err(invalid)?;
        let is_json = match draft.get(DATACONTENTTYPE) {
            Some(media_type) => rules::is_json(media_type),
            None if form == Form::Json => {
                draft.push_text(DATACONTENTTYPE, "application/json", Kind::String)?;
                true
            }
            None => false,
        };
        // Text that claims to be JSON, and JSON that claims to be something else, are mere bytes.
        let fits = (form == Form::Json) == is_json;
        if let Some(data) = draft.data().cloned().filter(|_| fits) {
            draft.set_data(Some(Data { form, ..data }));
        }
        draft.finish()
    }
}

impl BinaryDeserializer for &Event {
    fn deserialize_binary<R: Sized, V: BinarySerializer<R>>(self, sink: V) -> SdkResult<R> {
        let version = match self.spec_version() {
            SpecVersion::V03 => SdkVersion::V03,
            SpecVersion::V10 => SdkVersion::V10,
        };
        let known = version.attribute_names();
        let mut sink = sink.set_spec_version(version)?;
        for attribute in self.attributes().filter(|attribute| attribute.name != "specversion") {
            let value = value(attribute.text, attribute.kind);
            sink = if known.contains(&attribute.name) {
                sink.set_attribute(attribute.name, value)?
            } else {
                sink.set_extension(attribute.name, value)?
            };
        }
        match self.data() {
            Some(data) => sink.end_with_data(data.bytes.to_vec()),
            None => sink.end(),
        }
    }
}

impl StructuredDeserializer for &Event {
    fn deserialize_structured<R: Sized, V: StructuredSerializer<R>>(self, sink: V) -> SdkResult<R> {
        let mut body = Vec::new();
        json::write(self, &mut body);
        sink.set_structured_event(body)
    }
}

/// The binary encoding is preferred, since the SDK changes JSON.
impl MessageDeserializer for &Event {
    fn encoding(&self) -> Encoding {
        Encoding::BINARY
    }
}

fn value(text: &str, kind: Kind) -> MessageAttributeValue {
    let string = || MessageAttributeValue::String(text.to_owned());
    match kind {
        Kind::String => string(),
        Kind::Boolean => MessageAttributeValue::Boolean(text == "true"),
        Kind::Integer => text.parse().map_or_else(|_| string(), MessageAttributeValue::Integer),
    }
}

/// Builds an event from what an SDK message holds: the sink of
/// [`MessageDeserializer::deserialize_to`].
///
/// Errors carry the [`Invalid`] that names the attribute, as the source of [`Error::Other`].
#[derive(Debug)]
pub struct Builder(Draft);

impl Default for Builder {
    /// A builder of an event of version 1.0 until the message says otherwise.
    fn default() -> Self {
        Self(Draft::new(SpecVersion::V10))
    }
}

impl Builder {
    fn push(mut self, name: &str, value: &MessageAttributeValue) -> SdkResult<Self> {
        let kind = match value {
            MessageAttributeValue::Boolean(_) => Kind::Boolean,
            MessageAttributeValue::Integer(_) => Kind::Integer,
            _ => Kind::String,
        };
        self.0.push_text(name, &value.to_string(), kind).map_err(other)?;
        Ok(self)
    }
}

impl BinarySerializer<Draft> for Builder {
    fn set_spec_version(self, version: SdkVersion) -> SdkResult<Self> {
        Ok(Self(Draft::new(match version {
            SdkVersion::V03 => SpecVersion::V03,
            SdkVersion::V10 => SpecVersion::V10,
        })))
    }

    fn set_attribute(self, name: &str, value: MessageAttributeValue) -> SdkResult<Self> {
        self.push(name, &value)
    }

    fn set_extension(self, name: &str, value: MessageAttributeValue) -> SdkResult<Self> {
        self.push(name, &value)
    }

    fn end_with_data(mut self, bytes: Vec<u8>) -> SdkResult<Draft> {
        self.0.set_data(Some(Data::opaque(bytes.into())));
        Ok(self.0)
    }

    fn end(self) -> SdkResult<Draft> {
        Ok(self.0)
    }
}

impl StructuredSerializer<Draft> for Builder {
    fn set_structured_event(self, bytes: Vec<u8>) -> SdkResult<Draft> {
        json::read(&bytes.into(), &Limits::default()).map_err(other)
    }
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Other { source: Box::new(error) }
}

fn invalid(error: Error) -> Invalid {
    match error {
        Error::Other { source } => match source.downcast() {
            Ok(invalid) => *invalid,
            Err(source) => Invalid::new("event", source.to_string()),
        },
        error => Invalid::new("event", error.to_string()),
    }
}
