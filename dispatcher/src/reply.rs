//! Answer of a subscriber -> the event that it carries, if it carries one.

use channel::{Draft, binding::http};

use crate::http::Answer;

/// What every media type of CloudEvents begins with.
const FAMILY: &str = "application/cloudevents";

/// The event in a 200 answer; `None` when it carries none, which is no failure (Knative's data
/// plane: an unexpected payload leaves the event accepted).
///
/// `Some(Err)` says in words why what claims to be an event is not one.
pub(crate) fn read(answer: &Answer) -> Option<Result<Draft, String>> {
    let has_family = |value: &[u8]| {
        let start = value.get(..FAMILY.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(FAMILY.as_bytes()))
    };
    let claims_to_be_one = answer.header("ce-specversion").is_some()
        || answer.header("content-type").is_some_and(has_family);
    if !claims_to_be_one {
        return None;
    }
    if answer.truncated {
        return Some(Err("the reply is longer than an event may be".to_owned()));
    }
    let decoded = http::decode(&answer.header_map(), answer.body.clone(), &http::Limits::default());
    Some(match decoded {
        Ok(http::Decoded::One(draft)) => Ok(draft),
        Ok(http::Decoded::Many(_)) => Err("the reply is a batch; it must be one event".to_owned()),
        Err(error) => Err(format!("the reply is not a valid event: {error}")),
    })
}
