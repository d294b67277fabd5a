//! What is refused, with which status, and what the problem document says.

use harness::http::Headers;
use harness::{Mode, Sample, Scene, Subscriber, Trigger};

use crate::{SOON, greeting, plain};

fn headers(fields: &[(&str, &str)]) -> Headers {
    Headers(fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
}

/// The four required headers without one of them, then some more.
fn without(name: &str, more: &[(&str, &str)]) -> Headers {
    let all = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")];
    let mut fields: Vec<(&str, &str)> =
        all.into_iter().filter(|(other, _)| *other != name).collect();
    fields.extend(more);
    headers(&fields)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_event_is_400_and_the_field_is_named() {
    let (running, subscriber) = plain().await;
    let long = "x".repeat(5000);
    let cases: Vec<(Headers, &str)> = vec![
        (without("ce-id", &[]), "id"),
        (without("ce-id", &[("ce-id", "")]), "id"),
        (without("ce-source", &[]), "source"),
        (without("ce-source", &[("ce-source", "a b")]), "source"),
        (without("ce-type", &[]), "type"),
        (without("ce-type", &[("ce-type", "")]), "type"),
        (without("ce-specversion", &[]), "specversion"),
        (without("ce-specversion", &[("ce-specversion", "2.0")]), "specversion"),
        (without("ce-specversion", &[("ce-specversion", "1.0.2")]), "specversion"),
        (without("", &[("ce-time", "lunchtime")]), "time"),
        (without("", &[("ce-time", "2018-04-05T17:31")]), "time"),
        (without("", &[("ce-dataschema", "#")]), "dataschema"),
        (without("", &[("ce-dataschema", "/relative")]), "dataschema"),
        (without("", &[("ce-subject", "")]), "subject"),
        (without("", &[("ce-subject", "a%0d%0ab")]), "subject"),
        (without("", &[("ce-subject", "a%ffb")]), "subject"),
        (without("", &[("ce-subject", "a%7fb")]), "subject"),
        (without("", &[("ce-subject", "a%c2%85b")]), "subject"),
        (without("", &[("ce-subject", &long)]), "subject"),
        (without("", &[("ce-my-ext", "1")]), "my-ext"),
        (without("", &[("ce-my_ext", "1")]), "my_ext"),
        (without("", &[("ce-data", "1")]), "data"),
        (without("", &[("ce-datacontenttype", "text/plain")]), "datacontenttype"),
        (without("", &[("ce-id", "2")]), "id"),
        (without("", &[("ce-ext", "1"), ("Ce-Ext", "1")]), "ext"),
        (without("", &[("content-type", "xyz")]), "content-type"),
        (without("", &[("content-type", "text/plain; charset")]), "content-type"),
        (headers(&[("content-type", "application/json")]), "specversion"),
    ];
    for (fields, field) in cases {
        let shown = format!("{:?}", fields.0);
        let shown = &shown[..shown.len().min(300)];
        let answer = running.producer().post(fields, b"{}".as_slice().into()).await.unwrap();
        assert_eq!(answer.status, 400, "{field}: {shown}");
        assert_problem(&answer, 400);
        // The field is named as the producer wrote it: the header.
        let named = if field == "content-type" { field.to_owned() } else { format!("ce-{field}") };
        assert_eq!(answer.json()["field"], named, "{} for {shown}", answer.text());
    }
    assert_nothing_came(&running, &subscriber).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_structured_event_that_is_wrong_is_400() {
    let (running, subscriber) = plain().await;
    let least = r#""specversion":"1.0","id":"1","source":"/s","type":"t""#;
    let cases = [
        ("{".to_owned(), ""),
        ("[]".to_owned(), ""),
        (String::new(), ""),
        ("{}".to_owned(), "specversion"),
        (format!("{{{least}}} x"), ""),
        (format!("{{{least},\"id\":\"2\"}}"), "id"),
        (format!("{{{least},\"ext\":1.5}}"), "ext"),
        (format!("{{{least},\"ext\":2147483648}}"), "ext"),
        (format!("{{{least},\"ext\":{{}}}}"), "ext"),
        (format!("{{{least},\"MyExt\":\"1\"}}"), "MyExt"),
        (format!("{{{least},\"subject\":\"a\\u0000\"}}"), "subject"),
        (format!("{{{least},\"subject\":\"a\\ud800\"}}"), ""),
        (format!("{{{least},\"data\":1,\"data_base64\":\"AA==\"}}"), ""),
        (format!("{{{least},\"data_base64\":\"not base64\"}}"), ""),
        (r#"{"specversion":"1.0","id":1,"source":"/s","type":"t"}"#.to_owned(), "id"),
        (r#"{"specversion":"1.0","id":null,"source":"/s","type":"t"}"#.to_owned(), "id"),
    ];
    for (body, field) in cases {
        let fields = headers(&[("content-type", "application/cloudevents+json; charset=UTF-8")]);
        let answer = running.producer().post(fields, body.clone().into()).await.unwrap();
        assert_eq!(answer.status, 400, "{body}");
        assert_problem(&answer, 400);
        if !field.is_empty() {
            assert_eq!(answer.json()["field"], field, "{} for {body}", answer.text());
        }
    }
    assert_nothing_came(&running, &subscriber).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_formats_and_codings_are_415() {
    let (running, subscriber) = plain().await;
    let (_, object) = greeting("1").structured();
    let cases = [
        without("", &[("content-type", "application/cloudevents+xml")]),
        without("", &[("content-type", "application/cloudevents+jsonx")]),
        without("", &[("content-type", "application/cloudevents-batch+protobuf")]),
        headers(&[("content-type", "application/cloudevents+json"), ("content-encoding", "gzip")]),
    ];
    for fields in cases {
        let shown = format!("{:?}", fields.0);
        let answer = running.producer().post(fields, object.clone()).await.unwrap();
        assert_eq!(answer.status, 415, "{shown}");
        assert_problem(&answer, 415);
    }
    assert_nothing_came(&running, &subscriber).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_methods_are_405_and_allow_says_which_are_not() {
    let (running, _) = plain().await;
    for method in ["GET", "PUT", "PATCH", "DELETE"] {
        let answer = running
            .producer()
            .request(method, "/default/default", Headers::default(), Some(Vec::new().into()))
            .await
            .unwrap();
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.header("allow").as_deref(), Some("POST, OPTIONS"), "{method}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hop_counter_that_is_used_up_is_refused_and_a_wrong_one_replaced() {
    let (running, subscriber) = plain().await;
    for (value, status) in
        [("1", 400), ("0", 400), ("-5", 400), ("2", 202), ("abc", 202), ("255", 202)]
    {
        let sample: Sample = greeting(value).with("knativebrokerttl", value);
        let answer = running.producer().send(&sample, Mode::Binary).await.unwrap();
        assert_eq!(answer.status, status, "{value}: {}", answer.text());
    }
    for one in subscriber.receives(3, SOON).await {
        assert_eq!(one.event.unwrap().attribute("knativebrokerttl"), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_channel_is_503_with_retry_after() {
    let subscriber = Subscriber::start().await;
    subscriber.always(harness::Answer::Hang);
    let scene = Scene::new().setup(|setup| setup.memory_bounds(None, Some(20)));
    let running = scene.trigger(Trigger::named("all"), &subscriber).start().await;
    let mut producer = running.producer();
    for number in 0..200 {
        let answer = producer.send(&greeting(&number.to_string()), Mode::Binary).await.unwrap();
        if answer.status != 202 {
            assert_eq!(answer.status, 503, "{}", answer.text());
            assert_problem(&answer, 503);
            let wait: u64 = answer.header("retry-after").expect("retry-after").parse().unwrap();
            assert!((1..=72).contains(&wait), "{wait}");
            return;
        }
    }
    panic!("200 events fit into a channel of 20");
}

fn assert_problem(answer: &harness::http::Response, status: u16) {
    assert_eq!(answer.header("content-type").as_deref(), Some("application/problem+json"));
    let problem = answer.json();
    assert_eq!(problem["status"], status, "{problem}");
    assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
}

/// Sends a good event and sees that it is the only one.
async fn assert_nothing_came(running: &harness::Running, subscriber: &Subscriber) {
    running.send(&greeting("the-good-one")).await;
    running.settled(SOON).await;
    assert_eq!(subscriber.count(), 1, "something refused was delivered");
}
