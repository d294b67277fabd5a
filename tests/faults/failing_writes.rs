//! R-D-3: a disk that takes no more writes ends the program, and the next one finds all that was answered 202.

use harness::process::{Exit, Limit};
use harness::scene::numbered;
use harness::{Answer, Backing, Mode, Scene, Subscriber, Trigger};

use crate::{HEALED, SOON};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_fails_ends_the_program_with_4_and_loses_nothing() {
    let subscriber = Subscriber::start().await;
    subscriber.always(Answer::status(503));
    let mut running = Scene::new()
        .channel(&Backing::Disk)
        .setup(|setup| setup.limit(Limit::Writes))
        .trigger(Trigger::named("t"), &subscriber)
        .start()
        .await;
    for number in 0..20 {
        running.send(&numbered("stored", number, "t", 100)).await;
    }
    running.program.process.fail_writes();
    let late = numbered("late", 0, "t", 100);
    let answer = running.producer().send(&late, Mode::Binary).await.expect("an answer");
    assert_eq!(answer.status, 503, "{}", answer.text());
    let ended = running.program.exit(SOON).await;
    let stderr = running.program.process.stderr();
    assert_eq!(ended.exit, Exit::Code(4), "{stderr}");
    let told = stderr.lines().last().expect("it says why");
    assert!(told.starts_with("error: storage failed: broker default/default: "), "{told}");
    subscriber.always(Answer::status(200));
    running.program.start_again().await;
    running.settled(HEALED).await;
    running.evidence().await.restarted().excuse(20).assert();
}
