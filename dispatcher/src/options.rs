//! What a trigger asks for in its annotations, beyond Knative's fields.

use std::{collections::BTreeMap, num::NonZeroU32};

use channel::Invalid;

/// `ordered` delivers events of one key one after the other; the default is `unordered`.
pub const ORDERING: &str = "catchment.dev/ordering";

/// Most deliveries at a time, over all workers.
pub const MAX_IN_FLIGHT: &str = "catchment.dev/max-in-flight";

/// `"true"` delivers nothing for now: the trigger's events wait.
pub const PAUSED: &str = "catchment.dev/paused";

/// Deliveries at a time when the trigger does not say.
pub const IN_FLIGHT_DEFAULT: NonZeroU32 = NonZeroU32::MIN.saturating_add(31);

/// Most deliveries at a time that may be asked for.
pub const IN_FLIGHT_MAX: u32 = 1024;

/// The prefix of all annotations of this program.
const PREFIX: &str = "catchment.dev/";

/// The annotations of a trigger, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TriggerOptions {
    /// Whether events of one key (`partitionkey`, or else all events) are delivered one after the other.
    pub ordered: bool,
    /// Most deliveries at a time, over all workers.
    pub in_flight_max: NonZeroU32,
    /// Whether nothing is delivered for now.
    pub paused: bool,
}

impl TriggerOptions {
    /// Reads the annotations and adds everything that is wrong with them to `problems`; what is
    /// wrong counts as not written. Annotations of others are not looked at.
    pub fn read(annotations: &BTreeMap<String, String>, problems: &mut Vec<Invalid>) -> Self {
        let mut options = Self { ordered: false, in_flight_max: IN_FLIGHT_DEFAULT, paused: false };
        for (name, value) in annotations.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
            let rule = match (name.as_str(), value.as_str()) {
                (ORDERING, "ordered") => {
                    options.ordered = true;
                    continue;
                }
                (ORDERING, "unordered") | (PAUSED, "false") => continue,
                (PAUSED, "true") => {
                    options.paused = true;
                    continue;
                }
                (PAUSED, _) => "must be \"true\" or \"false\"".to_owned(),
                (ORDERING, _) => "must be ordered or unordered".to_owned(),
                (MAX_IN_FLIGHT, value) => match value.parse::<NonZeroU32>() {
                    Ok(count) if count.get() <= IN_FLIGHT_MAX => {
                        options.in_flight_max = count;
                        continue;
                    }
                    _ => format!("must be a number from 1 to {IN_FLIGHT_MAX}"),
                },
                _ => format!("is not known; there are {ORDERING}, {MAX_IN_FLIGHT} and {PAUSED}"),
            };
            problems.push(Invalid::new(format!("metadata.annotations[{name}]"), rule));
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(annotations: &[(&str, &str)]) -> (TriggerOptions, Vec<String>) {
        let annotations =
            annotations.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut problems = Vec::new();
        let options = TriggerOptions::read(&annotations, &mut problems);
        (options, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let (options, problems) = read(&[("example.com/ordering", "yes")]);
        assert_eq!((options.ordered, options.in_flight_max.get()), (false, 32));
        assert!(problems.is_empty());
    }

    #[test]
    fn what_is_said_counts() {
        let said = [(ORDERING, "ordered"), (MAX_IN_FLIGHT, "1"), (PAUSED, "true")];
        let (options, problems) = read(&said);
        assert_eq!((options.ordered, options.in_flight_max.get(), options.paused), (true, 1, true));
        assert!(problems.is_empty());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (name, value) in [
            (ORDERING, "Ordered"),
            (PAUSED, "yes"),
            (MAX_IN_FLIGHT, "0"),
            (MAX_IN_FLIGHT, "many"),
            (MAX_IN_FLIGHT, "1025"),
            ("catchment.dev/orderign", "ordered"),
        ] {
            let (_, problems) = read(&[(name, value)]);
            assert_eq!(problems.len(), 1, "{name}={value}");
            assert!(problems[0].contains(name));
        }
    }
}
