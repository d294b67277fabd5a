//! Ways in: credentials, TLS, and what is said when there is none.

use std::path::PathBuf;
use std::time::Duration;

use channel::nats::{NatsTls, OpenError, Secret};
use channel::{Budget, Channel as _, Nats, NatsPlan, NatsSettings};
use harness::servers::nats::{Options, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use tokio::runtime::Handle;

use super::{event, fresh_name, named, next, other, publish, server, settings};

/// A pair made for these tests alone.
const NKEY: &str = "UBJS4HVO74SDH2O5F3W6JZQC3GMVUW6NSKQT4EB5HIMVKIA5XFT7LA7U";
const NKEY_SEED: &str = "SUALLRZKXIR5EMGLEDART4M4WB6LBVMGGBFJ3MCTBSI5Y5BFTU6H5E6HUQ";

async fn try_open(
    settings: &NatsSettings,
    plan: &NatsPlan,
) -> Result<std::sync::Arc<Nats>, OpenError> {
    let budget = Budget::new(64 << 20);
    Nats::open(settings, plan, &fresh_name(), 1, budget, &Handle::current()).await
}

/// An event goes in and comes out.
async fn check(settings: &NatsSettings) {
    let channel = try_open(settings, &NatsPlan::default()).await.unwrap();
    let mut reader = channel.reader(0);
    publish(&channel, event("1")).await.unwrap();
    next(&mut *reader, Duration::from_secs(10)).await.expect("it was stored").settle();
    assert_eq!(channel.health(), Ok(()));
}

#[tokio::test]
async fn a_user_gets_in_and_a_stranger_is_told_so() {
    let options = Options { user: Some(("u".into(), "p".into())), ..Options::default() };
    let test = "a_user_gets_in_and_a_stranger_is_told_so";
    let Some(server) = server(test, &options).await else { return };
    let user = |password: &str| NatsSettings {
        user: Some("u".into()),
        password: Some(Secret::new(password)),
        ..settings(&server)
    };
    check(&user("p")).await;
    for stranger in [user("wrong"), settings(&server)] {
        let error = try_open(&stranger, &NatsPlan::default()).await.unwrap_err();
        assert!(matches!(error, OpenError::Unauthorized { .. }), "{error:?}");
        assert!(!error.to_string().contains('\n') && !error.is_transient());
    }
}

#[tokio::test]
async fn an_nkey_gets_in() {
    let options = Options { nkey: Some(NKEY.into()), ..Options::default() };
    let Some(server) = server("an_nkey_gets_in", &options).await else { return };
    check(&NatsSettings { nkey_seed: Some(Secret::new(NKEY_SEED)), ..settings(&server) }).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("seed");
    std::fs::write(&file, format!("{NKEY_SEED}\n")).unwrap();
    check(&NatsSettings { nkey_seed_file: Some(file), ..settings(&server) }).await;
    let wrong = NatsSettings { nkey_seed_file: Some("/nowhere".into()), ..settings(&server) };
    let error = try_open(&wrong, &NatsPlan::default()).await.unwrap_err().to_string();
    assert!(error.starts_with("nats.nkeySeedFile: /nowhere cannot be read"), "{error}");
}

/// An authority, and files of what it signed.
struct Files {
    folder: tempfile::TempDir,
    ca: PathBuf,
}

impl Files {
    fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, issuer.pem()).unwrap();
        for name in ["server", "client"] {
            let params =
                CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])
                    .unwrap();
            let key = KeyPair::generate().unwrap();
            let cert = params.signed_by(&key, &issuer).unwrap();
            std::fs::write(folder.path().join(format!("{name}.pem")), cert.pem()).unwrap();
            std::fs::write(folder.path().join(format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        Self { folder, ca }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[tokio::test]
async fn tls_is_spoken_with_certificates_of_both_sides() {
    let files = Files::make();
    let tls = Tls {
        cert: files.file("server.pem"),
        key: files.file("server.key"),
        client_ca: Some(files.ca.clone()),
    };
    let options = Options { tls: Some(tls), ..Options::default() };
    let test = "tls_is_spoken_with_certificates_of_both_sides";
    let Some(server) = server(test, &options).await else { return };
    let tls = NatsTls {
        ca_file: Some(files.ca.clone()),
        cert_file: Some(files.file("client.pem")),
        key_file: Some(files.file("client.key")),
        require_tls: true,
    };
    check(&NatsSettings { tls: tls.clone(), ..settings(&server) }).await;
    let others = Files::make();
    let stranger = NatsTls { ca_file: Some(others.ca.clone()), ..tls };
    let stranger = NatsSettings { tls: stranger, ..settings(&server) };
    let error = try_open(&stranger, &NatsPlan::default()).await.unwrap_err();
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn what_is_wrong_is_said_in_one_line() {
    let test = "what_is_wrong_is_said_in_one_line";
    let Some(server) = server(test, &Options::default()).await else { return };
    let options = Options { without_jetstream: true, ..Options::default() };
    let bare = super::Server::start(&options).await;
    let error = try_open(&settings(&bare), &NatsPlan::default()).await.unwrap_err();
    assert!(matches!(error, OpenError::NoJetStream { .. }), "{error:?}");

    let nobody = NatsSettings { url: "nats://127.0.0.1:1".into(), ..NatsSettings::default() };
    let error = try_open(&nobody, &NatsPlan::default()).await.unwrap_err();
    assert!(matches!(error, OpenError::Unreachable { .. }) && error.is_transient(), "{error:?}");

    let queue = json!({"name": "QUEUE", "subjects": ["q"], "retention": "workqueue", "storage": "file",
        "max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "max_age": 0, "num_replicas": 1,
        "discard": "new"});
    other(&server, "ask", &["$JS.API.STREAM.CREATE.QUEUE", &queue.to_string()]).await;
    let taken = named("QUEUE");
    let error = try_open(&settings(&server), &taken).await.unwrap_err();
    let told = "stream QUEUE: retention is WorkQueue, and must be Limits";
    assert_eq!(error.to_string(), told);

    let three = NatsPlan { replicas: 3, ..NatsPlan::default() };
    let error = try_open(&settings(&server), &three).await.unwrap_err();
    assert!(matches!(error, OpenError::Refused { .. }), "{error:?}");
}
