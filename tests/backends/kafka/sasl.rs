//! Who this process says it is.

use std::fs;
use std::time::Duration;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use channel::kafka::{KafkaSasl, KafkaTls, KafkaUser, OpenError, Secret};
use channel::{Budget, Kafka, KafkaPlan, KafkaSettings, Name};
use harness::servers::kafka;

use super::support::{control, event, lent, open_with, publish, settings, topic, unique};

/// Users by password, and bearers of unsigned tokens.
const SERVER: [&str; 5] = [
    "sasl.enabled.mechanisms=PLAIN,OAUTHBEARER",
    "sasl.mechanism.inter.broker.protocol=PLAIN",
    "listener.name.client.plain.sasl.jaas.config=\
     org.apache.kafka.common.security.plain.PlainLoginModule required \
     username=\"admin\" password=\"a\" user_admin=\"a\" user_me=\"right\";",
    "listener.name.client.oauthbearer.sasl.jaas.config=\
     org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
     unsecuredLoginStringClaim_sub=\"admin\";",
    "connections.max.reauth.ms=0",
];

fn by_password(bootstrap: &str, password: &str) -> KafkaSettings {
    let password = Secret::Text(password.into());
    let mut settings = settings(bootstrap);
    settings.sasl = Some(KafkaSasl::Plain(KafkaUser { name: "me".into(), password }));
    settings
}

async fn refused(settings: KafkaSettings, name: &Name) -> OpenError {
    let budget = Budget::new(1 << 20);
    let opened = Kafka::open(settings, KafkaPlan::default(), name, 1, budget, control()).await;
    opened.expect_err("it is not let in")
}

/// A token that nobody signed.
fn token(subject: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let header = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    let claims = format!(r#"{{"sub":"{subject}","iat":{},"exp":{}}}"#, now - 10, now + 3600);
    format!("{header}.{}.", BASE64_URL_SAFE_NO_PAD.encode(claims))
}

#[tokio::test]
async fn a_user_is_let_in_and_a_stranger_is_told_why_not() {
    let kafka = match kafka::Kafka::start_nodes(1, &SERVER).await {
        Ok(kafka) => kafka,
        Err(why) => return harness::say_not_run("users of Kafka", &why),
    };
    let (bootstrap, name) = (kafka.bootstrap(), unique());
    let stranger = refused(by_password(&bootstrap, "wrong"), &name).await;
    assert!(matches!(stranger, OpenError::Refused { .. }), "{stranger}");
    let said = stranger.to_string();
    assert!(said.contains("uthentication") && !said.contains('\n'), "{said}");
    assert!(!said.contains("wrong"), "{said}");

    let plan = KafkaPlan::default();
    let channel = open_with(by_password(&bootstrap, "right"), plan, &name, 1).await;
    publish(&*channel, event(1)).await.expect("there is room");
    drop(channel);

    // The bearer of a token finds the topics, and can make none.
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    fs::write(&token_file, token("me")).unwrap();
    let mut settings = settings(&bootstrap);
    settings.sasl = Some(KafkaSasl::OauthBearer { token_file });
    let channel = open_with(settings.clone(), plan, &name, 1).await;
    publish(&*channel, event(2)).await.expect("there is room");
    let mut reader = channel.reader(0);
    for _ in 0..2 {
        let lease = lent(&mut *reader, Duration::from_secs(20)).await;
        lease.expect("it was stored").settle();
    }
    let other = unique();
    let error = refused(settings, &other).await.to_string();
    let topic = topic(&other);
    assert!(error.starts_with(&format!("kafka topic {topic}: it is not there")), "{error}");
    assert!(error.contains("make it with 10 partitions"), "{error}");
}

#[tokio::test]
async fn over_tls_a_user_proves_to_know_the_password() {
    let what = "users of Kafka over TLS";
    let folder = tempfile::tempdir().unwrap();
    let (store, ca_file) = match kafka::make_certificate(folder.path()) {
        Ok(made) => made,
        Err(why) => return harness::say_not_run(what, &why),
    };
    let store = format!("ssl.keystore.location={}", store.display());
    let trusted = format!("ssl.truststore.location={}", ca_file.display());
    let scram = |mechanism| {
        format!(
            "listener.name.client.{mechanism}.sasl.jaas.config=\
             org.apache.kafka.common.security.scram.ScramLoginModule required \
             username=\"me\" password=\"right\";"
        )
    };
    let (scram_256, scram_512) = (scram("scram-sha-256"), scram("scram-sha-512"));
    let server = [
        &store,
        &trusted,
        "ssl.truststore.type=PEM",
        "ssl.keystore.type=PKCS12",
        "ssl.keystore.password=secret",
        "ssl.key.password=secret",
        "ssl.client.auth=none",
        "sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512",
        "sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512",
        &scram_256,
        &scram_512,
    ];
    let kafka = match kafka::Kafka::start_nodes(1, &server).await {
        Ok(kafka) => kafka,
        Err(why) => return harness::say_not_run(what, &why),
    };
    let password_file = folder.path().join("password");
    fs::write(&password_file, "right\n").unwrap();
    let with = |sasl: fn(KafkaUser) -> KafkaSasl, password: Secret, ca_file: Option<&_>| {
        let mut settings = settings(&kafka.bootstrap());
        settings.tls = Some(KafkaTls { ca_file: ca_file.cloned(), ..KafkaTls::default() });
        settings.sasl = Some(sasl(KafkaUser { name: "me".into(), password }));
        settings
    };
    let right = || Secret::File(password_file.clone());
    let name = unique();
    for sasl in [KafkaSasl::ScramSha256, KafkaSasl::ScramSha512] {
        let settings = with(sasl, right(), Some(&ca_file));
        let channel = open_with(settings, KafkaPlan::default(), &name, 1).await;
        publish(&*channel, event(1)).await.expect("there is room");
    }
    let wrong = Secret::Text("wrong".into());
    let error = refused(with(KafkaSasl::ScramSha512, wrong, Some(&ca_file)), &name).await;
    assert!(matches!(error, OpenError::Refused { .. }), "{error}");

    // The system's authorities do not know the server.
    let mut settings = with(KafkaSasl::ScramSha512, right(), None);
    settings.open_timeout = Duration::from_secs(3);
    let error = refused(settings, &name).await;
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("certificate verify failed"), "{error}");
}
