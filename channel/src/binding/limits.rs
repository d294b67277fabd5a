//! How much of one message a reader takes.

/// Bounds of one message. The length of the whole is bounded by whoever reads it from the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest value of one attribute, in bytes as it stands in the message.
    pub attribute_bytes_max: usize,
    /// Most attributes of one event beyond those that the specification names.
    pub extensions_max: usize,
    /// Most events in one batch.
    pub batch_events_max: usize,
    /// Most JSON objects and arrays that are open at once, the envelope of the event included.
    pub json_depth_max: usize,
}

impl Default for Limits {
    /// 4 KiB per attribute, 64 extensions, 1000 events in a batch, 64 levels of JSON.
    fn default() -> Self {
        Self {
            attribute_bytes_max: 4096,
            extensions_max: 64,
            batch_events_max: 1000,
            json_depth_max: 64,
        }
    }
}

impl Limits {
    /// The rule that a value of `len` bytes breaks, if it does.
    pub(crate) fn attribute_rule(&self, len: usize) -> Option<String> {
        let max = self.attribute_bytes_max;
        (len > max).then(|| format!("must not be longer than {max} bytes"))
    }

    /// The rule that an event with `extensions` extensions breaks, if it does.
    pub(crate) fn extensions_rule(&self, extensions: usize) -> Option<String> {
        let max = self.extensions_max;
        (extensions > max).then(|| format!("an event must not have more than {max} extensions"))
    }
}
