//! A plan -> the properties of its clients of librdkafka.

use rdkafka::ClientConfig;

use super::{KafkaPlan, plan::Tls};
use crate::Secret;

/// A consumer of the source's group that stores offsets itself.
///
/// # Errors
///
/// A secret that is no text, by its field.
pub(super) fn consumer(plan: &KafkaPlan) -> Result<ClientConfig, String> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &plan.bootstrap_servers)
        .set("client.id", "catchment")
        .set("group.id", &plan.group)
        .set("allow.auto.create.topics", "false")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("enable.auto.commit", "true")
        // What is stored by the sink and not committed when the process is killed comes again.
        .set("auto.commit.interval.ms", "100")
        .set("enable.auto.offset.store", "false")
        // Where a group begins is committed before it reads. What has no offset then is a partition
        // or a topic that came later: all of it is to be delivered.
        .set("auto.offset.reset", "earliest")
        .set("check.crcs", "true")
        .set("session.timeout.ms", "10000")
        .set("heartbeat.interval.ms", "3000")
        .set("max.poll.interval.ms", "300000")
        // What is fetched ahead is fetched again when a partition is paused.
        .set("queued.max.messages.kbytes", "1024")
        .set("queued.min.messages", "200")
        .set("fetch.message.max.bytes", "1048576")
        .set("fetch.queue.backoff.ms", "50")
        .set("reconnect.backoff.ms", "100")
        .set("reconnect.backoff.max.ms", "1000")
        .set("retry.backoff.max.ms", "1000")
        .set("socket.timeout.ms", "10000")
        .set("socket.keepalive.enable", "true")
        .set("socket.nagle.disable", "true")
        // How soon a topic is found that was not there.
        .set("topic.metadata.refresh.interval.ms", "5000");
    let protocol = match (&plan.tls, &plan.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    if let Some(tls) = &plan.tls {
        set_tls(&mut config, tls)?;
    }
    if let Some(sasl) = &plan.sasl {
        config
            .set("sasl.mechanisms", sasl.mechanism)
            .set("sasl.username", text(&sasl.user, "spec.net.sasl.user")?)
            .set("sasl.password", text(&sasl.password, "spec.net.sasl.password")?);
    }
    Ok(config)
}

fn set_tls(config: &mut ClientConfig, tls: &Tls) -> Result<(), String> {
    if let Some(ca_cert) = &tls.ca_cert {
        config.set("ssl.ca.pem", text(ca_cert, "spec.net.tls.caCert")?);
    }
    if let Some((cert, key)) = &tls.identity {
        config
            .set("ssl.certificate.pem", text(cert, "spec.net.tls.cert")?)
            .set("ssl.key.pem", text(key, "spec.net.tls.key")?);
    }
    Ok(())
}

/// White space at the ends of a secret is that of the file it came from.
fn text(secret: &Secret, field: &str) -> Result<String, String> {
    let text = std::str::from_utf8(secret.expose());
    text.map(|text| text.trim().to_owned()).map_err(|_| format!("{field}: must be text"))
}
