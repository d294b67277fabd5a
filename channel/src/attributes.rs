//! What a filter sees of an event: attribute names and their text.

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
}

impl<T: Attributes + ?Sized> Attributes for &T {
    fn attribute(&self, name: &str) -> Option<&str> {
        (**self).attribute(name)
    }
}
