//! Settings -> the properties of each client of librdkafka.

use std::{fs, path::Path};

use rdkafka::ClientConfig;

use super::settings::{KafkaSasl, KafkaSettings, KafkaTls, KafkaUser, Secret};

/// What a record of the ledger or of an overflow may take beyond one of the log: an envelope's history,
/// or what is known of a dead letter.
pub(super) const BESIDE_BYTES_MAX: usize = 128 << 10;

/// Records of the producer that Kafka has not acknowledged yet.
pub(super) const PRODUCED_MAX: usize = 20_000;

/// Properties that promises rest on, or that have a setting of their own.
const FIXED: [&str; 35] = [
    "acks",
    "allow.auto.create.topics",
    "auto.offset.reset",
    "batch.size",
    "bootstrap.servers",
    "check.crcs",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.remote.assignor",
    "log.queue",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "max.poll.interval.ms",
    "message.max.bytes",
    "message.send.max.retries",
    "message.timeout.ms",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "plugin.library.paths",
    "queue.buffering.max.messages",
    "request.required.acks",
    "retries",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "statistics.interval.ms",
    "transactional.id",
];

/// The base of every client: where the cluster is and who we are.
///
/// # Errors
///
/// What is wrong with the settings, or a file of them that cannot be read.
pub(super) fn base(settings: &KafkaSettings) -> Result<ClientConfig, String> {
    if settings.bootstrap_servers.trim().is_empty() {
        return Err("bootstrapServers: must name a server".into());
    }
    let mut config = ClientConfig::new();
    if let Some(instance) = &settings.instance {
        config.set("group.instance.id", instance);
    }
    config
        .set("bootstrap.servers", &settings.bootstrap_servers)
        .set("client.id", "catchment")
        .set("allow.auto.create.topics", "false")
        .set("reconnect.backoff.ms", "100")
        .set("reconnect.backoff.max.ms", "1000")
        .set("retry.backoff.max.ms", "1000")
        .set("socket.timeout.ms", "10000")
        .set("socket.keepalive.enable", "true")
        .set("socket.nagle.disable", "true")
        .set("topic.metadata.refresh.interval.ms", "30000");
    let protocol = match (&settings.tls, &settings.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    if let Some(tls) = &settings.tls {
        set_tls(&mut config, tls)?;
    }
    if let Some(sasl) = &settings.sasl {
        set_sasl(&mut config, sasl)?;
    }
    for (name, value) in &settings.properties {
        if FIXED.contains(&name.as_str()) {
            return Err(format!("properties: {name} cannot be set"));
        }
        config.set(name, value);
    }
    Ok(config)
}

fn set_tls(config: &mut ClientConfig, tls: &KafkaTls) -> Result<(), String> {
    for (property, file) in [
        ("ssl.ca.location", &tls.ca_file),
        ("ssl.certificate.location", &tls.cert_file),
        ("ssl.key.location", &tls.key_file),
    ] {
        if let Some(path) = file {
            read(path)?;
            config.set(property, path.display().to_string());
        }
    }
    Ok(())
}

fn set_sasl(config: &mut ClientConfig, sasl: &KafkaSasl) -> Result<(), String> {
    let mut user = |mechanism, user: &KafkaUser| {
        let password = match &user.password {
            Secret::Text(text) => text.clone(),
            Secret::File(path) => read(path)?.trim().to_owned(),
        };
        config.set("sasl.mechanisms", mechanism);
        config.set("sasl.username", &user.name).set("sasl.password", password);
        Ok(())
    };
    match sasl {
        KafkaSasl::Plain(named) => user("PLAIN", named),
        KafkaSasl::ScramSha256(named) => user("SCRAM-SHA-256", named),
        KafkaSasl::ScramSha512(named) => user("SCRAM-SHA-512", named),
        KafkaSasl::OauthBearer { token_file } => {
            read(token_file)?;
            config.set("sasl.mechanisms", "OAUTHBEARER");
            Ok(())
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// A producer: idempotent, acknowledged by all replicas.
pub(super) fn producer(base: &ClientConfig, settings: &KafkaSettings) -> ClientConfig {
    let largest = settings.record_bytes_max + BESIDE_BYTES_MAX;
    let mut config = base.clone();
    config.remove("group.instance.id");
    set_default(&mut config, "linger.ms", "2");
    set_default(&mut config, "queue.buffering.max.kbytes", "65536");
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("delivery.timeout.ms", "10000")
        .set("queue.buffering.max.messages", PRODUCED_MAX.to_string())
        .set("message.max.bytes", largest.to_string())
        // Topics limit batches, not records.
        .set("batch.size", settings.record_bytes_max.min(1_000_000).to_string());
    config
}

/// A consumer of `group` that stores offsets itself.
pub(super) fn consumer(base: &ClientConfig, group: &str) -> ClientConfig {
    let mut config = base.clone();
    set_default(&mut config, "queued.max.messages.kbytes", "2048");
    set_default(&mut config, "queued.min.messages", "500");
    set_default(&mut config, "fetch.queue.backoff.ms", "50");
    set_default(&mut config, "fetch.message.max.bytes", "1048576");
    // Heartbeats come from a thread of the library that nothing here can hold up: a member that is silent
    // for so long is dead, and its partitions are somebody else's.
    set_default(&mut config, "session.timeout.ms", "10000");
    set_default(&mut config, "heartbeat.interval.ms", "3000");
    config
        .set("group.id", group)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("enable.auto.commit", "true")
        // What is settled and not committed when the process is killed comes again.
        .set("auto.commit.interval.ms", "25")
        .set("enable.auto.offset.store", "false")
        // What has no committed offset is all to be delivered.
        .set("auto.offset.reset", "earliest")
        .set("enable.partition.eof", "true")
        .set("max.poll.interval.ms", "300000")
        .set("check.crcs", "true")
        // How it is known that brokers are there again.
        .set("statistics.interval.ms", "2000");
    config
}

/// The consumer of the log.
pub(super) fn log_consumer(base: &ClientConfig, group: &str) -> ClientConfig {
    let mut config = consumer(base, group);
    // A partition that is read on has to wait until the request for the others is answered.
    set_default(&mut config, "fetch.wait.max.ms", "100");
    config
}

/// A consumer of a topic's partitions that neither joins nor commits for the group it must name.
pub(super) fn observer(base: &ClientConfig, group: &str) -> ClientConfig {
    let mut config = consumer(base, group);
    config.set("enable.auto.commit", "false").set("statistics.interval.ms", "0");
    config.remove("group.instance.id");
    config
}

fn set_default(config: &mut ClientConfig, name: &str, value: &str) {
    if config.get(name).is_none() {
        config.set(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(config: &ClientConfig, table: &[(&str, &str)]) {
        let native = config.create_native_config().unwrap();
        for (name, value) in table {
            assert_eq!(config.get(name), Some(*value), "{name}");
            native.get(name).unwrap();
        }
    }

    #[test]
    fn clients_are_set_as_promises_need_it() {
        let settings = KafkaSettings::new("k:9092");
        let base = base(&settings).unwrap();
        check(
            &producer(&base, &settings),
            &[
                ("enable.idempotence", "true"),
                ("acks", "all"),
                ("delivery.timeout.ms", "10000"),
                ("linger.ms", "2"),
                ("queue.buffering.max.kbytes", "65536"),
                ("queue.buffering.max.messages", "20000"),
                ("reconnect.backoff.max.ms", "1000"),
                ("message.max.bytes", "1261568"),
                ("batch.size", "1000000"),
                ("allow.auto.create.topics", "false"),
            ],
        );
        check(
            &consumer(&base, "g"),
            &[
                ("enable.auto.offset.store", "false"),
                ("enable.auto.commit", "true"),
                ("auto.commit.interval.ms", "25"),
                ("auto.offset.reset", "earliest"),
                ("session.timeout.ms", "10000"),
                ("heartbeat.interval.ms", "3000"),
                ("max.poll.interval.ms", "300000"),
                ("queued.max.messages.kbytes", "2048"),
                ("queued.min.messages", "500"),
                ("fetch.queue.backoff.ms", "50"),
                ("fetch.message.max.bytes", "1048576"),
                ("check.crcs", "true"),
                ("partition.assignment.strategy", "cooperative-sticky"),
                ("allow.auto.create.topics", "false"),
            ],
        );
        check(&observer(&base, "g"), &[("enable.auto.commit", "false")]);
    }

    #[test]
    fn properties_tune_but_do_not_break_promises() {
        let mut settings = KafkaSettings::new("k:9092");
        settings.properties.insert("linger.ms".into(), "20".into());
        let config = producer(&base(&settings).unwrap(), &settings);
        assert_eq!(config.get("linger.ms"), Some("20"));
        for name in FIXED {
            let mut settings = KafkaSettings::new("k:9092");
            settings.properties.insert(name.into(), "1".into());
            let error = base(&settings).unwrap_err();
            assert_eq!(error, format!("properties: {name} cannot be set"));
        }
    }

    #[test]
    fn tls_and_a_user_choose_the_protocol() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        fs::write(&file, "secret\n").unwrap();
        for (is_tls, protocol) in [(true, "sasl_ssl"), (false, "sasl_plaintext")] {
            let mut settings = KafkaSettings::new("k:9092");
            settings.tls = is_tls.then(KafkaTls::default);
            let password = Secret::File(file.clone());
            let user = KafkaUser { name: "me".into(), password };
            settings.sasl = Some(KafkaSasl::ScramSha512(user));
            let config = base(&settings).unwrap();
            assert_eq!(config.get("security.protocol"), Some(protocol));
            assert_eq!(config.get("sasl.mechanisms"), Some("SCRAM-SHA-512"));
            assert_eq!(config.get("sasl.password"), Some("secret"));
            config.create_native_config().unwrap();
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let mut settings = KafkaSettings::new("k:9092");
        let ca_file = Some("/nowhere/ca.pem".into());
        settings.tls = Some(KafkaTls { ca_file, ..KafkaTls::default() });
        assert!(base(&settings).unwrap_err().starts_with("/nowhere/ca.pem: "));
        assert!(base(&KafkaSettings::new(" ")).is_err());
    }
}
