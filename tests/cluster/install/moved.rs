//! In Knative's place: its Services become names of ours and again its own, its Brokers change hands and back.

use std::fs;

use harness::say_not_run;
use harness::servers::kubernetes::Kubernetes;

use super::overlay;
use crate::root;

/// As Knative's own installation has it.
const INGRESS: &str = "
apiVersion: v1
kind: Service
metadata:
  name: broker-ingress
  namespace: knative-eventing
  labels: {eventing.knative.dev/brokerRole: ingress}
spec:
  selector: {eventing.knative.dev/brokerRole: ingress}
  ports:
    - {name: http, port: 80, targetPort: 8080}
    - {name: https, port: 443, targetPort: 8443}
    - {name: http-metrics, port: 9092, targetPort: 9092}
";

const BROKER: &str = "
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata:
  name: orders
  namespace: default
  annotations: {eventing.knative.dev/broker.class: MTChannelBasedBroker}
spec:
  config: {apiVersion: v1, kind: ConfigMap, name: config-br-default-channel, namespace: knative-eventing}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: orders, namespace: default}
spec: {broker: orders, subscriber: {uri: 'http://till.default'}}
";

/// As Knative's definition of KafkaChannel has it: its webhook, which goes, converts between versions.
const CONVERSION: &str = "
  conversion:
    strategy: Webhook
    webhook:
      conversionReviewVersions: [v1]
      clientConfig: {service: {name: kafka-webhook-eventing, namespace: knative-eventing}}
";

fn run(cluster: &Kubernetes, args: &[&str], input: &str) -> String {
    let said = cluster.kubectl(args, input);
    assert!(said.is_success, "{}: {}", args.join(" "), said.stderr);
    said.stdout
}

#[tokio::test]
async fn what_was_knatives_becomes_ours_and_its_own_again() {
    let cluster = match Kubernetes::start().await {
        Ok(cluster) => cluster,
        Err(why) => return say_not_run("the move from Knative", &why),
    };
    run(&cluster, &["create", "namespace", "knative-eventing"], "");
    run(&cluster, &["apply", "-f", "-"], INGRESS);
    let channel = fs::read_to_string(root().join("deploy/crds/kafkachannel.yaml")).unwrap();
    run(&cluster, &["apply", "-f", "-"], &format!("{}{CONVERSION}", channel.trim_end()));
    run(&cluster, &["apply", "-k", &overlay("disk")], "");
    let crd = ["get", "crd", "kafkachannels.messaging.knative.dev", "-o"];
    let conversion = [&crd[..], &["jsonpath={.spec.conversion}"]].concat();
    assert_eq!(run(&cluster, &conversion, ""), r#"{"strategy":"None"}"#);
    run(&cluster, &["apply", "-f", "-"], BROKER);

    let annotate = |class: &str| {
        let class = format!("eventing.knative.dev/broker.class={class}");
        run(&cluster, &["annotate", "broker", "orders", "--overwrite", &class], "");
        let path = r"jsonpath={.metadata.annotations.eventing\.knative\.dev/broker\.class}";
        run(&cluster, &["get", "broker", "orders", "-o", path], "")
    };
    assert_eq!(annotate("Catchment"), "Catchment");

    let get = ["-n", "knative-eventing", "get", "service", "broker-ingress", "-o"];
    let spec = || {
        let spec = run(&cluster, &[&get[..], &["jsonpath={.spec}"]].concat(), "");
        serde_json::from_str::<serde_json::Value>(&spec).unwrap()
    };
    run(&cluster, &["apply", "-k", &overlay("knative-names")], "");
    let ours = spec();
    assert_eq!(ours["type"], "ExternalName");
    assert_eq!(ours["externalName"], "catchment-ingress.catchment.svc.cluster.local");
    // Neither pods of Knative's nor an address of its are left in it.
    assert!(ours["selector"].is_null() && ours["clusterIP"].is_null(), "{ours}");

    run(&cluster, &["apply", "-f", "-"], INGRESS);
    let theirs = spec();
    assert_eq!(theirs["type"], "ClusterIP");
    assert_eq!(theirs["selector"]["eventing.knative.dev/brokerRole"], "ingress");
    assert!(theirs["clusterIP"].is_string() && theirs["externalName"].is_null(), "{theirs}");
    assert_eq!(annotate("MTChannelBasedBroker"), "MTChannelBasedBroker");
    // The Trigger was of this Broker all the time.
    let broker = ["get", "trigger", "orders", "-o", "jsonpath={.spec.broker}"];
    assert_eq!(run(&cluster, &broker, ""), "orders");
}
