//! Request and response -> event, and back (CloudEvents HTTP binding 1.0.2).

/// Whether a header travels with an event without being part of it.
pub fn is_carried(name: &str) -> bool {
    matches!(name, "traceparent" | "tracestate" | "baggage" | "x-request-id" | "retry-after")
        || name.starts_with("knative-")
        || name.starts_with("x-b3-")
}
