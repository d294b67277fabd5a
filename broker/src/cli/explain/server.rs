//! An event explained by the running server.

use bytes::Bytes;
use http::{
    Request,
    header::{ACCEPT, CONTENT_TYPE},
};
use http_body_util::Full;

use super::{
    super::{
        Console, Failure,
        client::{Client, Refusal},
    },
    args::ExplainArgs,
};
use crate::display::{escape, indent_json};

/// An answer has the trees of a thousand triggers at most.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Has the server explain the event, which may be invalid: the server says so.
pub(super) async fn run(
    args: &ExplainArgs,
    event: Vec<u8>,
    console: &Console,
) -> Result<(), Failure> {
    let mut url = args.admin.clone();
    url.set_path("/api/v1/explain");
    for (name, value) in [("broker", &args.broker), ("trigger", &args.trigger)] {
        if let Some(value) = value {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    let accept = if console.is_json() { "application/json" } else { "text/plain" };
    let request = Request::post(url.as_str())
        .header(CONTENT_TYPE, "application/cloudevents+json")
        .header(ACCEPT, accept)
        .body(Full::new(Bytes::from(event)))
        .map_err(|error| Failure::caused(format!("cannot ask for {url}"), &error))?;
    let host = args.admin.as_str().trim_start_matches("http://").trim_end_matches('/');
    let answer = Client::new(args.timeout, ANSWER_BYTES_MAX).call(request).await;
    let answer = answer
        .map_err(|error| Failure::caused(format!("the server at {host} did not answer"), &error))?;
    if !answer.status().is_success() {
        return Err(Failure::Failed(format!("the server refused: {}", Refusal(&answer))));
    }
    let text = String::from_utf8_lossy(answer.body());
    if console.is_json() {
        console.print(&format!("{}\n", indent_json(&text)))
    } else {
        console.print(&escape(&text, true))
    }
}
