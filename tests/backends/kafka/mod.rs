//! The contract, kept by the channel over Kafka, and what only Kafka can do to it.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use channel::contract::{self, Backend, Wanted};
use channel::{Channel, Kafka, KafkaPlan, Name};

use support::{control, open, servers, settings, unique};

struct OverKafka {
    bootstrap: String,
}

impl OverKafka {
    async fn open(&self, name: &Name, wanted: Wanted) -> Arc<dyn Channel> {
        open(&self.bootstrap, name, wanted.workers).await
    }
}

thread_local! {
    /// Whose topic a channel is over.
    static NAMES: std::cell::RefCell<Vec<(usize, Name)>> = const { std::cell::RefCell::new(Vec::new()) };
}

fn address(channel: &Arc<dyn Channel>) -> usize {
    Arc::as_ptr(channel).cast::<()>().addr()
}

impl Backend for OverKafka {
    async fn fresh(&self, wanted: Wanted) -> Arc<dyn Channel> {
        let name = unique();
        let channel = self.open(&name, wanted).await;
        NAMES.with_borrow_mut(|names| names.push((address(&channel), name)));
        channel
    }

    async fn again(&self, before: Arc<dyn Channel>, wanted: Wanted) -> Arc<dyn Channel> {
        let name = NAMES.with_borrow(|names| {
            let mut names = names.iter().rev();
            names.find(|(one, _)| *one == address(&before)).expect("opened here").1.clone()
        });
        drop(before);
        self.open(&name, wanted).await
    }

    /// Kafka grows as long as there is disk, and stores no batch whole.
    fn is_bounded(&self) -> bool {
        false
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(3)
    }
}

#[tokio::test]
async fn kafka_keeps_the_contract() {
    let Some(kafka) = servers("the contract over Kafka").await else { return };
    contract::check(&OverKafka { bootstrap: kafka.bootstrap() }).await;
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_said_in_one_line() {
    let mut settings = settings("127.0.0.1:1");
    settings.open_timeout = Duration::from_secs(2);
    let start = Instant::now();
    let (name, budget) = (unique(), channel::Budget::new(1 << 20));
    let opened = Kafka::open(settings, KafkaPlan::default(), &name, 1, budget, control());
    let error = opened.await.expect_err("nobody listens").to_string();
    assert!(error.starts_with("kafka at 127.0.0.1:1 cannot be reached: "), "{error}");
    assert!(error.contains("refused") && !error.contains('\n'), "{error}");
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}
