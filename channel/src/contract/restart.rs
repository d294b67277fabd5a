//! What every channel keeps from one process to the next.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;

use super::{
    Backend, ROOMY, event, eventually, finish, ledger::loaded, overflow::waiting, publish, ready,
    restart,
};
use crate::{Envelope, Name};

pub(super) async fn what_was_not_settled_is_lent_again(backend: &impl Backend) {
    let channel = backend.fresh(ROOMY).await;
    let mut reader = channel.reader(0);
    for number in 0..30 {
        publish(&*channel, 0, event(number)).await.expect("there is room");
    }
    let mut held = Vec::new();
    let mut settled = BTreeSet::new();
    while let Some(lease) = ready(&mut *reader).await {
        let number: usize = lease.event().id().parse().expect("a number");
        if number.is_multiple_of(3) {
            held.push(lease);
        } else {
            settled.insert(lease.event().id().to_owned());
            lease.settle();
        }
    }
    assert_eq!((held.len(), settled.len()), (10, 20));
    drop(reader);
    drop(held);
    let channel = restart(backend, channel).await;
    let mut seen = BTreeSet::new();
    for worker in 0..ROOMY.workers {
        let mut reader = channel.reader(worker);
        while let Some(lease) = ready(&mut *reader).await {
            seen.insert(lease.event().id().to_owned());
            lease.settle();
        }
    }
    for number in (0..30).step_by(3) {
        assert!(
            seen.contains(&number.to_string()),
            "{number} was stored, not settled, and is lost"
        );
    }
    publish(&*channel, 0, event(31)).await.expect("it can be used");
}

pub(super) async fn what_waits_is_found_again(backend: &impl Backend) {
    let name = Name::new("some-namespace", "a.trigger");
    for ordered in [false, true] {
        let channel = backend.fresh(ROOMY).await;
        let overflow = channel.overflow(&name, ordered);
        let mut some: Vec<_> = (0..20).map(|number| waiting(number, Duration::ZERO)).collect();
        for one in &mut some {
            let mut draft = one.event.edit();
            draft.set("partitionkey", "k");
            one.event = finish(draft);
        }
        overflow.put(some).await.expect("there is room");
        let mut held = Vec::new();
        for worker in 0..ROOMY.workers {
            let mut reader = overflow.reader(worker);
            while let Some(lease) = ready(&mut *reader).await {
                if lease.event().id() == "0" {
                    let mut envelope: Envelope = lease.envelope().expect("it waited").clone();
                    envelope.attempts = 9;
                    if ordered {
                        overflow.amend(lease.position(), envelope).await.expect("it is kept");
                    }
                    held.push(lease);
                } else if lease.event().id() == "1" {
                    lease.settle();
                } else {
                    held.push(lease);
                }
            }
        }
        assert_eq!(held.len(), 19);
        overflow.close();
        drop(held);
        drop(overflow);
        let channel = restart(backend, channel).await;
        let found = || channel.overflowing().contains(&name);
        eventually("the trigger is known to have waiting events", found).await;
        let overflow = channel.overflow(&name, ordered);
        let mut seen = BTreeSet::new();
        for worker in 0..ROOMY.workers {
            let mut reader = overflow.reader(worker);
            while let Some(lease) = ready(&mut *reader).await {
                let envelope = lease.envelope().expect("it waited");
                let is_amended = ordered && lease.event().id() == "0";
                assert_eq!(envelope.attempts, if is_amended { 9 } else { 3 });
                seen.insert(lease.event().id().to_owned());
                lease.settle();
            }
        }
        for number in (0..20).filter(|&number| number != 1) {
            assert!(seen.contains(&number.to_string()), "{number} waited and is lost");
        }
        eventually("nothing is left", || overflow.depth().events == 0).await;
    }
}

pub(super) async fn notes_are_found_again(backend: &impl Backend) {
    let channel = backend.fresh(ROOMY).await;
    let notes = channel.ledger().expect("a durable channel has a ledger");
    for (key, value) in [("dead/1", "a"), ("dead/2", "b"), ("dead/1", "c")] {
        notes.put(key, Bytes::from(value)).await.expect("there is room");
    }
    notes.remove("dead/2").await.expect("it can be removed");
    drop(notes);
    let channel = restart(backend, channel).await;
    let notes = channel.ledger().expect("a durable channel has a ledger");
    let found = loaded(&*notes).await.0;
    let found: Vec<_> = found.iter().map(|(key, value)| (key.as_str(), &value[..])).collect();
    assert_eq!(found, [("dead/1", &b"c"[..])]);
}
