//! Quick or long, and where the dice come from.

use std::env;
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

/// Whether `CATCHMENT_TEST_LONG=1` asks for minutes and random seeds instead of seconds and fixed ones.
#[must_use]
pub fn is_long() -> bool {
    env::var("CATCHMENT_TEST_LONG").is_ok_and(|value| !value.is_empty() && value != "0")
}

/// The first when quick, the second when long.
pub fn pick<T>(quick: T, long: T) -> T {
    if is_long() { long } else { quick }
}

/// Says something even when the test passes: the test runner hides only what is printed by macros.
pub fn say(what: &str) {
    writeln!(std::io::stderr(), "\n{what}").ok();
}

/// Says that a test did not run, and why; `tests/run` repeats these lines at the end. With
/// `CATCHMENT_TEST_STRICT` set it is a failure.
pub fn say_not_run(what: &str, why: &str) {
    say(&format!("did not run: {what}: {why}"));
    assert!(env::var("CATCHMENT_TEST_STRICT").is_err(), "{what} did not run: {why}");
}

/// A source of chance whose seed is printed, so that a failed run can be repeated with `CATCHMENT_TEST_SEED`.
#[derive(Clone, Debug)]
pub struct Seed {
    number: u64,
}

impl Seed {
    /// The seed of one scenario: given by the environment, else random when long, else fixed by its name.
    #[must_use]
    pub fn of(scenario: &str) -> Self {
        let given = env::var("CATCHMENT_TEST_SEED").ok().and_then(|text| text.parse().ok());
        let number =
            given.unwrap_or_else(|| if is_long() { from_clock() } else { from_name(scenario) });
        println!("{scenario}: CATCHMENT_TEST_SEED={number}");
        Self { number }
    }

    /// A generator that starts at this seed.
    #[must_use]
    pub fn rng(&self) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.number)
    }
}

fn from_clock() -> u64 {
    let nanos =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.subsec_nanos());
    fastrand::Rng::with_seed(u64::from(nanos)).u64(..)
}

fn from_name(name: &str) -> u64 {
    // FNV-1a: any fixed spread of a name over numbers will do.
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
