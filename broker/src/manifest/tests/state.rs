//! A bad file counts as it was when it was last good.

use jiff::Timestamp;

use super::{
    super::files::{Scan, Seen, Version},
    *,
};

/// A scan that found exactly these files, by name and text.
pub(super) fn scan(files: &[(&str, &str)]) -> Scan {
    let seen = |(name, text): &(&str, &str)| {
        (PathBuf::from(name), Seen::New(Version::default(), content(name, text)))
    };
    Scan { files: files.iter().map(seen).collect(), ..Scan::default() }
}

/// A moment, in seconds.
pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn told(state: &State) -> Vec<(String, i64)> {
    let standing = state.snapshot().problems.iter();
    standing.map(|it| (it.problem.to_string(), it.since.as_second())).collect()
}

fn names_of(state: &State) -> Vec<String> {
    names(&state.snapshot().resources)
}

#[test]
fn a_bad_file_keeps_what_it_last_said_until_it_is_mended() {
    let (good, other) = (format!("{}---\n{}", broker("a"), broker("b")), broker("c"));
    let bad = format!("{}---\nkind: [\n", broker("a"));
    let mut state = State::default();
    assert!(state.apply(scan(&[("x.yaml", &good), ("y.yaml", &other)]), at(1)));
    let all = ["Broker default/a", "Broker default/b", "Broker default/c"];
    assert_eq!(names_of(&state), all);

    assert!(state.apply(scan(&[("x.yaml", &bad), ("y.yaml", &other)]), at(2)));
    assert_eq!(names_of(&state), all);
    assert_eq!(told(&state).len(), 1);

    assert!(!state.apply(scan(&[("x.yaml", &bad), ("y.yaml", &other)]), at(3)));
    assert_eq!(told(&state)[0].1, 2, "since when it is so does not move");

    assert!(state.apply(scan(&[("x.yaml", &broker("b")), ("y.yaml", &other)]), at(4)));
    assert_eq!(names_of(&state), ["Broker default/b", "Broker default/c"]);
    assert_eq!(told(&state), []);
}

#[test]
fn a_file_that_was_never_good_has_no_resources() {
    let bad = format!("{}---\nkind: [\n", broker("a"));
    let mut state = State::default();
    state.apply(scan(&[("x.yaml", &bad)]), at(1));
    assert_eq!(names_of(&state), Vec::<String>::new());
    assert!(state.snapshot().has_errors());
}

#[test]
fn a_file_is_gone_when_two_scans_miss_it() {
    let (a, b) = (broker("a"), broker("b"));
    let mut state = State::default();
    state.apply(scan(&[("a.yaml", &a), ("b.yaml", &b)]), at(1));

    assert!(!state.apply(scan(&[("b.yaml", &b)]), at(2)), "it may be being replaced");
    assert!(state.is_unsure());
    assert!(!state.apply(scan(&[("a.yaml", &a), ("b.yaml", &b)]), at(3)));
    assert!(!state.apply(scan(&[("b.yaml", &b)]), at(4)));

    assert!(state.apply(scan(&[("b.yaml", &b)]), at(5)));
    assert!(!state.is_unsure());
    assert_eq!(names_of(&state), ["Broker default/b"]);
}

#[test]
fn a_resource_that_moves_to_a_file_still_being_written_is_never_gone() {
    let (a, b) = (broker("a"), broker("b"));
    let moved = format!("{a}---\n{b}");
    let renamed = [("b.yaml", b.as_str()), ("z.yaml", a.as_str())];
    let joined = [("b.yaml", moved.as_str())];
    for (case, after) in
        [("renamed, then edited", &renamed[..]), ("moved into a known file", &joined[..])]
    {
        let mut state = State::default();
        state.apply(scan(&[("a.yaml", &a), ("b.yaml", &b)]), at(1));
        for second in 2..5 {
            let being_written = Scan { is_settling: true, ..scan(&[("b.yaml", &b)]) };
            assert!(!state.apply(being_written, at(second)), "{case}");
        }
        state.apply(scan(after), at(5));
        assert_eq!(names_of(&state), ["Broker default/a", "Broker default/b"], "{case}");
        assert_eq!(told(&state), [], "{case}");
    }
}

#[test]
fn a_renamed_file_is_not_told_as_its_own_duplicate() {
    let a = broker("a");
    let mut state = State::default();
    state.apply(scan(&[("a.yaml", &a)]), at(1));
    for second in 2..4 {
        state.apply(scan(&[("z.yaml", &a)]), at(second));
        assert_eq!(names_of(&state), ["Broker default/a"]);
        assert_eq!(told(&state), []);
    }
}

#[test]
fn a_folder_that_cannot_be_read_keeps_its_files() {
    let a = broker("a");
    let hidden = || Scan { hidden: vec![PathBuf::from("folder")], ..Scan::default() };
    let mut state = State::default();
    state.apply(scan(&[("folder/a.yaml", &a), ("folder2/b.yaml", &broker("b"))]), at(1));
    for second in 2..5 {
        state.apply(hidden(), at(second));
    }
    assert_eq!(names_of(&state), ["Broker default/a"]);
}

#[test]
fn a_problem_of_a_file_goes_with_it() {
    let mut state = State::default();
    state.apply(scan(&[("x.yaml", "kind: [\n")]), at(1));
    assert_eq!(told(&state).len(), 1);
    state.apply(Scan::default(), at(2));
    state.apply(Scan::default(), at(3));
    assert_eq!(told(&state), []);
}

#[test]
fn moving_a_resource_within_its_file_changes_nothing() {
    let mut state = State::default();
    state.apply(scan(&[("x.yaml", &broker("a"))]), at(1));
    assert!(!state.apply(scan(&[("x.yaml", &format!("# moved\n{}", broker("a")))]), at(2)));
    assert_eq!(
        state.snapshot().resources.brokers.first_key_value().unwrap().1.origin.position.line,
        5
    );
}

#[test]
fn of_a_resource_defined_twice_the_one_in_use_stays() {
    let (a, b) = (broker("x"), broker("x").replace("name: x", "name: x\n  labels: {a: b}"));
    let mut state = State::default();
    state.apply(scan(&[("b.yaml", &b)]), at(1));
    state.apply(scan(&[("a.yaml", &a), ("b.yaml", &b)]), at(2));
    assert_eq!(
        told(&state)[0].0,
        "a.yaml:4:9: metadata.name: Broker default/x is already defined at b.yaml:4:9"
    );
    let (_, broker) = state.snapshot().resources.brokers.first_key_value().unwrap();
    assert_eq!(broker.origin.file.to_str(), Some("b.yaml"));
}

#[test]
fn a_broker_whose_channel_is_taken_away_keeps_the_one_it_has() {
    let broker =
        format!("{}spec: {{config: {{apiVersion: v1, kind: ConfigMap, name: c}}}}\n", broker("b"));
    let config_map = |kind: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata:\n  \
             channel-template-spec: |\n    apiVersion: messaging.knative.dev/v1\n    kind: {kind}\n"
        )
    };
    let mut state = State::default();
    state.apply(scan(&[("b.yaml", &broker), ("c.yaml", &config_map("InMemoryChannel"))]), at(1));
    assert_eq!(told(&state), []);
    let choices = state.snapshot().resources.choices.clone();
    state.apply(scan(&[("b.yaml", &broker), ("c.yaml", &config_map("KafkaChanel"))]), at(2));
    assert_eq!(state.snapshot().resources.choices, choices);
    assert!(state.snapshot().has_errors());
}
