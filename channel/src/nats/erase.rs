//! Deleting what a broker has on JetStream: its streams, found by their subjects, and its bucket.

use std::time::Duration;

use async_nats::jetstream::{ErrorCode, context::DeleteStreamErrorKind, stream};
use futures_util::StreamExt as _;
use tokio::{runtime::Handle, time::timeout};

use crate::{
    Erased, Hub,
    nats::{NatsSettings, OpenError, link::Link, names::Names},
};

/// How long a connection that is no longer needed may take to close.
const CLOSING: Duration = Duration::from_millis(300);

/// Deletes the streams and the bucket of `hub`, within `within`. No replica should have the
/// channel open: one that has makes its stream anew, which is found when this is called again.
///
/// # Errors
///
/// [`OpenError`], in one line. What was deleted before stays deleted.
pub async fn erase(
    settings: &NatsSettings,
    hub: impl Into<Hub>,
    within: Duration,
    runtime: &Handle,
) -> Result<Erased, OpenError> {
    let names = Names::new(&settings.prefix, &hub.into());
    let (settings, on, url) = (settings.clone(), runtime.clone(), settings.url.clone());
    let task = runtime.spawn(async move { run(&settings, &names, on).await });
    let abort = task.abort_handle();
    match timeout(within, task).await {
        Ok(Ok(erased)) => erased,
        Ok(Err(error)) => {
            Err(OpenError::Refused { what: "the runtime".into(), reason: error.to_string() })
        }
        Err(_late) => {
            abort.abort();
            let reason = format!("it does not answer within {} s", within.as_secs_f64());
            Err(OpenError::Unreachable { url, reason })
        }
    }
}

async fn run(settings: &NatsSettings, names: &Names, runtime: Handle) -> Result<Erased, OpenError> {
    let link = Link::open(settings, 1, runtime).await?;
    let erased = delete(&link, names, &settings.url).await;
    drop(timeout(CLOSING, link.client.drain()).await);
    erased
}

async fn delete(link: &Link, names: &Names, url: &str) -> Result<Erased, OpenError> {
    let refused = |what: &str, reason: String| OpenError::Refused {
        what: format!("NATS at {url}: {what}"),
        reason,
    };
    let mut found = Vec::new();
    let mut streams = link.jet.streams();
    while let Some(info) = streams.next().await {
        let info = info.map_err(|error| refused("the list of streams", error.to_string()))?;
        if is_ours(names, &info.config) {
            found.push(info.config.name);
        }
    }
    let mut erased = Erased::default();
    for stream in found {
        let what = match stream.strip_prefix(BUCKET) {
            Some(bucket) if bucket == names.bucket() => format!("bucket {bucket}"),
            _ => format!("stream {stream}"),
        };
        match link.jet.delete_stream(&stream).await {
            Ok(_) => {
                tracing::info!(stream, "deleted the stream of a broker");
                erased.removed.push(what);
            }
            // Somebody else was faster.
            Err(error) if is_gone(&error.kind()) => {}
            Err(error) => return Err(refused(&what, format!("it cannot be deleted: {error}"))),
        }
    }
    Ok(erased)
}

/// What the streams of buckets begin with.
const BUCKET: &str = "KV_";

/// Whether a stream is of the broker. Its subjects say so, whatever it is called: a server lets no two
/// streams have one, and a copy that somebody keeps has none of them.
fn is_ours(names: &Names, found: &stream::Config) -> bool {
    let overflows = names.overflow_subjects();
    let is_bucket = found.name.strip_prefix(BUCKET).is_some_and(|bucket| bucket == names.bucket());
    is_bucket
        || found.subjects.contains(&names.log_subject())
        || found.subjects.iter().any(|subject| subject.starts_with(&overflows))
}

fn is_gone(kind: &DeleteStreamErrorKind) -> bool {
    matches!(kind, DeleteStreamErrorKind::JetStream(error)
        if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Name;

    #[test]
    fn a_stream_is_of_the_broker_whose_subjects_it_has() {
        let names = Names::new("CATCHMENT", &Hub::broker(Name::new("n", "a")));
        let found = |name: &str, subjects: &[&str]| {
            let subjects = subjects.iter().map(|&subject| subject.to_owned()).collect();
            stream::Config { name: name.into(), subjects, ..stream::Config::default() }
        };
        for (name, subjects, expected) in [
            ("LOG", &["CATCHMENT.n__a.log", "more.>"][..], true),
            ("O", &["CATCHMENT.n__a.overflow.n__t.>"], true),
            ("KV_CATCHMENT_LEDGER_n__a", &["$KV.CATCHMENT_LEDGER_n__a.>"], true),
            ("CATCHMENT_LOG_n__a", &[], false),
            ("CATCHMENT_LOG_n__a_2Eb", &["CATCHMENT.n__a_2Eb.log"], false),
            ("O", &["CATCHMENT.n__a_2Eoverflow.overflow.n__t.>"], false),
            ("O", &["CATCHMENT2.n__a.overflow.n__t.>", "CATCHMENT.n__a.logs"], false),
            ("C", &["CATCHMENT.channels__n__a.log"], false),
            ("ALL", &["CATCHMENT.>"], false),
            ("KV_CATCHMENT_LEDGER_n__a_2Eb", &["$KV.CATCHMENT_LEDGER_n__a_2Eb.>"], false),
        ] {
            assert_eq!(is_ours(&names, &found(name, subjects)), expected, "{name} {subjects:?}");
        }
    }
}
