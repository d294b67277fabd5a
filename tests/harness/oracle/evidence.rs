//! Everything that is known at the end of a scenario, indexed for the verdicts.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::admin::{Admin, Counters, DeadLetter};
use crate::manifest::Trigger;
use crate::oracle::{Oracle, Outcome, Policy, Sent, wants};
use crate::sample::Key;
use crate::subscriber::Received;

/// One dead letter, as listed and whole.
#[derive(Clone, Debug)]
pub struct Letter {
    /// As the list shows it.
    pub listed: DeadLetter,
    /// As it is shown by itself.
    pub whole: Value,
}

impl Letter {
    /// Which event it holds.
    #[must_use]
    pub fn key(&self) -> Key {
        let text = |name| self.listed.event[name].as_str().unwrap_or_default().to_owned();
        Key { source: text("source"), id: text("id") }
    }
}

/// One watched trigger and what came of it.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The trigger as it was written.
    pub trigger: Trigger,
    /// The policy that holds.
    pub policy: Policy,
    /// Whether order per key was asked for.
    pub is_ordered: bool,
    /// The requests at its path, in the order of arrival.
    pub deliveries: Vec<Received>,
    /// The deliveries of each event, as positions in `deliveries`.
    pub by_key: HashMap<Key, Vec<usize>>,
    /// Its counters at the end; `None` when it is gone or the program is.
    pub counters: Option<Counters>,
}

impl Watched {
    /// The deliveries of one event, in order.
    pub fn of<'a>(&'a self, key: &Key) -> impl Iterator<Item = &'a Received> {
        self.by_key.get(key).into_iter().flatten().map(|at| &self.deliveries[*at])
    }
}

/// What is known at the end.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// What was sent.
    pub sent: Vec<Sent>,
    /// Positions in `sent`.
    pub by_key: HashMap<Key, usize>,
    /// What came to each trigger.
    pub watched: Vec<Watched>,
    /// The dead letters that are held.
    pub letters: Vec<Letter>,
    /// Events purged by the test: trigger and key.
    pub purged: Vec<(String, Key)>,
    /// How many repetitions after a success have a reason: outcomes that the broker could not know.
    pub excused: usize,
    /// Whether the program was started again in between.
    pub was_restarted: bool,
    /// How often each event may have been redriven.
    pub redrives: u32,
    /// Requests at subscribers that were not HTTP.
    pub malformed: Vec<String>,
}

impl Evidence {
    /// Reads everything there is; without an admin API, what the program knew is lost with it.
    pub async fn gather(oracle: &Oracle, admin: Option<&Admin>) -> Self {
        let sent = oracle.ledger.sent();
        let by_key = sent.iter().enumerate().map(|(at, one)| (one.sample.key(), at)).collect();
        let mut counters: BTreeMap<String, Counters> = BTreeMap::new();
        let mut letters = Vec::new();
        if let Some(admin) = admin {
            for one in admin.triggers().await {
                counters.insert(format!("{}/{}", one.namespace, one.name), one.counters);
            }
            for listed in admin.dead_letters().await {
                let whole = admin.dead_letter(&listed.id).await;
                letters.push(Letter { listed, whole });
            }
        }
        let mut malformed = Vec::new();
        let watched = oracle.watches.iter().map(|watch| {
            malformed.extend(watch.subscriber.malformed());
            let deliveries = watch.subscriber.received_at(&watch.trigger.path());
            let mut by_key: HashMap<Key, Vec<usize>> = HashMap::new();
            for (at, one) in deliveries.iter().enumerate() {
                if let Some(key) = one.key() {
                    by_key.entry(key).or_default().push(at);
                }
            }
            Watched {
                trigger: watch.trigger.clone(),
                policy: watch.policy,
                is_ordered: watch.is_ordered,
                deliveries,
                by_key,
                counters: counters.get(&watch.trigger.full_name()).copied(),
            }
        });
        let watched = watched.collect();
        Self {
            sent,
            by_key,
            watched,
            letters,
            purged: Vec::new(),
            excused: 0,
            was_restarted: false,
            redrives: 0,
            malformed,
        }
    }

    /// Excuses so many repetitions after a success.
    #[must_use]
    pub fn excuse(mut self, repetitions: usize) -> Self {
        self.excused = repetitions;
        self
    }

    /// Says that the program was started again in between: its counters tell only of its last life.
    #[must_use]
    pub fn restarted(mut self) -> Self {
        self.was_restarted = true;
        for watched in &mut self.watched {
            watched.counters = None;
        }
        self
    }

    /// Says how often each event may have been redriven.
    #[must_use]
    pub fn redriven(mut self, times: u32) -> Self {
        self.redrives = times;
        self
    }

    /// What was sent under a key.
    #[must_use]
    pub fn sent_as(&self, key: &Key) -> Option<&Sent> {
        self.by_key.get(key).map(|at| &self.sent[*at])
    }

    /// The accepted events that a trigger should get.
    pub fn owed<'a>(&'a self, trigger: &'a Trigger) -> impl Iterator<Item = &'a Sent> {
        self.sent.iter().filter(move |one| one.outcome == Outcome::Accepted && wants(trigger, one))
    }

    /// The dead letters of a trigger by event.
    #[must_use]
    pub fn letters_of(&self, trigger: &str) -> HashMap<Key, &Letter> {
        let mine = self.letters.iter().filter(|letter| letter.listed.trigger == trigger);
        mine.map(|letter| (letter.key(), letter)).collect()
    }
}
