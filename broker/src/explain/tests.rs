//! What an answer holds when there is a lot to tell.

use channel::{Draft, Kind, SpecVersion};
use dispatcher::FilterSpec;

use super::*;

fn event(ty: &str) -> Event {
    let mut draft = Draft::new(SpecVersion::V10);
    for (name, text) in [("id", "1"), ("source", "/s"), ("type", ty)] {
        draft.push_text(name, text, Kind::String).unwrap();
    }
    draft.finish().unwrap()
}

/// Subjects whose filters are expressions.
fn explain(expressions: &[String], event: &Event) -> Explained {
    let broker = Name::new("default", "default");
    let names: Vec<Name> = (0..expressions.len())
        .map(|number| Name::new("default", format!("t{number:05}")))
        .collect();
    let subjects = names.iter().zip(expressions).map(|(name, expression)| {
        let spec = FilterSpec { cesql: Some(expression.clone()), ..FilterSpec::default() };
        let plan = Err(NotReady { reason: "BrokerNotReady", message: "it is opened".to_owned() });
        Subject {
            name,
            broker: &broker,
            filter: Filter::compile(None, &[spec]).unwrap(),
            plan,
            sink_from: None,
            paused: None,
        }
    });
    Explained::new(event, subjects.collect())
}

#[test]
fn of_very_many_triggers_those_that_want_the_event_are_in_the_answer() {
    let expressions: Vec<String> =
        (0..TRIGGERS_MAX + 500).map(|number| format!("type = '{number}'")).collect();
    let explained = explain(&expressions, &event("1499"));
    assert_eq!((explained.total, explained.matched, explained.omitted), (1500, 1, 500));
    assert_eq!(explained.triggers.len(), TRIGGERS_MAX);
    assert!(explained.triggers.last().unwrap().matches);
    let text = explained.to_string();
    assert!(
        text.starts_with("event 1 (type 1499, source /s) is wanted by 1 of 1500 triggers\n"),
        "{text}"
    );
    assert!(text.ends_with("500 more triggers are not shown: ask for one by its name\n"));
}

#[test]
fn trees_that_would_grow_the_answer_beyond_its_bound_are_left_out() {
    let long = vec!["type = 'x'"; 280].join(" OR ");
    let explained = explain(&vec![long; TRIGGERS_MAX], &event("x"));
    let told = explained.triggers.iter().filter(|trigger| trigger.tree.is_some()).count();
    assert!(0 < told && told < TRIGGERS_MAX, "{told}");
    assert_eq!(explained.matched, TRIGGERS_MAX);
    let json = serde_json::to_string(&explained).unwrap();
    assert!(json.len() < 2 * TREES_BYTES_MAX, "{}", json.len());
}

#[test]
fn why_a_trigger_is_not_ready_stands_below_what_it_wants() {
    let explained = explain(&["type = 'a'".to_owned()], &event("a"));
    let expected = "event 1 (type a, source /s) is wanted by 1 of 1 trigger\n
default/t00000 of broker default/default wants it
  [+] spec.filters[0].cesql: type = 'a' is true: type is \"a\"
  not ready, so every event passes it by: BrokerNotReady: it is opened
";
    assert_eq!(explained.to_string(), expected);
}
