//! What clients find out about our kinds.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::cluster;

const NAMES: [&str; 15] = [
    "apiserversources.sources.knative.dev",
    "brokers.eventing.knative.dev",
    "channels.messaging.knative.dev",
    "containersources.sources.knative.dev",
    "diskchannels.messaging.knative.dev",
    "githubsources.sources.knative.dev",
    "inmemorychannels.messaging.knative.dev",
    "kafkachannels.messaging.knative.dev",
    "kafkasources.sources.knative.dev",
    "natsjetstreamchannels.messaging.knative.dev",
    "pingsources.sources.knative.dev",
    "sinkbindings.sources.knative.dev",
    "subscriptions.messaging.knative.dev",
    "triggers.eventing.knative.dev",
    "webhooksources.sources.catchment.dev",
];

#[tokio::test]
async fn every_definition_is_established() {
    let Some(cluster) = cluster("the definitions").await else { return };
    let said = cluster.kubectl(&["get", "crd", "-o", "json"], "");
    let list: Value = serde_json::from_str(&said.stdout).unwrap();
    let items = list["items"].as_array().unwrap();
    let names: Vec<_> = items.iter().map(|crd| crd["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, NAMES);
    for crd in items {
        let conditions: BTreeSet<_> = crd["status"]["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (one["type"].as_str().unwrap(), one["status"].as_str().unwrap()))
            .collect();
        // A schema that is not structural would be a third.
        let expected = [("Established", "True"), ("NamesAccepted", "True")];
        assert_eq!(conditions, expected.into(), "{}", crd["metadata"]["name"]);
    }
}

#[tokio::test]
async fn kinds_are_found_by_the_labels_that_clients_ask_for() {
    let Some(cluster) = cluster("labels of the definitions").await else { return };
    let find = |label: &str| {
        let said = cluster.kubectl(&["get", "crd", "-l", label, "-o", "name"], "");
        let names = said.stdout.lines().map(|line| line.rsplit('/').next().unwrap().to_owned());
        names.collect::<BTreeSet<_>>()
    };
    let of = |left_out: &[&str]| {
        let names = NAMES.iter().filter(|name| !left_out.contains(name));
        names.map(|name| (*name).to_owned()).collect::<BTreeSet<_>>()
    };
    let is_source = |name: &&str| name.contains("sources.");
    let (sources, others): (Vec<&str>, Vec<&str>) = NAMES.iter().copied().partition(is_source);
    let wanting = ["subscriptions.messaging.knative.dev", "triggers.eventing.knative.dev"];
    let addressed: Vec<&str> = [&sources[..], &wanting].concat();
    let subscribed = [&addressed[..], &["brokers.eventing.knative.dev"]].concat();
    assert_eq!(find("messaging.knative.dev/subscribable=true"), of(&subscribed));
    assert_eq!(find("duck.knative.dev/addressable=true"), of(&addressed));
    assert_eq!(find("duck.knative.dev/source=true"), of(&others));
    assert_eq!(find("eventing.knative.dev/source=true"), of(&others));
    let bindings = find("duck.knative.dev/binding=true");
    assert_eq!(bindings, ["sinkbindings.sources.knative.dev".to_owned()].into());
    assert_eq!(find("knative.dev/crd-install=true"), of(&[]));
}

#[tokio::test]
async fn short_names_and_categories_are_those_of_knative() {
    let Some(cluster) = cluster("names of the definitions").await else { return };
    let resources = |args: &[&str]| {
        let said = cluster.kubectl(&[&["api-resources", "--no-headers"], args].concat(), "");
        assert!(said.is_success, "{}", said.stderr);
        said.stdout
    };
    let table = resources(&[]);
    for (plural, short, version) in [
        ("channels", "ch", "messaging.knative.dev/v1"),
        ("subscriptions", "sub", "messaging.knative.dev/v1"),
        ("inmemorychannels", "imc", "messaging.knative.dev/v1"),
        ("diskchannels", "diskch", "messaging.knative.dev/v1"),
        // Clients that name no version get the newest.
        ("kafkachannels", "kc", "messaging.knative.dev/v1"),
        ("natsjetstreamchannels", "natsjsmc", "messaging.knative.dev/v1alpha1"),
    ] {
        let expected = [plural, short, version];
        let is_there = table.lines().any(|line| line.split_whitespace().take(3).eq(expected));
        assert!(is_there, "{plural} in\n{table}");
    }
    let count = |category: &str| resources(&["--categories", category]).lines().count();
    assert_eq!((count("knative"), count("eventing"), count("sources")), (15, 4, 7));
    assert_eq!((count("messaging"), count("channel")), (6, 5));
}

#[tokio::test]
async fn a_kafka_channel_is_the_same_in_both_versions() {
    let Some(cluster) = cluster("versions of KafkaChannel").await else { return };
    let channel = "apiVersion: messaging.knative.dev/v1beta1\nkind: KafkaChannel\n\
                   metadata: {name: both}\nspec: {numPartitions: 3, retentionDuration: PT168H}\n";
    let said = cluster.kubectl(&["create", "-f", "-"], channel);
    assert!(said.is_success, "{}", said.stderr);
    for version in ["v1beta1", "v1"] {
        let resource = format!("kafkachannels.{version}.messaging.knative.dev");
        let said = cluster.kubectl(&["get", &resource, "both", "-o", "json"], "");
        let read: Value = serde_json::from_str(&said.stdout).unwrap();
        assert_eq!(read["apiVersion"], format!("messaging.knative.dev/{version}"));
        assert_eq!(read["spec"]["numPartitions"], 3);
    }
}
