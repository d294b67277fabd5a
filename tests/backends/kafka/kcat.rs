//! What other clients of Kafka write and read.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::time::Duration;

use harness::servers::kcat;

use super::support::{event, lent, open, publish, servers, topic, unique};

const PATIENCE: Duration = Duration::from_secs(10);

fn produce(bootstrap: &str, topic: &str, headers: &[&[u8]], more: &[&str], value: &[u8]) {
    let mut args: Vec<OsString> = ["-b", bootstrap, "-t", topic, "-P", "-D", "\x01"]
        .iter()
        .chain(more)
        .map(|&arg| arg.into())
        .collect();
    for header in headers {
        args.push("-H".into());
        args.push(OsString::from_vec(header.to_vec()));
    }
    kcat::run(&args, value);
}

#[tokio::test]
async fn what_other_clients_write_is_lent_and_garbage_stops_nothing() {
    let what = "records of other clients";
    let Some(kafka) = servers(what).await else { return };
    if !kcat::is_there(what) {
        return;
    }
    let (bootstrap, name) = (kafka.bootstrap(), unique());
    let topic = topic(&name);
    let channel = open(&bootstrap, &name, 1).await;
    let required: [&[u8]; 3] = [b"ce_specversion=1.0", b"ce_source=/kcat", b"ce_type=t"];
    let with = |more: &[&'static [u8]]| -> Vec<&[u8]> {
        required.iter().copied().chain(more.iter().copied()).collect()
    };
    let write = |headers: &[&[u8]], more: &[&str], value: &[u8]| {
        produce(&bootstrap, &topic, headers, &[&["-p", "3"], more].concat(), value);
    };
    write(&[], &[], b"no event at all");
    write(
        &with(&[b"ce_id=binary", "ce_subject=é %41".as_bytes(), b"content-type=text/plain"]),
        &[],
        b"hello",
    );
    write(&with(&[b"ce_id=bad", b"ce_time=noon"]), &[], b"bad time");
    write(&[b"\xff\xfe=1", b"ce_id=x"], &[], b"a name that is not text");
    write(&with(&[b"ce_id=null"]), &["-Z", "-K", ":"], b"k:");
    write(
        &[b"content-type=application/cloudevents+json"],
        &[],
        br#"{"specversion":"1.0","id":"structured","source":"/kcat","type":"t","data":[1, 2]}"#,
    );
    write(&[b"content-type=application/cloudevents+json"], &[], b"{");
    write(&with(&[b"ce_id=last"]), &["-k", "a key"], b"end");

    let mut reader = channel.reader(0);
    let mut found = BTreeMap::new();
    let mut problems = Vec::new();
    while found.len() + problems.len() < 8 {
        let lease = lent(&mut *reader, PATIENCE)
            .await
            .unwrap_or_else(|| panic!("lent: {:?}, {problems:?}", found.keys()));
        let event = lease.event().clone();
        match lease.problem() {
            Some(problem) => {
                assert_eq!(event.ty(), channel::binding::UNDECODABLE);
                assert_eq!(event.source(), format!("/kafka/{topic}/3"));
                let data = event.data().expect("its bytes").bytes.clone();
                problems.push((problem.to_owned(), String::from_utf8(data.into()).unwrap()));
            }
            None => drop(found.insert(event.id().to_owned(), event)),
        }
        lease.settle();
    }
    let data = |id: &str| found[id].data().map(|data| data.bytes.clone());
    use channel::Attributes as _;
    assert_eq!(found["binary"].attribute("subject"), Some("é %41"));
    assert_eq!(found["binary"].attribute("datacontenttype"), Some("text/plain"));
    assert_eq!(data("binary").as_deref(), Some(&b"hello"[..]));
    assert_eq!(data("null"), None);
    assert_eq!(data("structured").as_deref(), Some(&b"[1, 2]"[..]));
    assert_eq!(data("last").as_deref(), Some(&b"end"[..]));
    let reason = |value: &str| {
        let mut problems = problems.iter();
        problems.find(|(_, data)| data == value).expect("told").0.clone()
    };
    assert!(reason("no event at all").contains("neither"), "{problems:?}");
    assert!(reason("bad time").starts_with("ce_time: "), "{problems:?}");
    assert_eq!(reason("a name that is not text"), "a header's name is not UTF-8");
    assert!(reason("{").starts_with("body is not valid JSON"), "{problems:?}");
    assert_eq!(channel.depth().events, 0);
}

#[tokio::test]
async fn other_clients_read_what_is_written() {
    let what = "records for other clients";
    let Some(kafka) = servers(what).await else { return };
    if !kcat::is_there(what) {
        return;
    }
    let (bootstrap, name) = (kafka.bootstrap(), unique());
    let channel = open(&bootstrap, &name, 1).await;
    let mut draft = event(1).edit();
    draft.push_wire("subject", b"a%20b").unwrap();
    draft.set("partitionkey", "orders");
    draft.content_type(b"text/plain").unwrap();
    draft.carry("traceparent", b"00-1-2-03");
    draft.set_hops(Some(254));
    publish(&*channel, draft.finish().unwrap()).await.expect("there is room");
    let args = ["-b", &bootstrap, "-t", &topic(&name), "-C", "-o", "beginning", "-e", "-q"];
    let mut args: Vec<OsString> = args.iter().map(OsString::from).collect();
    args.extend(["-f".into(), "%k|%h|%s".into()]);
    let said = kcat::run(&args, b"");
    assert_eq!(
        said,
        "orders|ce_specversion=1.0,ce_id=1,ce_source=/test,ce_type=t,ce_subject=a b,\
         ce_partitionkey=orders,content-type=text/plain,traceparent=00-1-2-03,\
         catchment-hops=254|event 1"
    );
}
