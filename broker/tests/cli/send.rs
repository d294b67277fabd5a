//! `catchment send` against a server that records.

use std::io::Write as _;

use serde_json::json;

use crate::{
    catchment,
    fake::{Fake, problem},
    run, run_with_stdin,
};

fn event(id: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t","data":{{"a":1.10}}}}"#)
}

#[test]
fn one_event_travels_in_binary_mode() {
    let server = Fake::accepting();
    let sent = run(&[
        "send",
        &server.url("/shop/orders"),
        "--id=a b",
        "--subject=50% \"é\"",
        "--data={\"msg\":\"Hello\"}",
        "--extension=tenant=x",
        "--time=2026-01-31T12:00:00+02:00",
    ]);
    assert_eq!(sent.code, 0, "{}", sent.stderr);
    assert!(sent.stdout.starts_with("accepted 202 id a b in "), "{}", sent.stdout);
    let asked = &server.asked()[0];
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/shop/orders"));
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-id", "a%20b"),
        ("ce-subject", "50%25%20%22%C3%A9%22"),
        ("ce-tenant", "x"),
        ("ce-time", "2026-01-31T12:00:00+02:00"),
        ("ce-type", "dev.catchment.event"),
        ("ce-source", "urn:catchment:send"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(asked.header(name), Some(value), "{name}");
    }
    assert_eq!(asked.body, r#"{"msg":"Hello"}"#);
}

#[test]
fn the_other_modes_carry_the_whole_event_as_json() {
    let server = Fake::accepting();
    for mode in ["structured", "batched"] {
        let sent = run_with_stdin(
            &["send", &server.url("/"), "--id=1", "--mode", mode, "--data-file=@-"],
            "plain text",
        );
        assert_eq!(sent.code, 0, "{}", sent.stderr);
    }
    let [structured, batched] = &server.asked()[..] else { panic!("two requests") };
    let media = |of: &str| Some(format!("application/cloudevents{of}+json; charset=utf-8"));
    assert_eq!(structured.header("content-type").map(str::to_owned), media(""));
    assert_eq!(batched.header("content-type").map(str::to_owned), media("-batch"));
    let event: serde_json::Value = serde_json::from_str(&structured.body).unwrap();
    assert_eq!(event["data"], "plain text");
    assert_eq!(event["datacontenttype"], "text/plain");
    let batch: serde_json::Value = serde_json::from_str(&batched.body).unwrap();
    assert_eq!(batch[0]["id"], "1");
}

#[test]
fn a_refused_event_is_one_clear_line_and_1() {
    let server = Fake::start(|_| problem(404, "no broker is called a/b\u{1b}[2J"));
    let refused = run(&["send", &server.url("/a/b")]);
    assert_eq!(refused.code, 1);
    assert_eq!(
        refused.stderr,
        format!(
            "error: {} refused the event: 404 no broker is called a/b\\u001b[2J\n",
            server.url("/a/b")
        )
    );
    let refused = run(&["send", &server.url("/a/b"), "--output=json", "--id=7"]);
    assert_eq!(refused.code, 1);
    let report = refused.json();
    assert_eq!((&report["refused"], &report["id"]), (&json!(1), &json!("7")));
    assert_eq!(report["problems"][0]["status"], 404);
}

#[test]
fn a_server_that_is_not_there_is_one_clear_line_and_1() {
    let failed = run(&["send", "http://127.0.0.1:1/"]);
    assert_eq!(failed.code, 1);
    assert!(
        failed
            .stderr
            .starts_with("error: the event was not accepted: cannot connect to 127.0.0.1:1: "),
        "{}",
        failed.stderr
    );
    assert_eq!(failed.stderr.lines().count(), 1);
}

#[test]
fn a_server_that_hangs_costs_the_timeout_and_no_more() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let failed = run(&["send", &url, "--timeout=50ms"]);
    assert_eq!(failed.code, 1);
    assert!(failed.stderr.contains("within 50ms"), "{}", failed.stderr);
}

#[test]
fn bad_lines_are_named_and_the_others_go_on() {
    let server = Fake::start(|asked| match asked.header("ce-id") {
        Some("refused") => problem(400, "ce-time: is not RFC 3339"),
        _ => (202, "text/plain", String::new()),
    });
    let lines =
        [event("1"), String::new(), "{broken".into(), event("refused"), "{}".into(), event("2")];
    let args = ["send", &server.url("/"), "--file=-", "--output=json"];
    let sent = run_with_stdin(&args, &lines.join("\n"));
    assert_eq!(sent.code, 1, "{}", sent.stderr);
    let report = sent.json();
    for (name, count) in
        [("sent", 3), ("accepted", 2), ("refused", 3), ("invalid", 2), ("failed", 0)]
    {
        assert_eq!(report[name], count, "{name} in {report}");
    }
    assert_eq!(report["byStatus"], json!({"202": 2, "400": 1}));
    let mut lines: Vec<u64> = report["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| problem["line"].as_u64().unwrap())
        .collect();
    lines.sort_unstable();
    assert_eq!(lines, [3, 4, 5]);
    let details = report["problems"].to_string();
    for words in ["body is not valid JSON at line 1, column 2", "specversion: required attribute"] {
        assert!(details.contains(words), "{details}");
    }
    let ids: Vec<_> =
        server.asked().iter().map(|asked| asked.header("ce-id").unwrap().to_owned()).collect();
    assert_eq!(ids, ["1", "refused", "2"]);
    assert_eq!(server.asked()[0].body, r#"{"a":1.10}"#);
}

#[test]
fn a_file_is_sent_in_batches_by_several_at_once() {
    let server = Fake::accepting();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for id in 0..250 {
        writeln!(file, "{}", event(&id.to_string())).unwrap();
    }
    let path = file.path().to_str().unwrap();
    let sent = run(&[
        "send",
        &server.url("/"),
        "--file",
        path,
        "--mode=batched",
        "--concurrency=4",
        "--rate=100000",
    ]);
    assert_eq!(sent.code, 0, "{}", sent.stderr);
    assert!(sent.stdout.starts_with("sent 250 events in "), "{}", sent.stdout);
    assert!(sent.stdout.contains("/s): 250 accepted\nlatency p50 "), "{}", sent.stdout);
    assert_eq!(sent.stderr, "", "no progress bar without a terminal");
    let mut sizes: Vec<usize> = Vec::new();
    for asked in server.asked() {
        sizes.push(serde_json::from_str::<Vec<serde_json::Value>>(&asked.body).unwrap().len());
    }
    sizes.sort_unstable();
    assert_eq!(sizes, [50, 100, 100]);
}

#[test]
fn a_file_without_a_server_is_given_up() {
    let lines: Vec<String> = (0..1000).map(|id| event(&id.to_string())).collect();
    let args = ["send", "http://127.0.0.1:1/", "--file=-", "--output=json"];
    let mut child = catchment(&args)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // The program may end before it has read everything.
    child.stdin.take().unwrap().write_all(lines.join("\n").as_bytes()).unwrap_or_default();
    let failed = crate::Ran::from(child.wait_with_output().unwrap());
    assert_eq!(failed.code, 1);
    assert_eq!(failed.json()["endedEarly"], "noServer");
    assert_eq!(failed.json()["failed"], 100);
}

#[test]
fn a_missing_file_is_one_clear_line() {
    let failed = run(&["send", "--file=/no/such/file"]);
    assert_eq!(failed.code, 1);
    assert!(failed.stderr.starts_with("error: cannot read /no/such/file: "), "{}", failed.stderr);
}
