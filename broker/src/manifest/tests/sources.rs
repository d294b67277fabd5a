//! Sources in manifests: what is wrong with one, and what it refers to.

use super::{broker, linked, load, problems};
use crate::manifest::SourceKind;

fn source(api_version: &str, kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: {api_version}\nkind: {kind}\nmetadata:\n  name: {name}\nspec:\n{spec}\
         \n  sink: {{ref: {{apiVersion: eventing.knative.dev/v1, kind: Broker, name: b}}}}\n"
    )
}

fn ping(name: &str, spec: &str) -> String {
    source("sources.knative.dev/v1", "PingSource", name, spec)
}

fn github(name: &str, secret: &str) -> String {
    let spec = format!(
        "  ownerAndRepository: a/b\n  eventTypes: [push]\n  \
         secretToken: {{secretKeyRef: {{name: {secret}, key: token}}}}"
    );
    source("sources.knative.dev/v1alpha1", "GitHubSource", name, &spec)
}

fn hook(name: &str, verification: &str) -> String {
    let spec = format!("  verification: {verification}");
    source("sources.catchment.dev/v1alpha1", "WebhookSource", name, &spec)
}

#[test]
fn what_is_wrong_with_a_source_is_told_where_it_stands() {
    for (manifest, told) in [
        (
            ping("a", "  schedule: \"0 0 30 2 *\""),
            "6:13: spec.schedule: \"0 0 30 2 *\" never fires: no day fits all of its fields",
        ),
        (
            ping("a", "  timezone: Mars/Base"),
            "6:13: spec.timezone: \"Mars/Base\" is not a time zone that is known; an IANA name is \
             needed, such as Europe/Berlin",
        ),
        (
            ping("a", "  schedul: \"@hourly\""),
            "6:3: spec.schedul: unknown field (did you mean schedule?)",
        ),
        (
            ping("a", "  ceOverrides: {extensions: {my-name: x}}"),
            "6:17: spec.ceOverrides.extensions: keys are expected to be alphanumeric",
        ),
        (
            hook("a", "{none: true, bearer: {}}"),
            "6:3: spec.verification: expected exactly one, got several: bearer, none",
        ),
        (
            hook("a", "{hmac: {header: x, algorithm: sha1}, secrets: [{env: A}]}"),
            "6:47: spec.verification.hmac.algorithm: must be one of sha256, sha384, sha512",
        ),
        (github("a", "\"\""), "8:38: spec.secretToken.secretKeyRef.name: must not be empty"),
    ] {
        assert_eq!(problems(&manifest), [told], "{manifest}");
    }
}

#[test]
fn what_a_source_refers_to_and_is_not_there_is_told() {
    let files = [("a.yaml", ping("beat", "  data: x")), ("b.yaml", github("hub", "token"))];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let found = linked(&files);
    for told in [
        "a.yaml:7:77: warning: spec.sink.ref.name: broker default/b is not defined here",
        "b.yaml:8:37: warning: spec.secretToken.secretKeyRef.name: Secret default/token is not defined here",
    ] {
        let rule = told.split_once("warning: ").unwrap().1;
        assert!(found.iter().any(|it| it.contains(rule)), "{told}: {found:?}");
    }
    // The source is there all the same, and waits.
    assert_eq!(load(&files).resources.sources.len(), 2);
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: token}\nstringData: {other: x}\n";
    let found = linked(&[files[1], ("c.yaml", secret), ("d.yaml", &broker("b"))]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("Secret default/token has no key token"), "{found:?}");
}

#[test]
fn sources_that_are_called_share_their_names_and_others_do_not() {
    let hook = hook("same", "{none: true}");
    let (github, ping) = (github("same", "token"), ping("same", "  data: x"));
    let files = [("a.yaml", github.as_str()), ("b.yaml", &hook), ("c.yaml", &ping)];
    let found = linked(&files);
    let twice = "WebhookSource default/same is already defined as GitHubSource at a.yaml";
    assert!(found.iter().any(|it| it.contains(twice)), "{found:?}");
    let kinds: Vec<_> = load(&files).resources.sources.keys().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [SourceKind::Ping, SourceKind::GitHub]);
}
