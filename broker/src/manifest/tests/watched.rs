//! Real files that change.

use std::{fs, os::unix::fs::symlink, path::Path, time::Duration};

use tempfile::TempDir;
use tokio::time::timeout;

use super::{super::Manifests, *};

/// A generous deadline: what is waited for takes a second at most.
const DEADLINE: Duration = Duration::from_secs(30);

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).unwrap();
}

fn open(folder: &Path) -> Manifests {
    Manifests::open(&[folder.to_owned()]).unwrap()
}

/// Waits until exactly these brokers are defined.
async fn until(manifests: &mut Manifests, brokers: &[&str]) -> Snapshot {
    until_true(manifests, |snapshot| {
        snapshot.resources.brokers.keys().map(|name| name.name.as_str()).eq(brokers.iter().copied())
    })
    .await
}

async fn until_true(manifests: &mut Manifests, is_so: impl Fn(&Snapshot) -> bool) -> Snapshot {
    let wait = async {
        let mut snapshot = manifests.current();
        while !is_so(&snapshot) {
            snapshot = manifests.next_change().await;
        }
        snapshot
    };
    timeout(DEADLINE, wait).await.expect("the change is seen")
}

#[tokio::test]
async fn a_folder_is_followed() {
    let folder = TempDir::new().unwrap();
    let path = folder.path();
    write(path, "a.yaml", &broker("a"));
    write(path, ".hidden.yaml", &broker("hidden"));
    write(path, "a.yaml~", &broker("backup"));
    write(path, ".a.yaml.swp", "x");
    write(path, "README.md", "# x");
    let mut manifests = open(path);
    until(&mut manifests, &["a"]).await;

    write(path, "b.yml", &broker("b"));
    until(&mut manifests, &["a", "b"]).await;

    fs::create_dir_all(path.join("more/deep")).unwrap();
    write(
        &path.join("more/deep"),
        "c.json",
        r#"{"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "metadata": {"name": "c"}}"#,
    );
    until(&mut manifests, &["a", "b", "c"]).await;

    write(path, "a.yaml", &broker("d"));
    until(&mut manifests, &["b", "c", "d"]).await;

    fs::remove_file(path.join("b.yml")).unwrap();
    until(&mut manifests, &["c", "d"]).await;

    fs::remove_dir_all(path.join("more")).unwrap();
    until(&mut manifests, &["d"]).await;
}

#[tokio::test]
async fn a_bad_file_is_told_and_its_mending_too() {
    let folder = TempDir::new().unwrap();
    let path = folder.path();
    write(path, "a.yaml", &broker("a"));
    let mut manifests = open(path);

    write(path, "a.yaml", "kind: [\n");
    let bad = until_true(&mut manifests, Snapshot::has_errors).await;
    assert_eq!(names(&bad.resources), ["Broker default/a"]);

    write(path, "a.yaml", &broker("b"));
    let mended = until(&mut manifests, &["b"]).await;
    assert_eq!(mended.problems, []);
}

#[tokio::test]
async fn a_file_that_is_replaced_is_never_gone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path();
    write(path, "a.yaml", &broker("a"));
    let mut manifests = Manifests::open(&[path.join("a.yaml")]).unwrap();
    // As editors do: the old file makes way before the new one is there.
    fs::rename(path.join("a.yaml"), path.join("a.yaml~")).unwrap();
    write(path, "new", &broker("b"));
    fs::rename(path.join("new"), path.join("a.yaml")).unwrap();
    until_true(&mut manifests, |snapshot| {
        assert_eq!(snapshot.resources.len(), 1);
        snapshot.resources.brokers.keys().any(|name| name.name == "b")
    })
    .await;
}

#[tokio::test]
async fn the_links_of_a_config_map_mount_are_followed() {
    let folder = TempDir::new().unwrap();
    let path = folder.path();
    for version in ["1", "2"] {
        let data = path.join(format!("..{version}"));
        fs::create_dir(&data).unwrap();
        write(&data, "a.yaml", &broker(&format!("v{version}")));
    }
    symlink("..1", path.join("..data")).unwrap();
    symlink("..data/a.yaml", path.join("a.yaml")).unwrap();
    let mut manifests = open(path);
    until(&mut manifests, &["v1"]).await;

    symlink("..2", path.join("..data_tmp")).unwrap();
    fs::rename(path.join("..data_tmp"), path.join("..data")).unwrap();
    until(&mut manifests, &["v2"]).await;
}

#[tokio::test]
async fn a_path_that_is_gone_keeps_what_it_said_until_it_is_back() {
    let parent = TempDir::new().unwrap();
    let path = parent.path().join("manifests");
    fs::create_dir(&path).unwrap();
    write(&path, "a.yaml", &broker("a"));
    let mut manifests = open(&path);

    fs::remove_dir_all(&path).unwrap();
    let gone = until_true(&mut manifests, Snapshot::has_errors).await;
    assert_eq!(names(&gone.resources), ["Broker default/a"]);
    assert_eq!(gone.problems[0].problem.file.as_path(), path);

    fs::create_dir(&path).unwrap();
    write(&path, "b.yaml", &broker("b"));
    let back = until(&mut manifests, &["b"]).await;
    assert_eq!(back.problems, []);

    write(&path, "c.yaml", &broker("c"));
    until(&mut manifests, &["b", "c"]).await;
}

#[tokio::test]
async fn a_link_in_a_circle_ends() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), "a.yaml", &broker("a"));
    symlink(".", folder.path().join("again")).unwrap();
    symlink("nowhere.yaml", folder.path().join("broken.yaml")).unwrap();
    let snapshot = open(folder.path()).current();
    assert_eq!(names(&snapshot.resources), ["Broker default/a"]);
    assert_eq!(snapshot.problems, []);
}

#[tokio::test]
async fn a_path_that_is_not_there_is_one_clear_error() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("missing");
    let error = Manifests::open(std::slice::from_ref(&path)).unwrap_err();
    let expected =
        format!("cannot read {}: No such file or directory (os error 2)", path.display());
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn a_call_given_up_loses_no_change() {
    let folder = TempDir::new().unwrap();
    let mut manifests = open(folder.path());
    write(folder.path(), "a.yaml", &broker("a"));
    for _ in 0..20 {
        // Given up at its first wait.
        let _given_up =
            futures_util::future::select(Box::pin(manifests.next_change()), std::future::ready(()))
                .await;
    }
    until(&mut manifests, &["a"]).await;
}

#[tokio::test]
async fn without_notifications_a_change_is_seen_all_the_same() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), "a.yaml", &broker("a"));
    let mut manifests = open(folder.path()).without_notifications();
    write(folder.path(), "a.yaml", &broker("b"));
    until(&mut manifests, &["b"]).await;
}
