//! Manifests that change, come, go and are wrong, while events flow.

use harness::load::Load;
use harness::scene::numbered;
use harness::{Filter, Mode, Scene, Subscriber, Trigger, eventually};

use crate::{SOON, greeting, plain, with};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_that_is_added_gets_events_and_one_that_is_removed_none() {
    let (running, first) = plain().await;
    let second = Subscriber::start().await;
    running.manifests.trigger(&Trigger::named("second").to(&second));
    let admin = running.admin();
    let is_there = || async {
        let answer = admin.get("/api/v1/triggers/default/second").await;
        if answer.status == 200 && answer.json()["ready"] == true {
            Ok(())
        } else {
            Err(answer.status)
        }
    };
    eventually(SOON, is_there).await;
    running.send(&greeting("1")).await;
    second.receives(1, SOON).await;

    running.manifests.remove("trigger-second.yaml");
    let is_gone = || async {
        let status = admin.get("/api/v1/triggers/default/second").await.status;
        if status == 404 { Ok(()) } else { Err(status) }
    };
    eventually(SOON, is_gone).await;
    running.send(&greeting("2")).await;
    first.receives(2, SOON).await;
    running.settled(SOON).await;
    assert_eq!(second.count(), 1);
    running.evidence().await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_under_load_loses_nothing_and_repeats_nothing() {
    let (running, _) = plain().await;
    let moved = Subscriber::start().await;
    let changing = Trigger::named("changing").to(&moved);
    let flowing = running
        .load(Load::new(100_000, |number| numbered("change", number, "t", 100)).per_second(400));
    for number in 0..harness::pick(10, 200) {
        let wants = Filter::exact("type", if number % 2 == 0 { "t" } else { "u" });
        running.manifests.trigger(&changing.clone().wants(wants.clone()));
        let admin = running.admin();
        let is_so = || async {
            let answer = admin.get("/api/v1/triggers/default/changing").await.json();
            if answer.to_string().contains(&wants.value().to_string()) {
                Ok(())
            } else {
                Err(answer)
            }
        };
        eventually(SOON, is_so).await;
    }
    flowing.stop().await;
    running.settled(SOON).await;
    assert!(running.oracle.ledger.accepted() > 50);
    running.evidence().await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_is_changed_gets_what_comes_after() {
    let (running, old) = with(Trigger::named("all")).await;
    running.send(&greeting("1")).await;
    old.receives(1, SOON).await;
    let new = Subscriber::start().await;
    running.manifests.trigger(&Trigger::named("all").to(&new));
    let admin = running.admin();
    let url = new.url("/all");
    let is_so = || async {
        let answer = admin.get("/api/v1/triggers/default/all").await.json();
        if answer["subscriber"] == url { Ok(()) } else { Err(answer) }
    };
    eventually(SOON, is_so).await;
    running.producer().send(&greeting("2"), Mode::Binary).await.unwrap();
    let received = new.receives(1, SOON).await;
    assert_eq!(received[0].key().unwrap().id, "2");
    assert_eq!(old.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_manifest_keeps_the_last_good_state_and_says_where_it_is_wrong() {
    let (running, subscriber) = plain().await;
    let admin = running.admin();
    let good = Trigger::named("all").to(&subscriber).yaml();
    let bad = good.replace("subscriber:", "subscribr:");
    running.manifests.write("trigger-all.yaml", &bad);
    let shows = || async {
        let problems = admin.problems().await;
        if problems.is_empty() { Err("no problem shown") } else { Ok(problems) }
    };
    let problems = eventually(SOON, shows).await;
    let said = serde_json::to_string(&problems).unwrap();
    assert!(said.contains("trigger-all.yaml") && said.contains("subscribr"), "{said}");
    let line = bad.lines().position(|line| line.contains("subscribr")).unwrap() + 1;
    assert!(problems.iter().any(|one| one["line"] == line), "line {line}: {said}");
    assert!(problems[0]["column"].is_u64() && problems[0]["message"].is_string(), "{said}");
    let verbose = admin.get("/readyz?verbose").await;
    assert!(verbose.text().contains("trigger-all.yaml"), "{}", verbose.text());
    assert!(running.program.process.stderr().contains("trigger-all.yaml"), "it is logged");
    running.send(&greeting("1")).await;
    subscriber.receives(1, SOON).await;

    running.manifests.write("trigger-all.yaml", &good);
    let is_over = || async {
        let problems = admin.problems().await;
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    };
    eventually(SOON, is_over).await;
    running.send(&greeting("2")).await;
    running.settled(SOON).await;
    running.evidence().await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_manifests_are_refused_and_the_rest_goes_on() {
    let (running, subscriber) = plain().await;
    let admin = running.admin();
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for depth in 1..10 {
        let before = format!("*a{}", depth - 1);
        bomb += &format!("a{depth}: &a{depth} [{}]\n", vec![before; 9].join(","));
    }
    let duplicate = Trigger::named("all").to(&subscriber).yaml();
    let huge = format!("# {}\n{duplicate}", "x".repeat(5 * 1024 * 1024));
    let latin = [b"# caf".as_slice(), &[0xe9], b"\n"].concat();
    let cases: [(&str, Vec<u8>); 5] = [
        ("bomb.yaml", bomb.into()),
        ("duplicate.yaml", duplicate.into()),
        ("huge.yaml", huge.into()),
        ("latin.yaml", latin),
        ("tabs.yaml", b"a:\n\t- b\n".to_vec()),
    ];
    for (file, content) in cases {
        running.manifests.write(file, content);
        let shows = || async {
            let problems = admin.problems().await;
            let said = serde_json::to_string(&problems).unwrap();
            if said.contains(file) { Ok(()) } else { Err(format!("{file} is not among {said}")) }
        };
        eventually(SOON, shows).await;
        running.manifests.remove(file);
    }
    running.send(&greeting("1")).await;
    subscriber.receives(1, SOON).await;
    running.settled(SOON).await;
    running.evidence().await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_keep_their_events_apart() {
    let (one, two) = (Subscriber::start().await, Subscriber::start().await);
    let running = Scene::new()
        .broker(harness::Broker::named("second"))
        .trigger(Trigger::named("one"), &one)
        .trigger(Trigger::named("two").of("second"), &two)
        .start()
        .await;
    running.send(&greeting("1")).await;
    let first = running.load(Load::new(100, |number| numbered("first", number, "t", 10)));
    let second = Load::new(100, |number| numbered("second", number, "t", 10)).of("default/second");
    let second = running.load(second);
    first.finish().await;
    second.finish().await;
    running.settled(SOON).await;
    assert_eq!((one.count(), two.count()), (101, 100));
    running.evidence().await.assert();
}
