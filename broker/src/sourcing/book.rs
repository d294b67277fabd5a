//! What sources remember over restarts: opened with the first source, in the default channel.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use ::sources::{Backoff, Notes};
use channel::{Budget, Channel, Hub, Name};
use tokio::{select, task::JoinSet, time};
use tokio_util::sync::CancellationToken;

use crate::{
    channels::{OpenRequest, Opener},
    config::Settings,
    control::{Control, NotReady},
    spec::{ChannelChoice, ChannelKind},
};

/// The hub whose ledger it is. No user has one of that name: it is no name of a namespace.
const HUB: (&str, &str) = ("catchment-system", "sources");

/// Between attempts to open it.
const RETRY: Backoff = Backoff { first: Duration::from_millis(500), max: Duration::from_secs(30) };

/// The notes of all sources of the process.
#[derive(Debug)]
pub(super) struct Book {
    settings: Arc<Settings>,
    opener: Arc<dyn Opener>,
    control: Arc<Control>,
    page: Arc<Mutex<Page>>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

#[derive(Debug, Default)]
enum Page {
    #[default]
    Closed,
    /// Being opened; why that failed when it was tried last.
    Opening(Option<NotReady>),
    Open {
        notes: Notes,
        channel: Option<Arc<dyn Channel>>,
    },
}

impl Book {
    pub(super) fn new(
        settings: &Arc<Settings>,
        opener: Arc<dyn Opener>,
        control: Arc<Control>,
    ) -> Self {
        Self {
            settings: Arc::clone(settings),
            opener,
            control,
            page: Arc::default(),
            tasks: JoinSet::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Opens it, if it is not. When it is open the resources are looked at again.
    pub(super) fn open(&mut self) {
        let mut page = lock(&self.page);
        if !matches!(*page, Page::Closed) {
            return;
        }
        if self.settings.channel_default == ChannelKind::Memory {
            // Nothing in memory outlives the process.
            *page = Page::Open { notes: Notes::default(), channel: None };
            return;
        }
        *page = Page::Opening(None);
        let (namespace, name) = HUB;
        let request = OpenRequest {
            hub: Hub::broker(Name::new(namespace, name)),
            choice: ChannelChoice::Default.or(self.settings.channel_default),
            budget: Budget::new(self.settings.memory.bytes_max),
            dead_letters: self.settings.dead_letters,
        };
        let opening = Opening {
            opener: Arc::clone(&self.opener),
            request,
            control: Arc::clone(&self.control),
            page: Arc::clone(&self.page),
            stop: self.stop.clone(),
        };
        self.tasks.spawn(opening.run());
    }

    /// The notes, once they are open.
    ///
    /// # Errors
    ///
    /// Why they could not be opened yet.
    pub(super) fn notes(&self) -> Result<Option<Notes>, NotReady> {
        match &*lock(&self.page) {
            Page::Open { notes, .. } => Ok(Some(notes.clone())),
            Page::Closed | Page::Opening(None) => Ok(None),
            Page::Opening(Some(why)) => Err(why.clone()),
        }
    }

    /// Lets go of the channel, by `deadline`.
    pub(super) async fn end(mut self, deadline: Instant) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        let page = std::mem::take(&mut *lock(&self.page));
        if let Page::Open { channel: Some(channel), .. } = page {
            channel.close();
            if time::timeout_at(deadline.into(), channel.end(deadline)).await.is_err() {
                tracing::warn!("what sources remember was not let go in time");
            }
        }
    }
}

/// Opens the channel, as often as it takes, and follows what others write there.
struct Opening {
    opener: Arc<dyn Opener>,
    request: OpenRequest,
    control: Arc<Control>,
    page: Arc<Mutex<Page>>,
    stop: CancellationToken,
}

impl Opening {
    async fn run(self) {
        let mut failures = 0;
        loop {
            let opened = select! {
                biased;
                () = self.stop.cancelled() => return,
                opened = self.opener.open(self.request.clone()) => opened,
            };
            let why = match opened {
                Ok(channel) => match Notes::open(channel.ledger(), &self.stop).await {
                    Ok((notes, watch)) => {
                        let page = Page::Open { notes: notes.clone(), channel: Some(channel) };
                        *lock(&self.page) = page;
                        self.control.look_soon();
                        if let Some(watch) = watch {
                            notes.follow(watch, self.stop).await;
                        }
                        return;
                    }
                    Err(error) => {
                        channel.close();
                        channel.end(Instant::now() + Duration::from_secs(1)).await;
                        NotReady { reason: "NotesUnread", message: error.to_string() }
                    }
                },
                Err(failure) => NotReady { reason: failure.reason, message: failure.message },
            };
            failures += 1;
            if failures == 1 {
                tracing::warn!(why = why.message, "what sources remember cannot be opened yet");
            }
            *lock(&self.page) = Page::Opening(Some(why));
            self.control.look_soon();
            select! {
                biased;
                () = self.stop.cancelled() => return,
                () = time::sleep(RETRY.wait(failures, fastrand::f64())) => {}
            }
        }
    }
}

fn lock(page: &Mutex<Page>) -> std::sync::MutexGuard<'_, Page> {
    page.lock().unwrap_or_else(PoisonError::into_inner)
}
