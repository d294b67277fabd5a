//! The program seen from outside: it is started, fed, broken and judged here, and nothing of it is linked in.
//!
//! Reading order: [`scene`] puts a program, its manifests and its subscribers together; [`program`] runs the
//! binary; [`producer`] and [`load`] send; [`subscriber`] receives and answers by script; [`oracle`] knows
//! what was sent and what arrived, and says which of the invariants were broken.
//!
//! # Why
//!
//! The suites speak HTTP through [`http`], a small strict codec on a socket, and not through the HTTP library
//! of the program: a request that library would repair, or refuse to send, is what half of the tests are about.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and what did not run is said on stdout"
)]

pub mod admin;
pub mod answer;
pub mod backing;
pub mod http;
pub mod load;
pub mod manifest;
pub mod metrics;
pub mod oracle;
pub mod pace;
pub mod process;
pub mod producer;
pub mod program;
pub mod sample;
pub mod scene;
pub mod seen;
pub mod servers;
pub mod subscriber;
pub mod wait;

pub use answer::Answer;
pub use backing::Backing;
pub use manifest::{Broker, Delivery, Manifests, Trigger};
pub use oracle::{Evidence, Filter, Oracle};
pub use pace::{Seed, is_long, pick, say_not_run};
pub use producer::Producer;
pub use program::{Program, Setup};
pub use sample::{Mode, Sample};
pub use scene::{Running, Scene};
pub use subscriber::Subscriber;
pub use wait::{Background, eventually};
