//! `catchment display` fed over TCP and by `catchment send`.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, ChildStdout, Stdio},
};

use crate::{catchment, run};

struct Display {
    child: Child,
    stdout: BufReader<ChildStdout>,
    address: String,
}

impl Display {
    fn start(args: &[&str]) -> Self {
        let mut child = catchment(&[&["display", "--listen=127.0.0.1:0"], args].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut ready).unwrap();
        let (_, rest) = ready.split_once("http://").unwrap();
        let address = rest.split_whitespace().next().unwrap().to_owned();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout, address }
    }

    /// Sends a raw request and returns the whole answer.
    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn an_event_is_shown_as_a_block() {
    let mut display = Display::start(&[]);
    let answer = display.ask(
        "POST /any/path HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCe-Id: say-hello\r\n\
         Ce-Specversion: 1.0\r\nCe-Type: greeting\r\nCe-Source: not-sendoff\r\nCe-Zone: a%E2%80%AE%20b\r\n\
         Content-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"msg\":\"Hello\"}",
    );
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    let shown: Vec<String> = (0..12).map(|_| display.line()).collect();
    assert_eq!(
        shown.concat(),
        "\
☁️  cloudevents.Event
Context Attributes,
  specversion: 1.0
  type: greeting
  source: not-sendoff
  id: say-hello
  datacontenttype: application/json
Extensions,
  zone: a\\u202e b
Data,
  {
    \"msg\": \"Hello\"
"
    );
}

#[test]
fn a_batch_is_one_json_line_per_event() {
    let mut display = Display::start(&["--output=json"]);
    let url = format!("http://{}/", display.address);
    for id in ["1", "2"] {
        let sent =
            run(&["send", &url, "--mode=batched", "--id", id, "--time=2026-01-31T12:00:00Z"]);
        assert_eq!(sent.code, 0, "{}", sent.stderr);
        let event = format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"urn:catchment:send","type":"dev.catchment.event","time":"2026-01-31T12:00:00Z"}}"#
        );
        assert_eq!(display.line().trim_end(), event);
    }
}

#[test]
fn what_is_no_event_is_refused_with_a_reason() {
    let display = Display::start(&[]);
    let cases = [
        ("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "405", "use POST"),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
            "400",
            "neither a ce-specversion header nor",
        ),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\nCe-Specversion: 1.0\r\n\
             Ce-Id: a%1B\r\n\r\n",
            "400",
            "ce-id: must not contain control characters",
        ),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\nCe-Specversion: 1.0\r\n\r\n",
            "400",
            "ce-id: required attribute is missing",
        ),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\
             Content-Type: application/cloudevents+avro\r\n\r\nhi",
            "415",
            "is not spoken here",
        ),
    ];
    for (request, status, reason) in cases {
        let answer = display.ask(request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains("application/problem+json") && answer.contains(reason), "{answer}");
    }
}

#[test]
fn a_webhook_handshake_is_answered() {
    let display = Display::start(&[]);
    let answer = display.ask(
        "OPTIONS / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nWebHook-Request-Origin: eg.com\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("webhook-allowed-origin: eg.com\r\n"), "{answer}");
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = run(&["display", "--listen", &address]);
    assert_eq!(refused.code, 1);
    let start = format!("error: cannot listen at {address}: ");
    assert!(refused.stderr.starts_with(&start), "{}", refused.stderr);
    assert_eq!(refused.stderr.lines().count(), 1);
}
