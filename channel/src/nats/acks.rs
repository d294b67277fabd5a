//! The task that tells the server what became of messages, and that work on the others goes on.

use std::{sync::Arc, time::Duration};

use async_nats::{Request, Subject};
use bytes::Bytes;
use tokio::{
    select,
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tracing::{debug, error};

use crate::{
    Work,
    nats::{
        link::Link,
        source::{Act, Source},
    },
};

/// Most acknowledgements on their way at once.
const ACKS_MAX: usize = 256;
/// Longest wait for the receipt of an acknowledgement.
const ACK_TIMEOUT: Duration = Duration::from_secs(3);
/// Most tries to acknowledge a message while the server is there. Then it may have forgotten the
/// message with its consumer, and an event that comes twice is better than a place that is never free.
const TRIES_MAX: usize = 120;
/// Longest wait for the end of pulling before a message is given back.
pub(super) const PULLING_ENDS_WITHIN: Duration = Duration::from_secs(2);
/// Wait between two tries to acknowledge.
const AGAIN_AFTER: Duration = Duration::from_millis(250);

const ACK: Bytes = Bytes::from_static(b"+ACK");
const IN_PROGRESS: Bytes = Bytes::from_static(b"+WPI");
pub(super) const GIVE_BACK: Bytes = Bytes::from_static(b"-NAK");

/// What is to be done after a message is acknowledged.
pub(super) type After = Arc<dyn Fn(u64) -> Work<()> + Send + Sync>;

/// Acknowledges what is settled, gives back what is not wanted, and says every third of `ack_wait`
/// that the rest is still being worked on. Ends when the source is closed and nothing of it is out,
/// or when the link ends; then what was settled before is acknowledged first.
pub(super) async fn run(
    link: Arc<Link>,
    source: Arc<Source>,
    mut acts: mpsc::Receiver<Act>,
    ack_wait: Duration,
    after: Option<After>,
) {
    let mut going = JoinSet::new();
    let mut beat = interval((ack_wait / 3).max(Duration::from_millis(100)));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut is_closed, mut is_ending) = (false, false);
    loop {
        if is_closed && going.is_empty() && acts.is_empty() && source.desk().len() == 0 {
            break;
        }
        select! {
            biased;
            () = link.stop.cancelled() => break,
            () = link.ending.cancelled(), if !is_ending => {
                is_ending = true;
                // What was told before is still read.
                acts.close();
            }
            () = source.closed.cancelled(), if !is_closed => is_closed = true,
            _ = beat.tick() => in_progress(&link, &source).await,
            Some(done) = going.join_next() => report(done),
            act = acts.recv(), if going.len() < ACKS_MAX => match act {
                Some(Act::Settle(sequence)) => {
                    let (link, source) = (Arc::clone(&link), Arc::clone(&source));
                    going.spawn(settle(link, source, sequence, after.clone()));
                }
                Some(Act::GiveBack(sequence)) => {
                    source.pulling.close();
                    // Late is as good as after the wait: the server sends it again by itself.
                    drop(timeout(PULLING_ENDS_WITHIN, source.pulling.wait()).await);
                    let reply = source.desk().reply(sequence);
                    if let Some(reply) = reply {
                        tell(&link, reply, GIVE_BACK).await;
                    }
                    source.remove(sequence);
                }
                None => break,
            },
        }
    }
    loop {
        select! {
            biased;
            () = link.stop.cancelled() => break,
            done = going.join_next() => match done {
                Some(done) => report(done),
                None => break,
            },
        }
    }
}

fn report(done: Result<(), tokio::task::JoinError>) {
    if let Err(panic) = done {
        error!(error = %panic, "an acknowledgement panicked: its event will come again");
    }
}

/// Acknowledges until the server has said that it knows. Until then the message stays known here,
/// so that the event is not lent again if the server sends it again.
async fn settle(link: Arc<Link>, source: Arc<Source>, sequence: u64, after: Option<After>) {
    let mut tries = 0;
    while tries < TRIES_MAX {
        let Some(reply) = source.desk().reply(sequence) else { return };
        tries += usize::from(link.state.is_connected());
        let request = Request::new().payload(ACK).timeout(Some(ACK_TIMEOUT));
        let asked = link.client.send_request(reply, request);
        match timeout(ACK_TIMEOUT, asked).await {
            Ok(Ok(_told)) => break,
            Ok(Err(error)) => debug!(sequence, error = %error, "not acknowledged, once more"),
            Err(_late) => debug!(sequence, "not acknowledged in time, once more"),
        }
        select! {
            biased;
            () = link.stop.cancelled() => return,
            () = sleep(AGAIN_AFTER) => {}
        }
    }
    if let Some(after) = after {
        after(sequence).await;
    }
    source.remove(sequence);
}

async fn in_progress(link: &Link, source: &Source) {
    if !link.state.is_connected() {
        return;
    }
    let replies = source.desk().unsettled();
    for reply in replies {
        tell(link, reply, IN_PROGRESS).await;
    }
}

/// Tells without asking for a receipt: when it is lost, the message only comes again.
pub(super) async fn tell(link: &Link, reply: Subject, what: Bytes) {
    if let Ok(Err(error)) = timeout(ACK_TIMEOUT, link.client.publish(reply, what)).await {
        debug!(error = %error, "the server was not told of a message");
    }
}
