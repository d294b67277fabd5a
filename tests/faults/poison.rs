//! T-F-8: every event is poison for one trigger, another fails for ever, the third is unharmed.

use harness::load::Load;
use harness::scene::numbered;
use harness::{Answer, Delivery, Filter, Scene, Subscriber, Trigger, pick};

use crate::SOON;

/// One event in so many goes to the trigger that fails for ever: few enough that its breaker stays closed, so that
/// every one comes to its end soon.
const RARE: usize = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_and_failure_end_in_dead_letters_and_the_third_is_unharmed() {
    let (poison, failing, well) =
        (Subscriber::start().await, Subscriber::start().await, Subscriber::start().await);
    poison.always(Answer::status(400).body("no"));
    failing.always(Answer::status(500).body("x".repeat(5000)));
    let running = Scene::new()
        .trigger(Trigger::named("poison"), &poison)
        .trigger(
            Trigger::named("failing")
                .wants(Filter::exact("type", "rare"))
                .delivery(Delivery::retry(2, "PT0.1S")),
            &failing,
        )
        .trigger(Trigger::named("well"), &well)
        .start()
        .await;
    let observer = running.observe();
    let events = pick(6 * RARE, 3000);
    let load = Load::new(events, |number| {
        numbered(
            "poison",
            number,
            if number % RARE == 0 && number < 6 * RARE { "rare" } else { "often" },
            500,
        )
    });
    running.load(load.per_second(200)).finish().await;
    running.settled(SOON).await;
    let evidence = running.evidence().await;
    let of = |name: &str| evidence.letters_of(name).len();
    assert_eq!((of("default/poison"), of("default/failing"), of("default/well")), (events, 6, 0));
    for letter in &evidence.letters {
        let expected =
            if letter.listed.trigger == "default/poison" { "refused" } else { "exhausted" };
        assert_eq!(letter.listed.reason, expected, "{:?}", letter.listed);
    }
    let mut verdicts = evidence.verdicts();
    verdicts.push(observer.conserved());
    harness::oracle::assert_all(verdicts);
}
