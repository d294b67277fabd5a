//! The event that every bench sends or reads, and the triggers it is matched against.

/// Attributes of the event as HTTP headers, without `ce-id` and `ce-type`.
///
/// What a Knative source sends, in size and shape: with those two, six `ce-` headers.
pub const HEADERS: [(&str, &str); 5] = [
    ("ce-specversion", "1.0"),
    ("ce-source", SOURCE),
    ("ce-subject", "orders/1234"),
    ("ce-time", "2026-01-02T03:04:05.678Z"),
    ("content-type", "application/json"),
];

/// The event's `source`.
pub const SOURCE: &str = "/apis/v1/namespaces/default/pingsources/probe";

/// The event's `id`.
pub const ID: &str = "a7c2b1d0-5f0e-4a8e-9d0b-1f2e3d4c5b6a";

/// The event's `type`; `number` has at most six digits, so that every type has the same length.
pub fn ty(number: u64) -> String {
    format!("dev.catchment.bench.{number:06}")
}

/// A JSON object of exactly `len` bytes, or the smallest one of this shape if `len` is under 8.
pub fn body(len: usize) -> Vec<u8> {
    const FRAME: usize = r#"{"d":""}"#.len();
    format!(r#"{{"d":"{}"}}"#, "x".repeat(len.saturating_sub(FRAME))).into_bytes()
}
