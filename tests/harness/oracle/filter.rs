//! The oracle's own filter evaluator, written from the Subscriptions API (3.2.4) and Knative's Trigger.

use serde_json::{Map, Value, json};

/// One element of a Trigger's `filters`.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// Every named attribute equals the value.
    Exact(Vec<(String, String)>),
    /// Every named attribute starts with the value.
    Prefix(Vec<(String, String)>),
    /// Every named attribute ends with the value.
    Suffix(Vec<(String, String)>),
    /// Every one is true.
    All(Vec<Filter>),
    /// At least one is true.
    Any(Vec<Filter>),
    /// It is not true.
    Not(Box<Filter>),
    /// An expression of CloudEvents SQL. The oracle has no engine of its own for it.
    Sql {
        /// The expression.
        text: String,
        /// What it means, in the other dialects.
        means: Box<Filter>,
    },
}

impl Filter {
    /// One attribute equals a value.
    #[must_use]
    pub fn exact(name: &str, value: &str) -> Self {
        Self::Exact(vec![(name.to_owned(), value.to_owned())])
    }

    /// One attribute starts with a value.
    #[must_use]
    pub fn prefix(name: &str, value: &str) -> Self {
        Self::Prefix(vec![(name.to_owned(), value.to_owned())])
    }

    /// One attribute ends with a value.
    #[must_use]
    pub fn suffix(name: &str, value: &str) -> Self {
        Self::Suffix(vec![(name.to_owned(), value.to_owned())])
    }

    /// The opposite.
    #[must_use]
    #[allow(clippy::should_implement_trait, reason = "the word of the specification")]
    pub fn not(filter: Self) -> Self {
        Self::Not(Box::new(filter))
    }

    /// An expression that accepts the same events as `means`.
    #[must_use]
    pub fn sql(text: &str, means: Self) -> Self {
        Self::Sql { text: text.to_owned(), means: Box::new(means) }
    }

    /// Whether an event with these decoded attributes passes. An attribute that is not there matches nothing.
    pub fn matches<'a>(&self, attribute: &impl Fn(&str) -> Option<&'a str>) -> bool {
        let every = |entries: &[(String, String)], holds: fn(&str, &str) -> bool| {
            entries.iter().all(|(name, value)| attribute(name).is_some_and(|is| holds(is, value)))
        };
        match self {
            Self::Exact(entries) => every(entries, |is, value| is == value),
            Self::Prefix(entries) => every(entries, |is, value| is.starts_with(value)),
            Self::Suffix(entries) => every(entries, |is, value| is.ends_with(value)),
            Self::All(filters) => filters.iter().all(|one| one.matches(attribute)),
            Self::Any(filters) => filters.iter().any(|one| one.matches(attribute)),
            Self::Not(filter) => !filter.matches(attribute),
            Self::Sql { means, .. } => means.matches(attribute),
        }
    }

    /// As it is written in a manifest.
    #[must_use]
    pub fn value(&self) -> Value {
        let map = |entries: &[(String, String)]| -> Value {
            Value::Object(
                entries
                    .iter()
                    .map(|(name, value)| (name.clone(), json!(value)))
                    .collect::<Map<_, _>>(),
            )
        };
        let list = |filters: &[Self]| -> Value { filters.iter().map(Self::value).collect() };
        match self {
            Self::Exact(entries) => json!({"exact": map(entries)}),
            Self::Prefix(entries) => json!({"prefix": map(entries)}),
            Self::Suffix(entries) => json!({"suffix": map(entries)}),
            Self::All(filters) => json!({"all": list(filters)}),
            Self::Any(filters) => json!({"any": list(filters)}),
            Self::Not(filter) => json!({"not": filter.value()}),
            Self::Sql { text, .. } => json!({"cesql": text}),
        }
    }
}

/// What a Trigger wants: `filters` when there are any, else `filter.attributes`, else everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    /// `filter.attributes`: an empty value asks for any that is not empty.
    pub attributes: Vec<(String, String)>,
    /// `filters`: all of them.
    pub filters: Vec<Filter>,
}

impl Selection {
    /// Whether an event with these decoded attributes passes.
    pub fn matches<'a>(&self, attribute: &impl Fn(&str) -> Option<&'a str>) -> bool {
        if !self.filters.is_empty() {
            return self.filters.iter().all(|one| one.matches(attribute));
        }
        self.attributes.iter().all(|(name, value)| match attribute(name) {
            None | Some("") => false,
            Some(is) => value.is_empty() || is == value,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Filter, Selection};

    fn attribute(name: &str) -> Option<&'static str> {
        match name {
            "type" => Some("com.example.made"),
            "source" => Some("/shop"),
            _ => None,
        }
    }

    #[test]
    fn a_filter_decides_as_the_specification_says() {
        let all = |filters| Filter::All(filters);
        let cases = [
            (Filter::exact("type", "com.example.made"), true),
            (Filter::exact("type", "com.example"), false),
            (Filter::prefix("type", "com."), true),
            (Filter::prefix("type", "made"), false),
            (Filter::suffix("type", ".made"), true),
            (Filter::suffix("subject", "x"), false),
            (Filter::not(Filter::exact("subject", "x")), true),
            (
                Filter::Any(vec![Filter::exact("source", "/x"), Filter::exact("source", "/shop")]),
                true,
            ),
            (all(vec![Filter::exact("source", "/shop"), Filter::exact("type", "x")]), false),
        ];
        for (filter, expected) in cases {
            assert_eq!(filter.matches(&attribute), expected, "{filter:?}");
        }
    }

    #[test]
    fn filters_hide_the_old_filter_and_an_empty_old_value_asks_for_presence() {
        let old = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        let both = Selection {
            attributes: old("type", "x"),
            filters: vec![Filter::exact("source", "/shop")],
        };
        assert!(both.matches(&attribute));
        let present = Selection { attributes: old("source", ""), filters: Vec::new() };
        assert!(present.matches(&attribute));
        let absent = Selection { attributes: old("subject", ""), filters: Vec::new() };
        assert!(!absent.matches(&attribute));
    }
}
