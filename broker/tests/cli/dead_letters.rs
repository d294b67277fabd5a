//! `catchment dead-letters` against an admin API that a test plays.

use serde_json::{Value, json};

use crate::{
    fake::{Answer, Asked, Fake, problem},
    run,
};

const LIST: &str = "/api/v1/dead-letters";

fn letter(id: u64) -> Value {
    json!({
        "id": id.to_string(), "broker": "default/default", "trigger": "default/orders",
        "destination": "http://127.0.0.1:9/", "reason": "exhausted",
        "failedAt": "2026-01-31T12:00:00Z", "attempts": 3, "lastStatus": 503, "lastError": null,
        "event": {"id": format!("e{id}"), "source": "/s", "type": "t"}, "sink": null,
    })
}

/// Holds the dead letters 1 to 250.
fn admin() -> Fake {
    Fake::start(|asked| {
        let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
        match (asked.method.as_str(), path) {
            ("GET", LIST) => list(query),
            ("GET", "/api/v1/dead-letters/7") => show(),
            ("POST", "/api/v1/dead-letters/redrive") => act(asked, "redriven"),
            ("POST", "/api/v1/dead-letters/purge") => act(asked, "purged"),
            _ => problem(404, "no dead letter has this id"),
        }
    })
}

fn list(query: &str) -> Answer {
    let value = |name: &str| {
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
    };
    let (limit, after): (u64, u64) = (value("limit").unwrap(), value("after").unwrap_or(0));
    let last = (after + limit).min(250);
    let items: Vec<Value> = (after + 1..=last).map(letter).collect();
    let next = (last < 250).then(|| last.to_string());
    (200, "application/json", json!({"items": items, "total": 250, "next": next}).to_string())
}

fn show() -> Answer {
    let mut whole = letter(7);
    whole["event"] =
        json!({"specversion": "1.0", "id": "e7", "source": "/s", "type": "t", "data": {"a": 1}});
    whole["attemptLog"] = json!([{
        "at": "2026-01-31T12:00:00Z", "durationMs": 12, "status": 503, "error": null,
        "answer": "busy", "answerTruncated": false,
    }]);
    (200, "application/json", whole.to_string())
}

/// Knows 1 and 2, and 250 in all.
fn act(asked: &Asked, word: &str) -> Answer {
    let select: Value = serde_json::from_str(&asked.body).unwrap();
    let done = match select["ids"].as_array() {
        Some(ids) => ids.iter().filter(|id| **id == "1" || **id == "2").count(),
        None => 250,
    };
    (200, "application/json", json!({word: done}).to_string())
}

#[test]
fn a_list_is_a_table_and_goes_over_pages() {
    let admin = admin();
    let args = ["dead-letters", "list", "--admin", &admin.address, "--limit=120"];
    let listed = run(&[&args[..], &["--trigger=default/orders", "--reason=exhausted"]].concat());
    assert_eq!(listed.code, 0, "{}", listed.stderr);
    let lines: Vec<&str> = listed.stdout.lines().collect();
    assert_eq!(lines.len(), 1 + 120 + 1);
    assert!(lines[0].starts_with("ID   TRIGGER         REASON"), "{}", lines[0]);
    assert!(
        lines[120].starts_with("120  default/orders  exhausted  3         503"),
        "{}",
        lines[120]
    );
    assert_eq!(lines[121], "120 of 250; the next ones: --after 120");
    let targets: Vec<String> = admin.asked().into_iter().map(|asked| asked.target).collect();
    let filter = "trigger=default%2Forders&reason=exhausted";
    assert_eq!(
        targets,
        [format!("{LIST}?{filter}&limit=100"), format!("{LIST}?{filter}&limit=20&after=100")]
    );
}

#[test]
fn a_list_as_json_is_what_the_api_said() {
    let admin = admin();
    let args = ["dead-letters", "list", "--limit=1", "--after=9", "--output=json"];
    let listed = run(&[&args[..], &["--admin", &admin.address]].concat());
    assert_eq!(listed.json(), json!({"items": [letter(10)], "total": 250, "next": "10"}));
}

#[test]
fn one_dead_letter_is_shown_whole() {
    let admin = admin();
    let shown = run(&["dead-letters", "show", "7", "--admin", &admin.address]);
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    for part in ["Dead letter 7\n", "12 ms: 503\n     | busy\n", "  id: e7\n", "    \"a\": 1\n"] {
        assert!(shown.stdout.contains(part), "{part:?} in {}", shown.stdout);
    }
    let shown = run(&["dead-letters", "show", "7", "--output=json", "--admin", &admin.address]);
    assert_eq!(shown.json()["attemptLog"][0]["answer"], "busy");
}

#[test]
fn redrive_and_purge_say_how_many() {
    let admin = admin();
    let cases: [(&[&str], &str, Value); 4] = [
        (&["redrive", "1", "2"], "redriven 2 dead letters\n", json!({"ids": ["1", "2"]})),
        (&["redrive", "--all"], "redriven 250 dead letters\n", json!({"all": true})),
        (
            &["purge", "--broker=a/b", "--until=2026-01-31T12:00:00Z"],
            "purged 250 dead letters\n",
            json!({"broker": "a/b", "until": "2026-01-31T12:00:00Z"}),
        ),
        (&["purge", "1", "--yes"], "purged 1 dead letter\n", json!({"ids": ["1"]})),
    ];
    for (args, said, body) in cases {
        let done = run(&[&["dead-letters", "--admin", &admin.address], args].concat());
        assert_eq!((done.code, done.stdout.as_str()), (0, said), "{}", done.stderr);
        let asked = admin.asked().pop().unwrap();
        assert_eq!(serde_json::from_str::<Value>(&asked.body).unwrap(), body);
    }
}

#[test]
fn an_id_that_is_not_there_is_a_failure() {
    let admin = admin();
    let done = run(&["dead-letters", "redrive", "1", "999", "--admin", &admin.address]);
    assert_eq!((done.code, done.stdout.as_str()), (1, "redriven 1 dead letter\n"));
    assert_eq!(done.stderr, "error: 1 of 2 dead letters are not there to be redriven\n");
    let shown = run(&["dead-letters", "show", "999", "--admin", &admin.address]);
    assert_eq!(shown.code, 1);
    assert_eq!(shown.stderr, "error: the server refused: 404 no dead letter has this id\n");
}

#[test]
fn a_dead_letter_without_a_trigger_to_go_to_says_so() {
    let admin = Fake::start(|_| {
        (200, "application/json", json!({"redriven": 0, "withoutTrigger": 1}).to_string())
    });
    let why = "1 dead letter has no trigger to go to (such can be shown and purged)\n";
    let one = run(&["dead-letters", "redrive", "1", "--admin", &admin.address]);
    assert_eq!((one.code, one.stderr), (1, format!("error: {why}")));
    let two = run(&["dead-letters", "redrive", "1", "2", "--admin", &admin.address]);
    let absent = "error: 1 of 2 dead letters are not there to be redriven; ";
    assert_eq!((two.code, two.stderr), (1, format!("{absent}{why}")));
    let all = run(&["dead-letters", "redrive", "--all", "--admin", &admin.address]);
    assert_eq!((all.code, all.stdout), (0, format!("redriven 0 dead letters\n{why}")));
}

#[test]
fn a_server_that_is_not_there_or_is_another_is_one_clear_line() {
    let gone = run(&["dead-letters", "list", "--admin=127.0.0.1:1"]);
    assert_eq!(gone.code, 1);
    let start = "error: the server at 127.0.0.1:1 did not answer: cannot connect to 127.0.0.1:1: ";
    assert!(gone.stderr.starts_with(start), "{}", gone.stderr);
    let other = Fake::start(|_| (200, "text/html", "<html>".to_owned()));
    let strange = run(&["dead-letters", "list", "--admin", &other.address]);
    assert_eq!(strange.code, 1);
    let start = "error: the answer is not that of a catchment admin listener: ";
    assert!(strange.stderr.starts_with(start), "{}", strange.stderr);
    assert_eq!(strange.stderr.lines().count(), 1);
}
