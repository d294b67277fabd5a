//! What a filter sees of an event: attribute names and their text.

use crate::Kind;

/// Read access to the context attributes of an event.
///
/// A `cloudevents::Event` is turned into an [`Event`](crate::Event) first (see [`crate::sdk`]): it
/// holds times, URIs and numbers without their text, and a filter must not miss those.
pub trait Attributes {
    /// The canonical text of attribute `name` (lower case, as in the specification), or `None`
    /// when the event does not have it. Percent-coding of the HTTP binding is already undone.
    ///
    /// `specversion`, `id`, `source` and `type` are attributes like any other.
    fn attribute(&self, name: &str) -> Option<&str>;

    /// The same text, and the type that the event was written with: a string, unless the JSON
    /// format gave an extension a number or a truth value.
    fn typed_attribute(&self, name: &str) -> Option<(&str, Kind)> {
        self.attribute(name).map(|text| (text, Kind::String))
    }
}

impl<T: Attributes + ?Sized> Attributes for &T {
    fn attribute(&self, name: &str) -> Option<&str> {
        (**self).attribute(name)
    }

    fn typed_attribute(&self, name: &str) -> Option<(&str, Kind)> {
        (**self).typed_attribute(name)
    }
}
