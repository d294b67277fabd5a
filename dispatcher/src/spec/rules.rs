//! What an API server refuses of triggers, subscriptions and deliveries, in Knative's words where it has the rule.
//!
//! It cannot look into filters inside of filters, nor parse an expression: that is left to checking.

use channel::{
    Reference,
    schema::{DURATION, Rule},
};

/// Longest of the texts of which only a few are taken.
pub(super) const WORD_LENGTH_MAX: usize = 64;

pub(super) const TRIGGER: [Rule; 4] = [
    Rule::new(
        "has(self.broker) && self.broker != '' || has(self.brokerRef)",
        "missing field(s): spec.broker",
    ),
    Rule::new(
        "!(has(self.broker) && self.broker != '' && has(self.brokerRef))",
        "expected exactly one, got both: spec.broker, spec.brokerRef",
    ),
    Rule::new(
        "(has(self.broker) ? self.broker : '') == (has(oldSelf.broker) ? oldSelf.broker : '')",
        "Immutable fields changed (-old +new): broker, spec",
    ),
    Rule::new(
        "has(self.subscriber)",
        "expected at least one, got none: spec.subscriber.ref, spec.subscriber.uri",
    ),
];

pub(super) const BROKER_REF: [Rule; 1] =
    [Rule::new("has(self.name) && self.name != ''", "missing field(s): name")];

pub(super) const FILTER: [Rule; 2] = [
    Rule::new(
        "[has(self.all), has(self.any), has(self.not), has(self.exact), has(self.prefix), has(self.suffix), has(self.cesql) && self.cesql != '', has(self.sql) && self.sql != ''].filter(is_set, is_set).size() <= 1",
        "multiple dialects found, filters can have only one dialect set",
    ),
    Rule::new(
        "has(self.all) || has(self.any) || has(self.not) || has(self.exact) || has(self.prefix) || has(self.suffix) || has(self.cesql) && self.cesql != '' || has(self.sql) && self.sql != ''",
        "no dialect found, set one of all, any, not, exact, prefix, suffix, cesql, sql",
    ),
];

pub(super) const ATTRIBUTE_NAMES: Rule = Rule::new(
    "self.all(name, name.matches('^[a-z][a-z0-9]*$'))",
    "Attribute name must start with a letter and can only contain lowercase alphanumeric",
);

pub(super) const ATTRIBUTES: [Rule; 3] = [
    ATTRIBUTE_NAMES,
    Rule::new("self.size() > 0", "must name at least one attribute"),
    Rule::new("self.all(name, self[name] != '')", "must not be empty"),
];

pub(super) const ELEMENTS: [Rule; 1] =
    [Rule::new("self.size() > 0", "must have at least one filter")];

pub(super) const RETRY: [Rule; 1] = [Rule::new("self >= 0", "invalid value: must not be negative")];

pub(super) const TIMEOUT: [Rule; 2] = [
    DURATION,
    Rule::of_text("self.matches('[1-9]') || !self.matches('[0-9]')", "must be longer than zero"),
];

pub(super) const DELAY: [Rule; 1] = [DURATION];

pub(super) const RETRY_AFTER_MAX: [Rule; 2] =
    [DURATION, Rule::of_text("!self.startsWith('-')", "must not be negative")];

pub(super) const BACKOFF_POLICY: [Rule; 1] =
    [Rule::of_text("self in ['linear', 'exponential']", "must be linear or exponential")];

pub(super) const FORMAT: [Rule; 1] =
    [Rule::of_text("self in ['json', 'binary']", "must be json or binary")];

pub(super) const SUBSCRIPTION: [Rule; 3] = [
    Rule::new(
        "has(self.channel)",
        "missing field(s): spec.channel: the Subscription must reference a channel",
    ),
    Rule::new(
        "has(self.subscriber)",
        "missing field(s): spec.subscriber: the Subscription must reference a subscriber",
    ),
    Rule::new(
        "!has(oldSelf.channel) || has(self.channel) && self.channel == oldSelf.channel",
        "Immutable fields changed (-old +new): spec",
    ),
];

pub(super) const SUBSCRIBED_CHANNEL: [Rule; 4] = [
    Reference::RULES[0],
    Reference::RULES[1],
    Reference::RULES[2],
    Rule::new(
        "!has(self.__namespace__) || self.__namespace__ == ''",
        "must not set the field(s): namespace: only name, apiVersion and kind are supported fields",
    ),
];
