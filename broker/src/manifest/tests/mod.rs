//! Manifests from text, from files, and as they change.

use std::{path::PathBuf, sync::Arc};

use super::{
    document::Content,
    files,
    problem::Problem,
    resource::Resources,
    state::{Snapshot, State},
};

mod bad_input;
mod channels;
mod filters;
mod linked;
mod read;
mod sources;
mod state;
mod watched;

/// What a file of this name and content says.
fn content(name: &str, bytes: impl AsRef<[u8]>) -> Content {
    files::read_text(&Arc::new(PathBuf::from(name)), bytes.as_ref())
}

/// Reads `files` once, by name and text.
fn load(files: &[(&str, &str)]) -> Snapshot {
    let mut state = State::default();
    state.apply(state::scan(files), state::at(0));
    state.snapshot().clone()
}

/// The problems of one file without its name: `3:5: field: message`.
#[track_caller]
fn problems(bytes: impl AsRef<[u8]>) -> Vec<String> {
    let content = content("a.yaml", bytes);
    let mut problems = content.problems;
    problems.sort_by(Problem::reading_order);
    let without_name = |problem: &Problem| {
        let line = problem.to_string();
        line.strip_prefix("a.yaml:").unwrap().to_owned()
    };
    problems.iter().map(without_name).collect()
}

/// The problems of several files.
fn linked(files: &[(&str, &str)]) -> Vec<String> {
    load(files).problems.iter().map(|standing| standing.problem.to_string()).collect()
}

/// Every resource as `Kind namespace/name`.
fn names(resources: &Resources) -> Vec<String> {
    let brokers = resources.brokers.keys().map(|name| format!("Broker {name}"));
    let triggers = resources.triggers.keys().map(|name| format!("Trigger {name}"));
    let channels = resources.channels.keys().map(|name| format!("Channel {name}"));
    let subscriptions = resources.subscriptions.keys().map(|name| format!("Subscription {name}"));
    let config_maps = resources.config_maps.keys().map(|name| format!("ConfigMap {name}"));
    let secrets = resources.secrets.keys().map(|name| format!("Secret {name}"));
    let of_channels = channels.chain(subscriptions);
    brokers.chain(triggers).chain(of_channels).chain(config_maps).chain(secrets).collect()
}

/// A broker of this name.
fn broker(name: &str) -> String {
    format!("apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata:\n  name: {name}\n")
}

/// A trigger of this name, with these lines in its `spec` beside the broker and the subscriber.
fn trigger(name: &str, more: &str) -> String {
    format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata:\n  name: {name}\nspec:\n  \
         broker: default\n  subscriber:\n    uri: http://127.0.0.1:9000/\n{more}"
    )
}
