//! What is asked for, what is left out, and what counts of the answers.

use std::sync::Arc;

use kube::Config;

use super::*;
use crate::{addresses::Addresses, cluster::referred::Referred, manifest::Snapshot};

/// What follows Secrets of a server that is not there; answers are made up.
struct Scene {
    secrets: Secrets,
    objects: Objects,
    troubles: Troubles,
    shared: Shared,
}

impl Scene {
    fn new() -> Self {
        let client = Client::try_from(Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
        Self {
            secrets: Secrets::new(client),
            objects: Objects::default(),
            troubles: Troubles::default(),
            shared: Shared::default(),
        }
    }

    fn follow(&mut self, names: impl IntoIterator<Item = String>) -> bool {
        let keys = BTreeSet::from(["key".to_owned()]);
        let wanted = names.into_iter().map(|name| (Name::new("default", name), keys.clone()));
        let wanted = wanted.collect();
        self.secrets.follow(wanted, &mut self.objects, &self.troubles, &self.shared)
    }

    fn take(&mut self, name: &str, found: Found) -> bool {
        let answer = Answer { name: Name::new("default", name), found };
        self.secrets.take(answer, &mut self.objects, &self.troubles)
    }

    fn snapshot(&mut self) -> Snapshot {
        let addresses: Arc<dyn Addresses> = Arc::new(Referred::default());
        self.objects.link(&addresses)
    }

    fn value(&mut self, name: &str) -> Option<Vec<u8>> {
        let resources = self.snapshot().resources;
        let secret = resources.secrets.get(&Name::new("default", name))?;
        Some(secret.spec.data.get("key")?.expose().to_vec())
    }

    fn problems(&mut self) -> Vec<String> {
        let problems = self.snapshot().problems;
        problems.iter().map(|standing| standing.problem.message.clone()).collect()
    }
}

fn secret(value: &str) -> Found {
    let value = sources::Secret::new(value);
    Ok(Some(Secret { data: BTreeMap::from([("key".to_owned(), value)]) }))
}

#[tokio::test]
async fn a_secret_counts_until_it_is_gone_and_is_news_only_when_it_is_another() {
    let mut scene = Scene::new();
    let names = || ["a".to_owned()];
    scene.follow(names());
    assert!(!scene.secrets.is_known());
    assert!(scene.take("a", Err("cannot get secrets default/a: no".to_owned())));
    assert!(scene.secrets.is_known(), "what fails is waited for no longer");
    assert_eq!(scene.problems(), ["cannot get secrets default/a: no"]);
    assert!(scene.troubles.all().contains_key("Secret default/a"));
    assert!(scene.take("a", secret("one")));
    assert_eq!((scene.value("a"), scene.problems().len()), (Some(b"one".to_vec()), 0));
    assert!(!scene.take("a", secret("one")), "it is the same");
    assert!(!scene.take("a", Err("away".to_owned())));
    assert_eq!(scene.value("a"), Some(b"one".to_vec()), "what is known goes on");
    assert!(scene.troubles.all().contains_key("Secret default/a"));
    assert!(scene.take("a", secret("two")));
    assert_eq!(scene.value("a"), Some(b"two".to_vec()));
    assert!(scene.troubles.all().is_empty());
    assert!(scene.take("a", Ok(None)));
    assert_eq!(scene.value("a"), None);
    assert!(!scene.take("a", Ok(None)));
    scene.take("a", secret("two"));
    assert!(scene.follow([]));
    assert_eq!(scene.value("a"), None, "nobody names it");
    assert!(!scene.take("a", secret("late")));
}

#[tokio::test]
async fn a_further_key_is_looked_for_at_once_and_what_is_known_goes_on_meanwhile() {
    let mut scene = Scene::new();
    scene.follow(["a".to_owned()]);
    scene.take("a", secret("one"));
    let before = scene.secrets.followed[&Name::new("default", "a")].look.id();
    let keys = ["key", "other"].map(str::to_owned).into();
    let wanted = Wanted::from([(Name::new("default", "a"), keys)]);
    scene.secrets.follow(wanted, &mut scene.objects, &scene.troubles, &scene.shared);
    assert!(scene.secrets.is_awaited(&Name::new("default", "a")));
    assert_ne!(scene.secrets.followed[&Name::new("default", "a")].look.id(), before);
    assert_eq!(scene.value("a"), Some(b"one".to_vec()));
}

#[tokio::test]
async fn what_is_left_out_says_why_and_gets_a_place_that_becomes_free() {
    let mut scene = Scene::new();
    let all = |from: usize| (from..=SECRETS_MAX).map(|n| format!("s{n:04}"));
    scene.follow(all(1));
    assert_eq!(scene.problems(), [""; 0]);
    // One more, whose name comes first: those that are followed stay.
    assert!(scene.follow(all(0)));
    let [told] = &scene.problems()[..] else { panic!("{:?}", scene.problems()) };
    assert_eq!(told, "Secret default/s0000 is not read: sources name more than 256 Secrets");
    assert!(!scene.follow(all(0)), "it is told once");
    scene.follow(all(0).filter(|name| name != "s0007"));
    assert!(scene.secrets.is_awaited(&Name::new("default", "s0000")));
    scene.take("s0000", secret("one"));
    assert_eq!((scene.value("s0000"), scene.problems().len()), (Some(b"one".to_vec()), 0));
}

#[tokio::test]
async fn a_name_that_would_lead_elsewhere_is_not_asked_for() {
    let mut scene = Scene::new();
    scene.follow(["../../other/secrets/b".to_owned(), "b?c".to_owned()]);
    assert!(scene.secrets.followed.is_empty());
    let problems = scene.problems();
    assert!(problems.iter().all(|it| it.ends_with("cannot be the name of a Secret")));
    assert_eq!(problems.len(), 2);
    assert!(scene.follow([]));
    assert_eq!(scene.problems(), [""; 0]);
}

#[test]
fn a_secret_is_read_less_often_the_longer_it_cannot_be_and_chance_only_shortens_the_wait() {
    let waits: Vec<u64> = (0..8).map(|failures| wait_after(failures, 0.0).as_secs()).collect();
    assert_eq!(waits, [30, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!(wait_after(0, 0.5), READ_EVERY.mul_f64(0.9));
    assert_eq!(wait_after(u32::MAX, 0.0), RETRY_MAX);
}
