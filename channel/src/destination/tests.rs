//! What a destination may say, and what it resolves to.

use super::*;

const CERT: &str = "# root\n-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";

fn read(json: &str) -> Destination {
    serde_json::from_str(json).unwrap()
}

fn problems(json: &str) -> Vec<String> {
    let mut problems = Vec::new();
    read(json).check("spec.subscriber", &mut problems);
    problems.iter().map(ToString::to_string).collect()
}

/// Knows the broker `default/orders`, with certificates and an audience of its own.
fn brokers(reference: &Reference) -> Option<Target> {
    let is_known = reference.kind.as_deref() == Some("Broker")
        && reference.namespace.as_deref() == Some("default")
        && reference.name.as_deref() == Some("orders");
    is_known.then(|| Target {
        url: Url::parse("http://127.0.0.1:8080/default/orders").unwrap(),
        ca_certs: Some("its own".into()),
        audience: Some("orders".into()),
    })
}

fn url(json: &str) -> String {
    match read(json).resolve("spec.subscriber", "default", brokers) {
        Ok(target) => target.url.into(),
        Err(invalid) => invalid.to_string(),
    }
}

fn service(name: &str, more: &str) -> String {
    format!(r#"{{"ref":{{"apiVersion":"v1","kind":"Service","name":"{name}"}}{more}}}"#)
}

fn broker(more: &str) -> String {
    let kind = r#""apiVersion":"eventing.knative.dev/v1","kind":"Broker""#;
    format!(r#"{{"ref":{{{kind},"name":"orders"}}{more}}}"#)
}

#[test]
fn what_is_wrong_is_said_in_knatives_words() {
    let absolute = "Absolute URI is not allowed when Ref or [apiVersion, kind, name] is present";
    let relative = "Relative URI is not allowed when Ref and [apiVersion, kind, name] is absent";
    let cases = [
        ("{}".to_owned(), "", "expected at least one, got none: ref, uri"),
        (r#"{"uri":""}"#.into(), "", "expected at least one, got none: ref, uri"),
        (service("a", r#","uri":"http://other/""#), ".uri", absolute),
        (service("a", r#","uri":"mailto:me""#), ".uri", absolute),
        (r#"{"uri":"/path"}"#.into(), ".uri", relative),
        (r#"{"uri":"host.only"}"#.into(), ".uri", relative),
        (r#"{"ref":{"kind":"Service"}}"#.into(), ".ref", "missing field(s): name, apiVersion"),
        (r#"{"ref":{"kind":"K","name":"n"}}"#.into(), ".ref", "missing field(s): apiVersion"),
        (r#"{"uri":"http://a","CACerts":"no"}"#.into(), ".CACerts", "CA Cert provided is invalid"),
        (
            r#"{"uri":"http://a","CACerts":"-----BEGIN KEY-----\nMAA=\n-----END KEY-----"}"#.into(),
            ".CACerts",
            "CA Cert provided is not a certificate",
        ),
    ];
    for (json, field, rule) in cases {
        assert_eq!(problems(&json), [format!("spec.subscriber{field}: {rule}")], "{json}");
    }
}

#[test]
fn a_group_does_in_place_of_a_version() {
    assert_eq!(problems(r#"{"ref":{"group":"g","kind":"K","name":"n"}}"#), [""; 0]);
}

#[test]
fn a_url_that_could_mislead_is_refused() {
    let host = "must have a host after http:// or https://";
    let user = "must not carry a user name or password";
    let cases = [
        ("ftp://a/", "must be an http or https URL"),
        ("a:80/x", "must be an http or https URL"),
        ("http:a", host),
        ("http:///a", host),
        (r"http:\\a", host),
        ("http://", "must be a URL with a host that can exist"),
        ("http://a:99999/", "must be a URL with a host that can exist"),
        ("http://[::1/", "must be a URL with a host that can exist"),
        ("http://me@a/", user),
        ("http://me:secret@a/", user),
        ("http://:secret@a/", user),
        (" http://a/", "must not contain spaces or control characters"),
        (r"http://a/\nb", "must not contain spaces or control characters"),
    ];
    for (uri, rule) in cases {
        let json = format!(r#"{{"uri":"{}"}}"#, uri.replace(r"\\", r"\\\\"));
        assert_eq!(problems(&json), [format!("spec.subscriber.uri: {rule}")], "{json}");
    }
}

#[test]
fn a_uri_beside_a_ref_stays_on_its_host() {
    for uri in ["//other/x", r"\\\\other/x", "//me@other/"] {
        let json = service("a", &format!(r#","uri":"{uri}""#));
        let rule = "must not lead away from the host that ref names";
        assert_eq!(problems(&json), [format!("spec.subscriber.uri: {rule}")], "{json}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let json = r#"{"ref":{"kind":"Broker"},"uri":"http://a","CACerts":""}"#;
    assert_eq!(problems(json).len(), 3);
}

#[test]
fn a_service_resolves_to_its_name_in_the_cluster() {
    let base = "http://show.default.svc.cluster.local/";
    assert_eq!(url(&service("show", "")), base);
    assert_eq!(url(&service("show", r#","uri":"/in?x=1""#)), format!("{base}in?x=1"));
    assert_eq!(url(&service("show", r#","uri":"in""#)), format!("{base}in"));
    let json = r#"{"ref":{"apiVersion":"v1","kind":"Service","name":"show","namespace":"b"}}"#;
    assert_eq!(url(json), "http://show.b.svc.cluster.local/");
    let tls = Destination { ca_certs: Some(CERT.into()), ..read(&service("show", "")) };
    let target = tls.resolve("", "default", brokers).unwrap();
    assert_eq!(target.url.as_str(), "https://show.default.svc.cluster.local/");
    assert_eq!(target.ca_certs.as_deref(), Some(CERT));
}

#[test]
fn a_service_must_have_a_name_that_a_host_can_have() {
    for name in ["a/b", "a.b", "A", "-a", "a@b"] {
        assert_eq!(problems(&service(name, "")).len(), 1, "{name}");
    }
}

#[test]
fn a_broker_resolves_to_the_address_it_is_given() {
    let base = "http://127.0.0.1:8080/default";
    assert_eq!(url(&broker("")), format!("{base}/orders"));
    assert_eq!(url(&broker(r#","uri":"other""#)), format!("{base}/other"));
    assert_eq!(url(&broker(r#","uri":"?a=b""#)), format!("{base}/orders?a=b"));
    let target = read(&broker(r#","audience":"mine""#)).resolve("", "default", brokers).unwrap();
    assert_eq!(target.ca_certs.as_deref(), Some("its own"));
    assert_eq!(target.audience.as_deref(), Some("mine"));
}

#[test]
fn an_unknown_object_is_named() {
    let unknown = read(&broker("")).resolve("spec.subscriber", "other", brokers).unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "spec.subscriber.ref: nothing with an address is known as \
         eventing.knative.dev/v1 Broker other/orders"
    );
}

#[test]
fn addresses_in_disguise_are_written_out() {
    assert_eq!(url(r#"{"uri":"http://0x7f.1"}"#), "http://127.0.0.1/");
    assert_eq!(url(r#"{"uri":"HTTP://A.Example:80/X"}"#), "http://a.example/X");
}

#[test]
fn what_was_read_is_written_the_same() {
    let json = concat!(
        r#"{"ref":{"kind":"K","namespace":"s","name":"n","apiVersion":"v","group":"g","address":"a"},"#,
        r#""uri":"u","CACerts":"c","audience":"d"}"#
    );
    assert_eq!(serde_json::to_string(&read(json)).unwrap(), json);
    assert_eq!(serde_json::to_string(&Destination::default()).unwrap(), "{}");
}
