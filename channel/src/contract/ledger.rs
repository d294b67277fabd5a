//! What every ledger keeps.

use std::{collections::BTreeMap, future::poll_fn, time::Duration};

use bytes::Bytes;

use crate::{Change, Ledger, Watch};

/// What a ledger holds, as a new watcher is told.
pub(super) async fn loaded(ledger: &dyn Ledger) -> (BTreeMap<String, Bytes>, Box<dyn Watch>) {
    let mut watch = ledger.watch();
    let mut notes = BTreeMap::new();
    loop {
        let change = poll_fn(|cx| watch.poll_change(cx));
        let change = tokio::time::timeout(Duration::from_secs(20), change).await;
        match change.expect("a watch stands still").expect("a watch ended early") {
            Change::Put { key, value } => drop(notes.insert(key, value)),
            Change::Removed { key } => drop(notes.remove(&key)),
            Change::Loaded => return (notes, watch),
        }
    }
}

pub(super) async fn a_note_is_told_until_it_is_removed(ledger: &dyn Ledger) {
    assert!(loaded(ledger).await.0.is_empty(), "a fresh ledger has notes");
    for number in 0..20 {
        let value = Bytes::from(format!("value {number}"));
        ledger.put(&format!("dead/{number}"), value).await.expect("there is room");
    }
    ledger.put("dead/1", Bytes::from_static(b"changed")).await.expect("there is room");
    ledger.remove("dead/2").await.expect("it can be removed");
    ledger.remove("dead/never").await.expect("it is no error");
    let large = Bytes::from(vec![7; 60_000]);
    ledger.put("paused/ns/a-trigger", large.clone()).await.expect("there is room");
    let (notes, _watch) = loaded(ledger).await;
    assert_eq!(notes.len(), 20, "{:?}", notes.keys());
    assert_eq!(notes.get("dead/1").map(|value| &value[..]), Some(&b"changed"[..]));
    assert!(!notes.contains_key("dead/2"));
    assert_eq!(notes.get("paused/ns/a-trigger"), Some(&large));
}
