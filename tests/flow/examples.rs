//! The examples of sources that need nothing from outside, called as the README says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use harness::http::Headers;
use harness::{Program, Setup, eventually};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Sha256, Sha512};
use tempfile::TempDir;

use crate::SOON;
use crate::sources::ready;

const SECRET: &str = "replace-this-with-a-long-random-text";

/// A program that serves an example, at ports of its own.
async fn serve(example: &str) -> (Program, TempDir) {
    let folder = TempDir::new().unwrap();
    let program = Setup::new().path(folder.path()).start().await;
    let documented = "127.0.0.1:8081";
    assert!(example.contains(documented));
    let example = example.replace(documented, &program.admin_address().to_string());
    std::fs::write(folder.path().join("example.yaml"), example).unwrap();
    let is_ready = || async {
        let triggers = program.admin().get("/api/v1/triggers").await.json();
        if triggers["items"][0]["ready"] == true { Ok(()) } else { Err(triggers) }
    };
    eventually(SOON, is_ready).await;
    (program, folder)
}

async fn call(program: &Program, path: &str, headers: &[(&str, String)], body: &str) {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into()));
    let mut headers: Vec<_> = headers.collect();
    headers.push(("content-type".to_owned(), b"application/json".to_vec()));
    let mut producer = program.producer(&format!("sources/default/{path}"));
    let body = Bytes::copy_from_slice(body.as_bytes());
    let answer = producer.post(Headers(headers), body).await.unwrap();
    // Stripe is answered 200.
    assert!(matches!(answer.status, 200 | 202), "{}", answer.text());
}

async fn until_shown(program: &Program, all: &[&str]) {
    eventually(SOON, || async {
        let shown = program.process.stdout();
        if all.iter().all(|text| shown.contains(text)) { Ok(()) } else { Err(shown) }
    })
    .await;
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_of_github_shows_a_signed_push() {
    let example = include_str!("../../deploy/examples/github-source/github.yaml");
    let (program, _folder) = serve(example).await;
    ready(&program, 1).await;
    let push = r#"{"ref":"refs/heads/main","repository":{"name":"hello-world"}}"#;
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(push.as_bytes());
    let headers = [
        ("x-github-event", "push".to_owned()),
        ("x-github-delivery", "72d3162e".to_owned()),
        ("x-hub-signature-256", format!("sha256={}", hex(&mac.finalize().into_bytes()))),
    ];
    call(&program, "hello", &headers, push).await;
    until_shown(&program, &["[pushes]\n", "id: 72d3162e", "ref: refs/heads/main"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_of_webhooks_takes_all_three_ways_to_sign() {
    let example = include_str!("../../deploy/examples/webhook-source/webhook.yaml");
    let (program, _folder) = serve(example).await;
    ready(&program, 3).await;
    let time = jiff::Timestamp::now().as_second();
    let key = example.split("whsec_").nth(2).unwrap().lines().next().unwrap();
    let body = r#"{"type":"invoice.paid","id":"evt_1","action":"made","order":7}"#;
    let mac = |key: &[u8], text: String| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().to_vec()
    };
    let standard = mac(&STANDARD.decode(key).unwrap(), format!("msg_1.{time}.{body}"));
    let headers = [
        ("webhook-id", "msg_1".to_owned()),
        ("webhook-timestamp", time.to_string()),
        ("webhook-signature", format!("v1,{}", STANDARD.encode(standard))),
    ];
    call(&program, "standard", &headers, body).await;
    let stripe = hex(&mac(SECRET.as_bytes(), format!("{time}.{body}")));
    let headers = [("stripe-signature", format!("t={time},v1={stripe}"))];
    call(&program, "stripe", &headers, body).await;
    // The old one of two secrets.
    let mut shop = Hmac::<Sha512>::new_from_slice(format!("{SECRET}-too").as_bytes()).unwrap();
    shop.update(format!("{time}.{body}").as_bytes());
    let headers = [
        ("x-shop-time", time.to_string()),
        ("x-shop-signature", hex(&shop.finalize().into_bytes())),
        ("x-shop-delivery", "shop_1".to_owned()),
    ];
    call(&program, "shop/orders?region=us", &headers, body).await;
    let shown = [
        "type: com.example.invoice.paid",
        "id: msg_1",
        "type: com.stripe.invoice.paid",
        "type: com.example.shop.orders.made",
        "id: shop_1",
        "subject: 7",
        "region: us",
    ];
    until_shown(&program, &shown).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_of_ticks_shows_them() {
    let example = include_str!("../../deploy/examples/ping-source/ping.yaml");
    // Nobody waits for half a minute, a minute and a half, or the night.
    let example =
        example.replace("0,30 * * * * *", "* * * * * *").replace("@every 90s", "@every 1s");
    let (program, _folder) = serve(&example.replace("30 2 * * *", "* * * * * *")).await;
    ready(&program, 3).await;
    let names = ["nightly", "twice-a-minute", "every-ninety-seconds"];
    let sources =
        names.map(|name| format!("source: /apis/v1/namespaces/default/pingsources/{name}"));
    until_shown(&program, &sources.each_ref().map(String::as_str)).await;
    until_shown(&program, &["region: eu", "\"report\": \"daily\""]).await;
}
