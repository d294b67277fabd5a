//! What breaks, under steady load, each ending with the oracle's verdict (reliability 6.3).
//!
//! Every scenario has a quick form of seconds and, with `CATCHMENT_TEST_LONG=1`, a long one of minutes: the same
//! function with other numbers and random seeds.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and what did not run is said on stdout"
)]

/// Makes a test of a scenario on each channel that outlives the program.
macro_rules! on_each_channel {
    ($($scenario:ident: $disk:ident, $kafka:ident, $nats:ident;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $disk() {
            $scenario(harness::Backing::Disk).await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $kafka() {
            match harness::Backing::kafka().await {
                Ok(kafka) => $scenario(kafka).await,
                Err(why) => harness::say_not_run(stringify!($kafka), &why),
            }
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $nats() {
            match harness::Backing::nats().await {
                Ok(nats) => $scenario(nats).await,
                Err(why) => harness::say_not_run(stringify!($nats), &why),
            }
        }
    )*};
}

mod churn;
mod clock;
mod deleted;
mod failing_writes;
mod folder;
mod full;
mod full_disk;
mod garbage;
mod isolation;
mod killed;
mod killed_sources;
mod loops;
mod order;
mod other_clients;
mod outage;
mod outage_stored;
mod poison;
mod pressure;
mod pressure_stored;
mod replicas;
mod reuse;
mod server_outage;
mod servers;
mod silence;
mod sinks;
mod slow_producers;
mod sources;
mod stopping;

use std::time::Duration;

use harness::load::Load;
use harness::scene::numbered;

/// What should happen at once may take so long on a busy machine.
const SOON: Duration = harness::scene::SOON;

/// After an outage a breaker may wait for its next probe.
const HEALED: Duration = Duration::from_secs(90);

const MIB: u64 = 1024 * 1024;

/// So many small events of one type at a rate.
fn steady(scenario: &'static str, events: usize, per_second: u32) -> Load {
    Load::new(events, move |number| numbered(scenario, number, "t", 300)).per_second(per_second)
}
