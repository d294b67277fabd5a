//! T-F-15: the clock of the program is set an hour forward and back while events wait for retries.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::pace::say;
use harness::{Answer, Backing, Delivery, Scene, Setup, Subscriber, Trigger, say_not_run};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::{HEALED, SOON, steady};

const PLACES: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
];

const EVENTS: usize = 60;

/// A clock that this test sets.
struct Clock {
    folder: TempDir,
    library: PathBuf,
}

impl Clock {
    fn new() -> Result<Self, String> {
        let library = PLACES.iter().map(Path::new).find(|path| path.is_file());
        let library = library.ok_or("there is no libfaketime (Debian: faketime)")?.to_owned();
        let clock = Self { folder: TempDir::new().expect("a folder"), library };
        clock.set(0);
        Ok(clock)
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }

    /// Sets it so many seconds off, in one step.
    fn set(&self, seconds: i64) {
        let draft = self.folder.path().join("draft");
        fs::write(&draft, format!("{seconds:+}\n")).expect("writable");
        fs::rename(draft, self.file()).expect("writable");
    }

    /// The program reads it at every look, and only the time of day.
    fn lend(&self, setup: Setup) -> Setup {
        setup
            .env("LD_PRELOAD", &self.library.display().to_string())
            .env("FAKETIME_TIMESTAMP_FILE", &self.file().display().to_string())
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
    }
}

/// That a dead letter's time of failure follows the clock: the steps reach the program.
async fn is_felt(running: &harness::Running) -> bool {
    let letters = running.admin().dead_letters().await;
    let times = letters.iter().filter_map(|one| one.failed_at.parse::<jiff::Timestamp>().ok());
    let now = jiff::Timestamp::now();
    times.into_iter().any(|time| (time.as_second() - now.as_second()).abs() > 1_800)
}

async fn steps(on: Backing, restarts: bool) {
    let what = format!("clock steps on {on}, restarted: {restarts}");
    let clock = match Clock::new() {
        Ok(clock) => clock,
        Err(why) => return say_not_run(&what, &why),
    };
    let (failing, poison) = (Subscriber::start().await, Subscriber::start().await);
    poison.always(Answer::status(400));
    // Each fails twice: due after 2 s and 4 s more, of which some wait in memory and some in storage.
    failing.script(|call| Answer::status(if call.earlier < 2 { 500 } else { 200 }));
    let scene = Scene::new()
        .channel(&on)
        .setup(|setup| {
            // Another process knows the age of what waits by the clock alone.
            let age_max = if restarts { "PT24H" } else { "PT30M" };
            let age = json!({"overflow": {"after": "PT1S"}, "delivery": {"ageMax": age_max}});
            clock.lend(setup).config(age)
        })
        .trigger(Trigger::named("failing").delivery(Delivery::retry(4, "PT2S")), &failing)
        .trigger(Trigger::named("poison"), &poison);
    let mut running = scene.start().await;
    let begun = Instant::now();
    let flowing = running.load(steady("clock", EVENTS, 20));
    for offset in [3_600, -3_600, 0, 3_600] {
        sleep(Duration::from_millis(900)).await;
        clock.set(offset);
        if restarts && offset != 0 {
            running.program.kill().await;
            running.program.start_again().await;
        }
    }
    flowing.finish().await;
    poison.receives(running.oracle.ledger.accepted(), SOON).await;
    running.ended(HEALED).await;
    assert!(is_felt(&running).await, "the program does not see the clock of the test");
    let evidence = running.evidence().await;
    let of_failing = evidence.letters_of("default/failing");
    assert!(of_failing.is_empty(), "{:?}", of_failing.values().next());
    let took = begun.elapsed();
    say(&format!("{what}: {} events in {took:?}", running.oracle.ledger.accepted()));
    assert!(took < Duration::from_secs(80), "{took:?}: something was late");
    if restarts {
        let accepted = running.oracle.ledger.accepted();
        evidence.restarted().excuse(accepted).assert();
    } else {
        evidence.assert();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clock_steps_move_nothing_in_memory() {
    steps(Backing::Memory, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clock_steps_move_nothing_on_disk() {
    steps(Backing::Disk, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clock_steps_over_restarts_move_nothing_on_disk() {
    steps(Backing::Disk, true).await;
}
