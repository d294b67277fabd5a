//! A source that is called: request → verified, new, an event, stored → answer.

use std::sync::Arc;

use channel::Sink;
use http::{Method, StatusCode, header};
use jiff::Timestamp;
use tracing::{debug, warn};

use super::{Answer, Claim, Mapped, Mapper, Refused, Replay, Request, verify::Verifier};
use crate::{Report, SourceId};

/// Where requests to one source are taken.
#[derive(Debug)]
pub struct Endpoint {
    id: SourceId,
    verifier: Verifier,
    mapper: Mapper,
    replay: Replay,
    body_bytes_max: usize,
    sink: Arc<dyn Sink>,
    report: Arc<Report>,
}

impl Endpoint {
    /// The endpoint of source `id`, whose events go to `sink`.
    pub fn new(
        id: SourceId,
        (verifier, mapper): (Verifier, Mapper),
        replay: Replay,
        body_bytes_max: usize,
        sink: Arc<dyn Sink>,
        report: Arc<Report>,
    ) -> Self {
        Self { id, verifier, mapper, replay, body_bytes_max, sink, report }
    }

    /// Which source it is.
    pub fn id(&self) -> &SourceId {
        &self.id
    }

    /// Longest body that it takes: to be refused before it is read.
    pub fn body_bytes_max(&self) -> usize {
        self.body_bytes_max
    }

    /// What was counted.
    pub fn report(&self) -> &Arc<Report> {
        &self.report
    }

    /// Takes a request that came to `worker` at `now`. What was answered with a success is stored.
    ///
    /// # Errors
    ///
    /// Why it made no event.
    ///
    /// # Cancel safety
    ///
    /// Dropped half way, the event may be stored and the delivery not remembered: the sender was not
    /// answered, and sends it again with the same id.
    pub async fn receive(
        &self,
        worker: usize,
        request: &Request<'_>,
        now: Timestamp,
    ) -> Result<Answer, Refused> {
        if *request.method == Method::OPTIONS {
            let asks_rate = request.headers.contains_key("webhook-request-rate");
            return Ok(Answer::consent(request.header("webhook-request-origin"), asks_rate));
        }
        let received = self.take(worker, request, now).await;
        if let Err(refused) = &received {
            debug!(source = %self.id, status = %refused.status, reason = refused.reason(), "refused");
            self.report.refused(&refused.reason());
        }
        received
    }

    async fn take(
        &self,
        worker: usize,
        request: &Request<'_>,
        now: Timestamp,
    ) -> Result<Answer, Refused> {
        if *request.method != Method::POST {
            return Err(Refused::method(request.method));
        }
        if request.body.len() > self.body_bytes_max {
            let rule = format!("must not be longer than {} bytes", self.body_bytes_max);
            return Err(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "body", rule));
        }
        let verified = self.verifier.verify(request, now)?;
        check_coding(request)?;
        let (draft, delivery) = match self.mapper.map(request, &verified, now)? {
            Mapped::Answer(answer) => return Ok(answer),
            Mapped::Event { draft, delivery } => (draft, delivery),
        };
        let accepted = Answer::status(self.mapper.accepted());
        let claim = match &delivery {
            Some(delivery) => match self.replay.claim(delivery, now).await {
                Claim::Seen => {
                    self.report.repeated();
                    return Ok(accepted);
                }
                Claim::Mine(mine) => Some(mine),
            },
            None => None,
        };
        self.sink.put(worker, *draft).await?;
        self.report.made(now, Timestamp::now());
        if let Some(mine) = claim
            && let Err(error) = mine.accepted(now).await
        {
            warn!(source = %self.id, %error, "a delivery that was accepted could not be noted");
        }
        Ok(accepted)
    }
}

/// A body that is compressed would be data of a type that it is not.
fn check_coding(request: &Request<'_>) -> Result<(), Refused> {
    let mut codings = request.headers.get_all(header::CONTENT_ENCODING).iter();
    if codings.all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Ok(());
    }
    let rule = "must be identity: compressed bodies are not read";
    Err(Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-encoding", rule))
}
