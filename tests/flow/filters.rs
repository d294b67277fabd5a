//! Every dialect against the oracle's own evaluator; expressions against what they mean in the others.

use harness::{Filter, Mode, Sample, Scene, Seed, Subscriber, Trigger};

use crate::{SOON, greeting, with};

fn triggers() -> Vec<Trigger> {
    let f = Filter::exact;
    let filters = vec![
        vec![],
        vec![f("type", "made")],
        vec![f("type", "made"), f("source", "/shop")],
        vec![Filter::Exact(vec![
            ("type".into(), "made".into()),
            ("source".into(), "/shop".into()),
        ])],
        vec![Filter::prefix("type", "com.")],
        vec![Filter::suffix("type", ".made")],
        vec![Filter::prefix("subject", "a b")],
        vec![Filter::suffix("subject", "€")],
        vec![Filter::not(f("type", "made"))],
        vec![Filter::not(f("missing", "x"))],
        vec![f("missing", "x")],
        vec![Filter::Any(vec![f("type", "made"), f("source", "/shop")])],
        vec![Filter::All(vec![Filter::prefix("type", "com"), Filter::not(f("source", "/shop"))])],
        vec![f("count", "5")],
        vec![f("flag", "true")],
        vec![Filter::prefix("type", "m"), Filter::suffix("type", "e")],
        vec![Filter::Any(vec![
            Filter::All(vec![f("source", "/shop"), f("type", "sold")]),
            Filter::not(Filter::Any(vec![Filter::prefix("source", "/"), f("flag", "true")])),
        ])],
        vec![f("datacontenttype", "text/plain")],
        vec![f("specversion", "1.0")],
        vec![f("specversion", "0.3")],
        vec![f("time", "2018-04-05T17:31:00+02:00")],
    ];
    let filters = filters.into_iter().chain(expressions().into_iter().map(|one| vec![one]));
    let new = filters.enumerate().map(|(number, filters)| {
        filters.into_iter().fold(Trigger::named(&format!("f{number}")), Trigger::wants)
    });
    let old = [
        Trigger::named("o1").wants_attribute("type", "made"),
        Trigger::named("o2").wants_attribute("type", "made").wants_attribute("source", "/shop"),
        Trigger::named("o3").wants_attribute("subject", ""),
        Trigger::named("o4").wants_attribute("count", "5"),
        Trigger::named("o5").wants_attribute("type", "sold").wants(Filter::exact("type", "made")),
    ];
    new.chain(old).collect()
}

fn expressions() -> Vec<Filter> {
    let f = Filter::exact;
    let made = || f("type", "made");
    let timed = || f("time", "2018-04-05T17:31:00+02:00");
    vec![
        Filter::sql("type = 'made'", made()),
        Filter::sql("TYPE != \"made\"", Filter::not(made())),
        Filter::sql("NOT (type = 'made')", Filter::not(made())),
        Filter::sql(
            "type = 'made' and source like '/shop%'",
            Filter::All(vec![made(), Filter::prefix("source", "/shop")]),
        ),
        Filter::sql(
            "type IN ('made', 'sold') OR subject LIKE '%€'",
            Filter::Any(vec![made(), f("type", "sold"), Filter::suffix("subject", "€")]),
        ),
        Filter::sql("count > 4 AND count < 6", f("count", "5")),
        Filter::sql("'5' = count", f("count", "5")),
        Filter::sql("flag = TRUE", f("flag", "true")),
        Filter::sql("EXISTS time AND NOT EXISTS missing", timed()),
        Filter::sql("NOT EXISTS time", Filter::not(timed())),
        Filter::sql(
            "LENGTH(subject) = 3",
            Filter::Any(vec![f("subject", "a b"), f("subject", "%20")]),
        ),
        Filter::sql("RIGHT(type, 5) = '.made'", Filter::suffix("type", ".made")),
        Filter::sql("type = 'made' OR missing = 'x'", made()),
        Filter::not(Filter::sql("missing = 'x'", f("missing", "x"))),
    ]
}

fn sample(number: usize, rng: &mut fastrand::Rng) -> Sample {
    let types = ["made", "sold", "com.example.made", "com.made", "madex", "Made"];
    let sources = ["/shop", "/shop/1", "urn:x", "/"];
    let mut sample = Sample::new(
        rng.choice(sources).unwrap(),
        &format!("e{number}"),
        rng.choice(types).unwrap(),
    );
    if rng.bool() {
        sample = sample.with("subject", rng.choice(["a b", "a bc €", "ab", "%20", "€"]).unwrap());
    }
    if rng.bool() {
        sample = sample.with_integer("count", rng.i32(4..7));
    }
    if rng.bool() {
        sample = sample.with_boolean("flag", rng.bool());
    }
    if rng.bool() {
        sample = sample.data(rng.choice(["text/plain", "application/json"]).unwrap(), "12");
    }
    if rng.u8(..) < 60 {
        sample = sample.with("time", "2018-04-05T17:31:00+02:00");
    }
    if rng.u8(..) < 40 { sample.with("specversion", "0.3") } else { sample }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_goes_where_a_filter_lets_it_and_nowhere_else() {
    let subscriber = Subscriber::start().await;
    let mut scene = Scene::new();
    for trigger in triggers() {
        scene = scene.trigger(trigger, &subscriber);
    }
    let running = scene.start().await;
    let mut rng = Seed::of("filters").rng();
    for number in 0..harness::pick(150, 5000) {
        let sample = sample(number, &mut rng);
        // In 0.3 the JSON format and its data differ, so those travel in binary mode only.
        let is_old = sample.attribute("specversion") == Some("0.3");
        let mode = if is_old || rng.bool() { Mode::Binary } else { Mode::Structured };
        running.send_as(&sample, mode).await;
    }
    running.settled(SOON).await;
    running.evidence().await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_sees_the_decoded_value() {
    let (running, subscriber) =
        with(Trigger::named("f").wants(Filter::exact("subject", "Euro €"))).await;
    running.send(&greeting("1").with_wire("subject", b"Euro%20%e2%82%ac", "Euro €")).await;
    running.send(&greeting("2").with_wire("subject", "Euro €".as_bytes(), "Euro €")).await;
    running
        .send(&greeting("3").with_wire("subject", b"Euro%2520%25e2%2582%25ac", "Euro%20%e2%82%ac"))
        .await;
    running.settled(SOON).await;
    assert_eq!(subscriber.count(), 2);
    running.evidence().await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_that_is_wrong_is_refused_by_name_at_the_door() {
    let manifests = harness::Manifests::new();
    let cases = [
        ("filters: [{exact: {type: a}, prefix: {type: b}}]", "filters"),
        ("filters: [{exact: {Type: a}}]", "Type"),
        ("filters: [{exact: {type: \"\"}}]", "type"),
        ("filters: [{}]", "filters"),
        ("filters: [{all: []}]", "all"),
        ("filters: [{any: []}]", "any"),
        ("filters: [{wildcard: {type: a}}]", "wildcard"),
        ("filters: [{cesql: \"type == 'a'\"}]", "position 5"),
        ("filter: {attributes: {my.ext: a}}", "my.ext"),
        ("filterz: []", "filterz"),
    ];
    for (number, (lines, named)) in cases.iter().enumerate() {
        let text = format!(
            "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: t, namespace: default}}\nspec:\n  \
             broker: default\n  {lines}\n  subscriber: {{uri: \"http://127.0.0.1:9/\"}}\n"
        );
        let path = manifests.write(&format!("{number}.yaml"), text);
        let output = harness::program::command(&["check", &path.display().to_string()]).await;
        assert!(!output.is_success(), "{lines} passes");
        let said = output.stdout + &output.stderr;
        assert!(said.contains(named), "{lines}: {said}");
    }
}
