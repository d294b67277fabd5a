//! Signatures of real senders and of bad ones.

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use ring::signature::KeyPair as _;
use sha2::Sha256;

use super::*;
use crate::webhook::{Preset, TOLERANCE};

const NOW: i64 = 1_700_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn verify(verifier: &Verifier, headers: &[(&str, &str)], body: &[u8]) -> Result<Verified, String> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        map.append(name, HeaderValue::from_str(value).unwrap());
    }
    let body = Bytes::copy_from_slice(body);
    let request =
        Request { method: &Method::POST, path: "", query: "", headers: &map, body: &body };
    verifier.verify(&request, now()).map_err(|refused| {
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
        refused.reason()
    })
}

fn keys(secrets: &[&str]) -> Vec<Secret> {
    secrets.iter().map(|secret| Secret::new(*secret)).collect()
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn base64(bytes: &[u8]) -> String {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[test]
fn github_s_own_example_is_accepted() {
    // From "Validating webhook deliveries" in GitHub's documentation.
    let github = Preset::Github.verifier(keys(&["It's a Secret to Everybody"]), TOLERANCE);
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let signed = [("X-Hub-Signature-256", signature)];
    assert!(verify(&github, &signed, b"Hello, World!").is_ok());
    assert!(verify(&github, &signed, b"Hello, World?").is_err());
}

#[test]
fn a_signature_that_is_not_whole_is_refused_with_its_header() {
    let key = "0123456789abcdef0123456789abcdef";
    let github = Preset::Github.verifier(keys(&[key]), TOLERANCE);
    let good = hex(&mac(key.as_bytes(), b"{}"));
    let header = "X-Hub-Signature-256";
    assert!(verify(&github, &[(header, &format!("sha256={good}"))], b"{}").is_ok());
    let upper = good.to_uppercase();
    assert!(verify(&github, &[(header, &format!("sha256={upper}"))], b"{}").is_ok());
    let truncated = &good[..62];
    for (value, told) in [
        (format!("sha256={truncated}"), "must be \"sha256=\" and 64 hexadecimal digits"),
        (format!("sha256={good}00"), "64 hexadecimal digits"),
        (format!("sha256={truncated}zz"), "64 hexadecimal digits"),
        (good.clone(), "must be \"sha256=\""),
        (format!("sha1={good}"), "must be \"sha256=\""),
        (String::new(), "must be \"sha256=\""),
        (format!("sha256={}", "0".repeat(64)), "does not fit the body"),
    ] {
        let error = verify(&github, &[(header, &value)], b"{}").unwrap_err();
        assert!(error.starts_with("x-hub-signature-256: "), "{error}");
        assert!(error.contains(told), "{value}: {error}");
        assert!(!error.contains(&good), "the signature is not told");
    }
    let whole = format!("sha256={good}");
    let twice = [(header, whole.as_str()), (header, whole.as_str())];
    assert!(verify(&github, &twice, b"{}").unwrap_err().contains("more than once"));
    let missing = verify(&github, &[], b"{}").unwrap_err();
    assert_eq!(missing, "x-hub-signature-256: is missing");
    let weak = verify(&github, &[("X-Hub-Signature", "sha1=00")], b"{}").unwrap_err();
    assert!(weak.contains("x-hub-signature alone (SHA-1) is not enough"), "{weak}");
}

#[test]
fn any_of_several_secrets_is_enough() {
    let (old, new) = ("old-secret-of-32-bytes-0123456789", "new-secret-of-32-bytes-0123456789");
    let verifier = Preset::Shopify.verifier(keys(&[new, old]), TOLERANCE);
    for key in [old, new] {
        let signature = base64(&mac(key.as_bytes(), b"{}"));
        assert!(verify(&verifier, &[("X-Shopify-Hmac-Sha256", &signature)], b"{}").is_ok());
    }
    let other = base64(&mac(b"another", b"{}"));
    assert!(verify(&verifier, &[("X-Shopify-Hmac-Sha256", &other)], b"{}").is_err());
}

#[test]
fn stripe_signs_the_time_and_may_sign_twice() {
    let key = "whsec_test_secret_of_stripe";
    let stripe = Preset::Stripe.verifier(keys(&[key]), TOLERANCE);
    let header = |time: i64| {
        let good = hex(&mac(key.as_bytes(), format!("{time}.{{}}").as_bytes()));
        format!("t={time},v1={},v1={good},v0=00", "0".repeat(64))
    };
    let verified = verify(&stripe, &[("Stripe-Signature", &header(NOW - 299))], b"{}").unwrap();
    assert_eq!(verified.timestamp.unwrap().as_second(), NOW - 299);
    for (value, told) in [
        (header(NOW - 301), "is 301 s in the past, and 300 s are tolerated"),
        (header(NOW + 301), "is 301 s in the future"),
        (header(NOW).replace(&format!("t={NOW}"), &format!("t={}", NOW + 1)), "does not fit"),
        (header(NOW).replace(&format!("t={NOW},"), ""), "has no time"),
        ("v1=00".to_owned(), "has no time"),
        (format!("t={NOW},v0=00"), "must have v1="),
    ] {
        let error = verify(&stripe, &[("Stripe-Signature", &value)], b"{}").unwrap_err();
        assert!(error.starts_with("stripe-signature: ") && error.contains(told), "{error}");
    }
}

#[test]
fn slack_s_own_example_is_accepted_at_its_time() {
    // From "Verifying requests from Slack" in Slack's documentation.
    let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    let secret = keys(&["8f742231b10e8888abcd99yyyzzz85a5"]);
    let slack = Preset::Slack.verifier(secret.clone(), Duration::from_secs(400_000_000));
    let headers = [("X-Slack-Request-Timestamp", "1531420618"), ("X-Slack-Signature", signature)];
    assert!(verify(&slack, &headers, body.as_bytes()).is_ok());
    let strict = Preset::Slack.verifier(secret, TOLERANCE);
    let error = verify(&strict, &headers, body.as_bytes()).unwrap_err();
    assert!(error.starts_with("x-slack-request-timestamp: is "), "{error}");
}

fn standard(keys: &[&str]) -> Verifier {
    let keys = keys.iter().map(|key| StandardKey::parse(key).unwrap()).collect();
    Verifier::Standard(StandardScheme { keys, tolerance: TOLERANCE })
}

#[test]
fn standard_webhooks_are_verified_with_shared_keys() {
    let raw = [7_u8; 32];
    let verifier = standard(&[&format!("whsec_{}", base64(&raw))]);
    let sign = |id: &str, time: i64| {
        format!("v1,{}", base64(&mac(&raw, format!("{id}.{time}.{{}}").as_bytes())))
    };
    let check = |id: &str, time: &str, signature: &str| {
        let headers =
            [("webhook-id", id), ("webhook-timestamp", time), ("webhook-signature", signature)];
        verify(&verifier, &headers, b"{}")
    };
    let (time, good) = (NOW.to_string(), sign("msg_1", NOW));
    let verified = check("msg_1", &time, &good).unwrap();
    assert_eq!(verified.id.as_deref(), Some("msg_1"));
    assert!(check("msg_1", &time, &format!("v1,AAAA v2,x {good}")).is_ok(), "any is enough");
    let (old, dotted) = (NOW - 301, sign("msg.1", NOW));
    for (id, time, signature, header) in [
        ("msg_2", time.as_str(), good.as_str(), "webhook-signature: does not fit"),
        ("msg.1", &time, &dotted, "webhook-id: must not be empty or contain a dot"),
        ("msg_1", &old.to_string(), &sign("msg_1", old), "webhook-timestamp: is 301 s"),
        ("msg_1", "soon", &good, "webhook-timestamp: must be a time in seconds"),
        ("msg_1", "-1", &good, "webhook-timestamp: must be a time in seconds"),
        ("msg_1", &time, "v1", "webhook-signature: must be a list"),
        ("msg_1", &time, &good.replace("v1,", "v1a,"), "webhook-signature: does not fit"),
    ] {
        let error = check(id, time, signature).unwrap_err();
        assert!(error.starts_with(header), "{error}");
    }
    let svix = [("svix-id", "msg_1"), ("svix-timestamp", &time), ("svix-signature", &good)];
    assert!(verify(&verifier, &svix, b"{}").is_ok());
    assert_eq!(verify(&verifier, &[], b"{}").unwrap_err(), "webhook-id: is missing");
}

#[test]
fn standard_webhooks_are_verified_with_public_keys() {
    let pair = ring::signature::Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
    let verifier = standard(&[&format!("whpk_{}", base64(pair.public_key().as_ref()))]);
    let signature = pair.sign(format!("msg_1.{NOW}.{{}}").as_bytes());
    let signature = format!("v1a,{}", base64(signature.as_ref()));
    let time = NOW.to_string();
    let headers = [
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", time.as_str()),
        ("webhook-signature", signature.as_str()),
    ];
    assert!(verify(&verifier, &headers, b"{}").is_ok());
    assert!(verify(&verifier, &headers, b"[]").is_err());
}

#[test]
fn keys_are_of_the_length_that_the_standard_asks_for() {
    for (key, error) in [
        (format!("whsec_{}", base64(&[0; 23])), KeyError::Length),
        (format!("whsec_{}", base64(&[0; 65])), KeyError::Length),
        (format!("whpk_{}", base64(&[0; 31])), KeyError::Length),
        ("whsec_?".to_owned(), KeyError::Encoding),
        (base64(&[0; 32]), KeyError::Prefix),
    ] {
        assert_eq!(StandardKey::parse(&key).unwrap_err(), error, "{key}");
    }
}

#[test]
fn tokens_and_passwords_are_compared_as_a_whole() {
    let token = "0123456789abcdef";
    let bearer = Verifier::Token(TokenScheme::bearer(keys(&[token])));
    assert!(verify(&bearer, &[("Authorization", &format!("bearer {token}"))], b"").is_ok());
    for value in ["Bearer 0123456789abcde", "Basic 0123456789abcdef", "0123456789abcdef", "Bearer "]
    {
        assert!(verify(&bearer, &[("Authorization", value)], b"").is_err(), "{value}");
    }
    let basic = Verifier::Basic(BasicScheme {
        username: "joe".to_owned(),
        passwords: keys(&["pass:word", "other"]),
    });
    let encoded = |text: &str| format!("Basic {}", base64(text.as_bytes()));
    assert!(verify(&basic, &[("Authorization", &encoded("joe:pass:word"))], b"").is_ok());
    for text in ["joe:pass", "jo:pass:word", "joe", "joe:", ""] {
        assert!(verify(&basic, &[("Authorization", &encoded(text))], b"").is_err(), "{text}");
    }
}

#[test]
fn secrets_are_not_shown() {
    let shown =
        format!("{:?}", Preset::Github.verifier(keys(&["hunter2hunter2hunter2"]), TOLERANCE));
    assert!(!shown.contains("hunter2") && !shown.contains("104, 117"), "{shown}");
}

proptest! {
    #[test]
    fn no_header_panics_and_none_is_accepted_by_chance(
        value in "[ -~]{0,80}",
        body in proptest::collection::vec(any::<u8>(), 0..32),
    ) {
        let secrets = || keys(&["0123456789abcdef0123456789abcdef"]);
        for (preset, header) in [
            (Preset::Github, "X-Hub-Signature-256"),
            (Preset::Stripe, "Stripe-Signature"),
            (Preset::Shopify, "X-Shopify-Hmac-Sha256"),
            (Preset::Gitlab, "X-Gitlab-Token"),
        ] {
            let verifier = preset.verifier(secrets(), TOLERANCE);
            prop_assert!(verify(&verifier, &[(header, &value)], &body).is_err());
        }
        let time = NOW.to_string();
        let headers = [
            ("webhook-id", "a"),
            ("webhook-timestamp", time.as_str()),
            ("webhook-signature", value.as_str()),
        ];
        let verifier = standard(&[&format!("whsec_{}", base64(&[7; 32]))]);
        prop_assert!(verify(&verifier, &headers, &body).is_err());
    }
}
