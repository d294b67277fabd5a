//! An attribute that the event does not have, and the one that may have been meant.

use channel::{Attributes as _, Event};

/// Names longer than this are not compared.
const NAME_BYTES_MAX: usize = 64;

/// The name that `name` was probably meant to be, in words.
pub(super) fn meant(name: &str, event: &Event) -> Option<String> {
    if name == "data" {
        return Some("filters see the attributes of an event, not its data".to_owned());
    }
    if let Some(bare) = name.strip_prefix("ce").filter(|bare| event.attribute(bare).is_some()) {
        return Some(format!("the event has `{bare}`; attributes are named without `ce-`"));
    }
    if name == "dataschema" && event.attribute("schemaurl").is_some() {
        return Some(
            "the event has `schemaurl`, which only version 0.3 calls its schema".to_owned(),
        );
    }
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    // A third of the letters may be wrong, as in the names of fields.
    let wrong_max = (name.chars().count() / 3).max(1);
    let names = event.attributes().map(|attribute| attribute.name);
    let near = names
        .map(|other| (strsim::damerau_levenshtein(name, other), other))
        .filter(|(wrong, _)| *wrong <= wrong_max)
        .min_by_key(|(wrong, _)| *wrong);
    near.map(|(_, other)| format!("the event has `{other}`"))
}
