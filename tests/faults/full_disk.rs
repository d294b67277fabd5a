//! T-F-11, a full disk: a small file system of the test's own is filled by somebody else under load, and emptied again.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use harness::oracle::{Outcome, assert_all};
use harness::pace::say;
use harness::scene::numbered;
use harness::{Answer, Backing, Mode, Scene, Subscriber, Trigger, eventually, pick, say_not_run};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{HEALED, SOON, steady};

/// Room for a segment of the log, the headroom, and some more.
const SIZE: &str = "size=128m";

/// A file system in memory; unmounted when this is dropped.
struct Mounted {
    folder: TempDir,
}

impl Mounted {
    fn new() -> Result<Self, String> {
        let folder = TempDir::new().expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(folder.path());
        let output = mount.output().map_err(|error| format!("mount: {error}"))?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if output.status.success() { Ok(Self { folder }) } else { Err(said) }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Takes all the room that is left. Gives the file that has it.
    fn fill(&self) -> PathBuf {
        let path = self.path().join("others");
        let mut file = fs::File::create(&path).expect("it can be made");
        let piece = vec![7_u8; 1 << 16];
        while file.write_all(&piece).is_ok() {}
        path
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.folder.path()).output().ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_events_and_goes_on_when_there_is_room() {
    let what = "a_full_disk_refuses_events_and_goes_on_when_there_is_room";
    let disk = match Mounted::new() {
        Ok(disk) => disk,
        Err(why) => return say_not_run(what, &format!("no file system of its own: {why}")),
    };
    let (fine, down) = (Subscriber::start().await, Subscriber::start().await);
    down.always(Answer::status(503));
    let settings = json!({
        "channel": {"disk": {"freeBytesMin": 1 << 20, "freePercentMin": 1}},
        "overflow": {"after": "PT1S"},
    });
    let mut running = Scene::new()
        .channel(&Backing::Disk)
        .setup(|setup| setup.config(settings).data(disk.path().join("data")))
        .trigger(Trigger::named("fine"), &fine)
        .trigger(Trigger::named("down"), &down)
        .start()
        .await;
    let observer = running.observe();
    let flowing = running.load(steady("disk", 1_000_000, 200));
    fine.receives(100, SOON).await;
    let others = disk.fill();
    let refused = || running.oracle.ledger.count(|outcome| *outcome == Outcome::Refused(503));
    eventually(SOON, || async { if refused() > 20 { Ok(()) } else { Err(refused()) } }).await;
    let sample = numbered("full", 0, "t", 300);
    let answer = running.producer().send(&sample, Mode::Binary).await.expect("an answer");
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some(), "{}", answer.text());
    say(&format!("while the disk is full: {}", answer.text()));
    // What was accepted goes on: the neighbour has all of it although nothing is taken any more.
    let accepted = running.oracle.ledger.accepted() as u64;
    running
        .admin()
        .until_trigger("default/fine", SOON, |status| status.counters.delivered >= accepted)
        .await;
    sleep(Duration::from_secs(pick(2, 60))).await;
    assert_eq!(running.program.process.exit(), None, "{}", running.program.process.stderr());
    fs::remove_file(others).expect("it is there");
    let before = running.oracle.ledger.accepted();
    eventually(HEALED, || async {
        let more = running.oracle.ledger.accepted() - before;
        if more > 100 { Ok(()) } else { Err(format!("{more} accepted since there is room")) }
    })
    .await;
    flowing.stop().await;
    down.always(Answer::status(200));
    running.settled(HEALED).await;
    let strange = running
        .oracle
        .ledger
        .count(|outcome| !matches!(outcome, Outcome::Accepted | Outcome::Refused(503)));
    say(&format!(
        "{} accepted, {} refused, {strange} with another outcome",
        running.oracle.ledger.accepted(),
        running.oracle.ledger.refused()
    ));
    let mut verdicts = running.evidence().await.verdicts();
    verdicts.push(observer.conserved());
    assert_all(verdicts);
    // And what is on it is whole.
    running.program.kill().await;
    running.program.start_again().await;
    running.ended(HEALED).await;
}
