//! T-F-11 without a full disk: a data folder that is in use, of another version, damaged, or torn at its end.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::process::Exit;
use harness::program::{Output, command};
use harness::scene::numbered;
use harness::{Answer, Backing, Broker, Mode, Running, Scene, Subscriber, Trigger, eventually};

use crate::{HEALED, SOON};

/// Where each group of a segment begins, by its magic.
const GROUP: &[u8] = b"CtmtGrp1";

const SECTOR: usize = 512;

async fn serve(data: &Path) -> Output {
    let data = data.display().to_string();
    command(&["serve", "--data", &data, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]).await
}

/// The one line that says why, without the log.
fn only_line(output: &Output) -> &str {
    let mut lines = output.stderr.lines().filter(|line| !line.starts_with('{') && !line.is_empty());
    let line = lines.next().unwrap_or_else(|| panic!("it says nothing: {}", output.stderr));
    assert_eq!(lines.next(), None, "one line is enough: {}", output.stderr);
    line
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_a_data_folder_ends_with_code_5() {
    let subscriber = Subscriber::start().await;
    let running = Scene::new().trigger(Trigger::named("all"), &subscriber).start().await;
    let second = serve(&running.program.data()).await;
    assert_eq!(second.exit, Exit::Code(5), "{}", second.stderr);
    let line = only_line(&second);
    assert!(line.contains("another process uses the data folder"), "{line}");
    // The first one does not mind.
    running.send(&numbered("first", 0, "t", 100)).await;
    running.settled(SOON).await;
    running.evidence().await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_folder_of_another_version_is_left_alone() {
    let subscriber = Subscriber::start().await;
    let mut running = Scene::new().trigger(Trigger::named("all"), &subscriber).start().await;
    running.program.kill().await;
    let version = running.program.data().join("VERSION");
    let ours = fs::read_to_string(&version).expect("a version");
    fs::write(&version, "catchment data 9\n").expect("writable");
    let refused = serve(&running.program.data()).await;
    assert_eq!(refused.exit, Exit::Code(5), "{}", refused.stderr);
    let line = only_line(&refused);
    assert!(line.contains("catchment data 9") && line.contains(ours.trim()), "{line}");
    assert_eq!(fs::read_to_string(&version).expect("a version"), "catchment data 9\n");
}

/// Brokers `default` and `other`, each with a trigger whose subscriber is silent, killed with events in hand.
async fn killed_with_events() -> (Running, Subscriber, Subscriber) {
    let (first, second) = (Subscriber::start().await, Subscriber::start().await);
    first.always(Answer::Hang);
    second.always(Answer::Hang);
    let mut running = Scene::new()
        .broker(Broker::named("other"))
        .channel(&Backing::Disk)
        .trigger(Trigger::named("first"), &first)
        .trigger(Trigger::named("second").of("other"), &second)
        .start()
        .await;
    for number in 0..20 {
        running.send(&numbered("kept", number, "t", 300)).await;
        let other = numbered("others", number, "t", 300);
        let entry = running.oracle.ledger.open("default/other", &other, Mode::Binary);
        let answer = running.program.producer("default/other").send(&other, Mode::Binary).await;
        running.oracle.ledger.close(entry, &answer);
    }
    running.program.kill().await;
    first.always(Answer::status(200));
    second.always(Answer::status(200));
    (running, first, second)
}

/// The newest segment of broker `default/default`, and where its groups begin.
fn segment(running: &Running) -> (PathBuf, Vec<u8>, Vec<usize>) {
    let folder = running.program.data().join("brokers/default/default");
    let files = fs::read_dir(folder).expect("its folder").flatten().map(|entry| entry.path());
    let is_log = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log-"))
    };
    let newest = files.filter(is_log).max().expect("a segment");
    let bytes = fs::read(&newest).expect("readable");
    let starts = (0..bytes.len()).step_by(SECTOR);
    let groups: Vec<usize> = starts.filter(|&at| bytes[at..].starts_with(GROUP)).collect();
    assert!(groups.len() > 10, "{} groups", groups.len());
    (newest, bytes, groups)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_damaged_in_the_middle_stops_its_broker_only() {
    let (mut running, first, second) = killed_with_events().await;
    let (file, mut bytes, groups) = segment(&running);
    let middle = groups[groups.len() / 2];
    bytes[middle + 100] ^= 0x40;
    fs::write(&file, &bytes).expect("writable");
    running.program.start_again().await;
    second.receives(20, HEALED).await;
    let admin = running.admin();
    let broker = admin.broker("default/default").await;
    assert_eq!((&broker["ready"], &broker["reason"]), (&false.into(), &"ChannelDamaged".into()));
    let verbose = admin.get("/readyz?verbose").await.text();
    let line = verbose.lines().find(|line| line.contains("broker default/default"));
    let line = line.unwrap_or_else(|| panic!("{verbose}"));
    let name = file.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(line.starts_with("[-]") && line.contains("damaged") && line.contains(&name), "{line}");
    harness::pace::say(line);
    let mut producer = running.producer();
    let refused =
        producer.send(&numbered("no", 0, "t", 50), Mode::Binary).await.expect("an answer");
    assert_eq!(refused.status, 503, "{}", refused.text());
    // Nothing of it was sent or changed, and put right it goes on.
    assert_eq!(fs::read(&file).expect("readable"), bytes);
    running.program.kill().await;
    bytes[middle + 100] ^= 0x40;
    fs::write(&file, &bytes).expect("writable");
    running.program.start_again().await;
    running.ended(HEALED).await;
    assert!(first.count() >= 20);
    running.evidence().await.restarted().excuse(40).assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_tail_is_cut_and_nothing_acknowledged_is_lost() {
    let (mut running, ..) = killed_with_events().await;
    let (file, mut bytes, groups) = segment(&running);
    let last = *groups.last().expect("a group");
    let used = bytes.iter().rposition(|&byte| byte != 0).expect("a group") + 1;
    let end = used.next_multiple_of(SECTOR);
    // The first sector of a group that was never written to its end.
    let torn: Vec<u8> = bytes[last..last + SECTOR].to_vec();
    if bytes.len() < end + SECTOR {
        bytes.resize(end + SECTOR, 0);
    }
    bytes[end..end + SECTOR].copy_from_slice(&torn);
    fs::write(&file, &bytes).expect("writable");
    running.program.start_again().await;
    eventually(Duration::from_secs(5), || async {
        let broker = running.admin().broker("default/default").await;
        if broker["ready"] == true { Ok(()) } else { Err(broker) }
    })
    .await;
    running.send(&numbered("after", 0, "t", 300)).await;
    running.ended(HEALED).await;
    running.program.kill().await;
    running.program.start_again().await;
    running.ended(HEALED).await;
    running.evidence().await.restarted().excuse(50).assert();
}
