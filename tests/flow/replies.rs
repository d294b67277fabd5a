//! A subscriber that answers with an event, with text, or with a 202.

use harness::oracle::assert_all;
use harness::{Answer, Filter, Mode, Sample, Scene, Subscriber, Trigger};
use serde_json::json;

use crate::{SOON, greeting};

async fn pair(answer: Answer) -> (harness::Running, Subscriber, Subscriber) {
    let (asked, told) = (Subscriber::start().await, Subscriber::start().await);
    asked.always(answer);
    let running = Scene::new()
        .trigger(Trigger::named("asked").wants(Filter::exact("type", "greeting")), &asked)
        .trigger(Trigger::named("told").wants(Filter::exact("type", "answer")), &told)
        .start()
        .await;
    (running, asked, told)
}

fn answer_event() -> Sample {
    Sample::new("/asked", "answer-1", "answer").with("subject", "a b").json(&json!({"back": true}))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_200_with_an_event_enters_the_broker_again() {
    let reply = answer_event();
    let (running, _, told) = pair(Answer::event(&reply)).await;
    running.oracle.ledger.reply("default/default", &reply);
    running.send(&greeting("1")).await;
    let seen = told.first_event().await;
    assert_eq!(
        seen.differences(&reply, Mode::Binary, &["knativearrivaltime"]),
        Vec::<String>::new()
    );
    running.settled(SOON).await;
    let evidence = running.evidence().await;
    assert_all([evidence.replies_once()]);
    evidence.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_structured_reply_is_one_too() {
    let reply = answer_event();
    let (headers, body) = reply.structured();
    let content_type = String::from_utf8(headers.0[0].1.clone()).unwrap();
    let (running, _, told) =
        pair(Answer::status(200).header("content-type", &content_type).body(body)).await;
    running.send(&greeting("1")).await;
    let seen = told.first_event().await;
    assert_eq!(
        seen.differences(&reply, Mode::Structured, &["knativearrivaltime"]),
        Vec::<String>::new()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_202_with_an_event_is_no_reply() {
    let (running, asked, told) = pair(Answer::event(&answer_event()).code(202)).await;
    running.send(&greeting("1")).await;
    running.settled(SOON).await;
    assert_eq!((asked.count(), told.count()), (1, 0));
    running.evidence().await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_200_with_text_is_fine() {
    for (content_type, body) in
        [("text/plain", "OK"), ("application/json", "{}"), ("text/html", "<p>")]
    {
        let (running, asked, told) =
            pair(Answer::status(200).header("content-type", content_type).body(body)).await;
        running.send(&greeting("1")).await;
        running.settled(SOON).await;
        assert_eq!((asked.count(), told.count()), (1, 0), "{content_type}");
        running.evidence().await.assert();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_carries_the_hop_counter_of_its_event_less_one() {
    let echo = Subscriber::start().await;
    echo.script(|call| {
        let id = call.order + 1;
        Answer::event(&Sample::new("/echo", &format!("echo-{id}"), "again"))
    });
    let running = Scene::new().trigger(Trigger::named("echo"), &echo).start().await;
    let first = Sample::new("/test", "start", "again").with("knativebrokerttl", "6");
    let answer = running.producer().send(&first, Mode::Binary).await.unwrap();
    assert_eq!(answer.status, 202);
    let letters = running.admin().dead_letters_reach(1, SOON).await;
    assert_eq!(letters[0].reason, "loop");
    // 6 is stored as 5, and each reply costs one: five deliveries, the fifth answer is one too many.
    assert_eq!(echo.count(), 5, "{letters:?}");
}
