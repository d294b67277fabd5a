//! Where the events of one trigger wait: the side that the dispatcher sees.

use std::{fmt, sync::Arc};

use tokio::sync::oneshot;

use crate::{
    Depth, Envelope, Name, Overflow, Position, Publish, PublishError, Published, Reader, Waiting,
    Work,
    clock::to_micros,
    disk::waiting::{
        database::Change,
        keeper::{Answer, Command, Inbox},
        queue::Queue,
        row,
    },
};

/// The overflow of one trigger.
pub(in crate::disk) struct DiskOverflow {
    queue: Arc<Queue>,
    inbox: Arc<Inbox>,
}

impl DiskOverflow {
    pub(in crate::disk) fn open(
        trigger: &Name,
        is_ordered: bool,
        workers: usize,
        inbox: Arc<Inbox>,
    ) -> Self {
        let found = inbox.waiting(trigger);
        let trigger = trigger.to_string().into();
        let queue = Queue::new(trigger, is_ordered, workers, Arc::clone(&inbox));
        // Until the keeper has counted what was settled since.
        queue.begin(found);
        inbox.tell(Command::Open(Arc::clone(&queue)));
        Self { queue, inbox }
    }

    fn change(&self, change: Change, bytes: usize) -> Publish {
        match self.inbox.change(change, bytes, Some(Arc::clone(&self.queue))) {
            Ok(answered) => Publish::waiting(async { position(answer(answered).await) }),
            Err(error) => Publish::done(Err(error)),
        }
    }
}

fn position(answer: Answer) -> Published {
    answer.map(Position)
}

/// The keeper's answer, or that it ended without one.
pub(super) async fn answer(answered: oneshot::Receiver<Answer>) -> Answer {
    answered.await.unwrap_or_else(|_| {
        Err(PublishError::Unknown { reason: "the channel ended before it answered".into() })
    })
}

impl Overflow for DiskOverflow {
    fn put(&self, waiting: Vec<Waiting>) -> Publish {
        let row = |one: &Waiting| {
            (to_micros(one.envelope.due_at), row::Row::new(&one.event, &one.envelope))
        };
        let rows: Vec<_> = waiting.iter().map(row).collect();
        let bytes = rows.iter().map(|(_, row)| row.len()).sum();
        self.change(Change::Put { trigger: Arc::clone(&self.queue.trigger), rows }, bytes)
    }

    fn amend(&self, position: Position, envelope: Envelope) -> Publish {
        let trigger = Arc::clone(&self.queue.trigger);
        self.change(Change::Amend { trigger, sequence: position.0, envelope }, 0)
    }

    fn reader(&self, worker: usize) -> Box<dyn Reader> {
        self.queue.reader(worker)
    }

    fn depth(&self) -> Depth {
        self.queue.lock().depth
    }

    fn clear(&self) -> Work<Result<usize, PublishError>> {
        let change = Change::Clear { trigger: Arc::clone(&self.queue.trigger) };
        let asked = self.inbox.change(change, 0, Some(Arc::clone(&self.queue)));
        Box::pin(async {
            let cleared = answer(asked?).await?;
            Ok(usize::try_from(cleared).unwrap_or(usize::MAX))
        })
    }

    fn close(&self) {
        self.queue.close();
    }
}

impl Drop for DiskOverflow {
    fn drop(&mut self) {
        // Its leases may live on: they are settled all the same.
        self.queue.close();
    }
}

impl fmt::Debug for DiskOverflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskOverflow")
            .field("trigger", &self.queue.trigger)
            .field("depth", &self.depth())
            .finish_non_exhaustive()
    }
}
