//! What a configuration file says, and what is wrong with one.

use super::*;

fn settings(yaml: &str) -> Result<Settings, String> {
    let path = Path::new("c.yaml");
    let file = parse(yaml)?;
    let mut settings = Settings::defaults();
    file.apply(&mut settings, Some(path)).map_err(|error| error.to_string())?;
    Ok(settings)
}

#[test]
fn what_the_file_says_counts() {
    let settings = settings(
        "listen: 0.0.0.0:80\ningress: {bodyBytesMax: 2Mi, headTimeout: PT3S}\n\
         channel: {memory: {eventsMax: 7, triggerSharePercent: 50}}\ndrain: {timeout: PT1M}\n",
    )
    .unwrap();
    assert_eq!(settings.listen.port(), 80);
    assert_eq!(settings.ingress.body_bytes_max, 2 << 20);
    assert_eq!(settings.ingress.head_timeout, Duration::from_secs(3));
    assert_eq!(settings.memory.limits.events_max, 7);
    assert_eq!(settings.memory.limits.event_bytes_max, (2 << 20) + (64 << 10));
    assert_eq!(settings.drain.timeout, Duration::from_secs(60));
}

#[test]
fn the_readme_shows_every_setting_with_its_default() {
    let readme = include_str!("../../../../README.md");
    let (_, file) = readme.split_once("```yaml\n# catchment.yaml\n").unwrap();
    let (yaml, _) = file.split_once("```").unwrap();
    let file = parse(yaml).unwrap();
    let every = format!("{file:?}");
    assert!(!every.contains("None"), "a setting is not shown: {every}");
    let shown = settings(yaml).unwrap();
    assert_eq!(shown.ingress, crate::ingress::Limits::default());
    assert_eq!(shown.memory.limits, channel::MemoryLimits::default());
    assert_eq!(shown.delivery, dispatcher::Settings::default());
    assert_eq!(shown.client, dispatcher::http::ClientSettings::default());
    assert_eq!(shown.dead_letters, dispatcher::DeadLetterLimits::default());
    let addresses = (shown.listen.to_string(), shown.admin.to_string());
    assert_eq!(addresses, (crate::config::LISTEN.to_owned(), crate::config::ADMIN.to_owned()));
}

#[test]
fn what_cannot_be_used_is_named() {
    for (yaml, named) in [
        ("ingres: {}", "1:1: ingres: unknown field (did you mean ingress?)"),
        ("ingress: {bodyBytesMax: 1KB}", "1:25: ingress.bodyBytesMax: must be a number of bytes"),
        ("ingress: {bodyBytesMax: -1}", "ingress.bodyBytesMax: must be a number of bytes"),
        ("ingress: {headTimeout: 10s}", "1:24: ingress.headTimeout: must be an ISO 8601 duration"),
        ("ingress: {headersMax: many}", "1:23: ingress.headersMax: must be"),
        ("workers: two\nadmin: 80", "1:10: workers: must be"),
        ("workers: two\nadmin: 80", "2:8: admin: must be"),
        ("[]", "must be a mapping, not a list"),
        ("workers: 1\n---\nworkers: 2", "second document"),
        ("workers: 1\nworkers: 2", "key workers is given twice"),
        ("ingress: {headBytesMax: 1Ki}", "headBytesMax"),
        ("channel: {memory: {triggerSharePercent: 0}}", "triggerSharePercent"),
        ("listen: here", "listen"),
        ("deadLetters: {eventsMax: 0}", "deadLetters.eventsMax"),
        ("ingress: {connectionsMax: 0}", "ingress.connectionsMax"),
        ("ingress: {headersMax: 0}", "ingress.headersMax: must be more than zero"),
        ("ingress: {headTimeout: PT0S}", "ingress.headTimeout: must be more than zero"),
        ("channel: {memory: {eventsMax: 0}}", "channel.memory.eventsMax: must be more than zero"),
    ] {
        let error = settings(yaml).unwrap_err();
        assert!(error.contains(named), "{yaml}: {error}");
        assert!(!error.contains('\n'), "one line: {error}");
    }
}

fn with_outside(yaml: &str, env: &[(&str, &str)]) -> Result<Settings, String> {
    let mut settings = settings(yaml)?;
    let env = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, it)| (*it).into());
    crate::config::outside::apply(&mut settings, Some(Path::new("c.yaml")), &env)
        .map_err(|error| error.to_string())?;
    Ok(settings)
}

/// Every setting of what outlives the process, with its default where it has one.
const DURABLE: &str = "
channel:
  default: disk
  disk:
    bytesMax: 10Gi
    eventsMax: 10000000
    eventBytesMax: 1088Ki
    retention: PT24H
    retentionBytes: 1Gi
    freeBytesMin: 256Mi
    freePercentMin: 1
kafka:
  bootstrapServers: kafka-1:9092,kafka-2:9092
  topicTemplate: catchment-broker-{namespace}.{name}
  channelTopicTemplate: catchment-channel-{namespace}.{name}
  replicationFactor: 1
  numPartitions: 10
  tls: {enabled: true, caFile: ca.pem, certFile: cert.pem, keyFile: key.pem}
  sasl:
    mechanism: SCRAM-SHA-512
    user: catchment
    passwordFile: /run/secrets/kafka
    passwordEnv: KAFKA_PASSWORD
    tokenFile: /run/secrets/token
  properties: {client.rack: a, socket.keepalive.enable: true, statistics.interval.ms: 0}
  publishTimeout: PT5S
nats:
  url: nats://nats-1:4222,nats://nats-2:4222
  credentialsFile: /run/secrets/nats.creds
  nkeyFile: /run/secrets/nats.nk
  user: catchment
  passwordFile: /run/secrets/nats
  passwordEnv: NATS_PASSWORD
  tokenFile: /run/secrets/nats.token
  tls: {enabled: true, caFile: ca.pem, certFile: cert.pem, keyFile: key.pem}
  streamPrefix: CATCHMENT
  publishTimeout: PT3S
overflow:
  after: PT10S
  laneEventsMax: 1024
  laneBytesMax: 8Mi
  eventsMax: 10000000
  bytesMax: 8Gi
  removedAfter: PT1H
";

#[test]
fn every_setting_of_durable_channels_is_known_by_its_name_and_default() {
    let file = parse(DURABLE).unwrap();
    let File { channel, kafka, nats, overflow, .. } = &file;
    let every = format!("{:?} {:?} {kafka:?} {nats:?} {overflow:?}", channel.default, channel.disk);
    assert!(!every.contains("None"), "a setting is not shown: {every}");
    let shown = settings(DURABLE).unwrap();
    let defaults = Settings::defaults();
    assert_eq!(shown.channel_default, defaults.channel_default);
    assert_eq!((shown.disk, shown.overflow), (defaults.disk, defaults.overflow));
    let (kafka, nats) = (shown.kafka, shown.nats);
    let defaults = (defaults.kafka, defaults.nats);
    assert_eq!(kafka.topic_template, defaults.0.topic_template);
    assert_eq!(kafka.replication_factor, defaults.0.replication_factor);
    assert_eq!(kafka.num_partitions, defaults.0.num_partitions);
    assert_eq!(kafka.publish_timeout, defaults.0.publish_timeout);
    assert_eq!(nats.stream_prefix, defaults.1.stream_prefix);
    assert_eq!(nats.publish_timeout, defaults.1.publish_timeout);
    assert_eq!(kafka.properties.0["socket.keepalive.enable"], "true");
    assert_eq!(kafka.properties.0["statistics.interval.ms"], "0");
}

#[test]
fn what_is_not_said_follows_what_is() {
    let settings = settings("ingress: {bodyBytesMax: 2Mi}\ndelivery: {ageMax: PT1H}\n").unwrap();
    assert_eq!(settings.disk.event_bytes_max, (2 << 20) + (64 << 10));
}

#[test]
fn a_server_that_cannot_be_reached_so_is_named_by_its_field() {
    for (yaml, named) in [
        (
            "channel: {default: kafak}",
            "1:20: channel.default: must be one of memory, disk, kafka, \
          nats (did you mean kafka?)",
        ),
        ("channel: {disk: {bytesMax: 0}}", "channel.disk.bytesMax: must be at least 8Mi"),
        ("channel: {disk: {bytesMax: 8388607}}", "channel.disk.bytesMax: must be at least 8Mi"),
        (
            "channel: {disk: {eventBytesMax: 6Gi}}",
            "channel.disk.eventBytesMax: must be at most half",
        ),
        ("channel: {disk: {freePercentMin: 100}}", "channel.disk.freePercentMin: must be from 0"),
        ("overflow: {removedAfter: PT9S}", "overflow.removedAfter: must be at least PT10S"),
        ("overflow: {after: PT0S}", "overflow.after: must be more than zero"),
        (
            "overflow: {laneEvents: 1}",
            "1:12: overflow.laneEvents: unknown field (did you mean \
          laneEventsMax?)",
        ),
        ("kafka: {bootstrapServers: kafka}", "kafka.bootstrapServers: must be host:port"),
        ("kafka: {bootstrapServers: 'a:1,'}", "kafka.bootstrapServers: must be host:port"),
        ("kafka: {topicTemplate: '{name}'}", "kafka.topicTemplate: must have {namespace}"),
        ("kafka: {topicTemplate: '{namespace}/{name}'}", "kafka.topicTemplate: must be letters"),
        ("kafka: {channelTopicTemplate: '{name}'}", "kafka.channelTopicTemplate: must have"),
        (
            "kafka: {channelTopicTemplate: 'catchment-broker-{namespace}.{name}'}",
            "kafka.channelTopicTemplate: must differ from kafka.topicTemplate",
        ),
        ("kafka: {replicationFactor: 0}", "kafka.replicationFactor: must be from 1 to 32767"),
        ("kafka: {numPartitions: 0}", "kafka.numPartitions: must be from 1 to 10000"),
        ("kafka: {publishTimeout: PT0S}", "kafka.publishTimeout: must be more than zero"),
        ("kafka: {tls: {caFile: x}}", "kafka.tls.enabled: must be true"),
        ("kafka: {tls: {enabled: true, certFile: x}}", "kafka.tls.certFile, keyFile: one needs"),
        ("kafka: {sasl: {user: x}}", "kafka.sasl.mechanism: is required"),
        ("kafka: {sasl: {mechanism: SCRAM}}", "1:27: kafka.sasl.mechanism: must be one of PLAIN"),
        (
            "kafka: {sasl: {mechanism: PLAIN}}",
            "kafka.sasl.user: is required for PLAIN; \
          kafka.sasl.passwordFile: is required for PLAIN",
        ),
        ("kafka: {sasl: {mechanism: OAUTHBEARER}}", "kafka.sasl.tokenFile: is required"),
        (
            "kafka: {sasl: {mechanism: PLAIN, password: x}}",
            "1:34: kafka.sasl.password: unknown field; known here: mechanism",
        ),
        (
            "kafka: {properties: {sasl.password: canary}}",
            "kafka.properties.sasl.password: is set by \
          kafka.sasl.passwordFile",
        ),
        ("kafka: {properties: {a: [1]}}", "kafka.properties.a: must be a string, a number"),
        ("nats: {url: 'http://x'}", "nats.url: must be such as nats://host:4222"),
        ("nats: {url: 'nats://u:canary@x'}", "nats.url: must not hold a user or password"),
        ("nats: {user: x}", "nats.user, passwordFile: one needs the other"),
        ("nats: {streamPrefix: a.b}", "nats.streamPrefix: must be letters"),
    ] {
        let error = settings(yaml).unwrap_err();
        assert!(error.contains(named), "{yaml}: {error}");
        assert!(!error.contains("canary") && !error.contains('\n'), "{error}");
    }
}

#[test]
fn the_environment_goes_over_the_file() {
    let env = [("CATCHMENT_KAFKA_BOOTSTRAP_SERVERS", "b:9092"), ("CATCHMENT_NATS_URL", "tls://n")];
    let file = "kafka: {bootstrapServers: 'a:9092'}\n";
    let shown = with_outside(file, &env).unwrap();
    assert_eq!(shown.kafka.bootstrap_servers.as_deref(), Some("b:9092"));
    assert_eq!(shown.nats.url.as_deref(), Some("tls://n"));
    let shown = with_outside(file, &[("CATCHMENT_KAFKA_BOOTSTRAP_SERVERS", "")]).unwrap();
    assert_eq!(shown.kafka.bootstrap_servers.as_deref(), Some("a:9092"));
    let error = with_outside(file, &[("CATCHMENT_NATS_URL", "nats://canary@n")]).unwrap_err();
    assert!(error.starts_with("CATCHMENT_NATS_URL: must not hold a user"), "{error}");
    assert!(!error.contains("canary"), "{error}");
}

#[test]
fn secrets_are_read_and_never_shown() {
    let sasl = "kafka: {sasl: {mechanism: PLAIN, user: u, passwordEnv: SECRET}}\n";
    let nats = "nats: {user: u, passwordEnv: SECRET}\n";
    let env = [("SECRET", "canary")];
    let shown = with_outside(&format!("{sasl}{nats}"), &env).unwrap();
    let password = shown.kafka.sasl.as_ref().unwrap().password.as_ref().unwrap();
    assert_eq!(password.expose(), "canary");
    assert_eq!(shown.nats.password.as_ref().unwrap().expose(), "canary");
    let properties = with_outside("kafka: {properties: {x: canary}}", &[]).unwrap();
    assert!(!format!("{shown:?} {properties:?}").contains("canary"));
    let error = with_outside(sasl, &[]).unwrap_err();
    assert_eq!(error, "c.yaml: kafka.sasl.passwordEnv: the environment variable SECRET is not set");
}

#[test]
fn what_can_be_judged_only_with_all_at_hand_is_refused_too() {
    for (yaml, named) in [
        ("channel: {default: kafka}", "kafka.bootstrapServers: is required"),
        ("channel: {default: nats}", "nats.url: is required"),
        ("nats: {nkeyFile: /no/file}", "nats.nkeyFile: /no/file: No such file"),
        (
            "nats: {nkeyFile: /no/file, tokenFile: /no/file}",
            "nats.nkeyFile, tokenFile: must be one of them",
        ),
        (
            "kafka: {tls: {enabled: true, certFile: /no/file, keyFile: /no/file}}",
            "kafka.tls.keyFile: /no/file",
        ),
        (
            "kafka: {sasl: {mechanism: OAUTHBEARER, tokenFile: /no/file}}",
            "kafka.sasl.tokenFile: /no/file",
        ),
    ] {
        let error = with_outside(yaml, &[]).unwrap_err();
        assert!(error.contains(named) && !error.contains('\n'), "{yaml}: {error}");
    }
    let env = [("CATCHMENT_KAFKA_BOOTSTRAP_SERVERS", "b:9092")];
    assert!(with_outside("channel: {default: kafka}", &env).is_ok());
}
