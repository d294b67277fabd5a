//! What comes in by HTTP from other systems: verified, made into an event, stored, answered.
//!
//! # Rules
//!
//! - A signature is verified over the bytes that came, before anything reads them. Comparisons take
//!   the same time whatever differs.
//! - A delivery that was accepted before is answered as it was then, and makes no second event, for as
//!   long as its id is remembered; of two copies that come at once the second waits for the first.
//! - The bytes that came are the data of the event.
//! - The answer says that the event is stored, or why it is not.
//!
//! # Limits
//!
//! | what | default | at the limit |
//! | --- | --- | --- |
//! | body | [`BODY_BYTES_MAX`] | 413 |
//! | one attribute | [`ATTRIBUTE_BYTES_MAX`] | 400 |
//! | JSON inside JSON | [`JSON_DEPTH_MAX`] levels | 400 |
//! | remembered ids of a source | [`IDS_MAX`] | the oldest is forgotten |
//! | age of a signed time stamp | [`TOLERANCE`] | 401 |

mod answer;
mod body;
mod endpoint;
mod event;
mod preset;
mod replay;
mod request;
mod spec;
mod template;
#[cfg(test)]
mod tests;
pub mod verify;

pub use self::{
    answer::{Answer, Refused},
    body::JSON_DEPTH_MAX,
    endpoint::Endpoint,
    event::{Mapped, Mapper},
    preset::Preset,
    replay::{Claim, IDS_MAX, Replay},
    request::Request,
    spec::{
        BasicSpec, BearerSpec, EventSpec, HmacSpec, ReplaySpec, StandardWebhooksSpec, TokenSpec,
        VerificationSpec, WebhookPlan, WebhookSourceSpec,
    },
    template::Template,
};

pub use crate::spec::ATTRIBUTE_BYTES_MAX;

pub(crate) use self::{
    body::{Body, PAYLOAD, is_form, parse_json},
    event::push,
    request::form_value,
    spec::check_length,
    template::scalar,
};
use std::time::Duration;

/// The kind, as manifests name it.
pub const KIND: &str = "WebhookSource";

/// The type of events whose sender says none.
pub const EVENT_TYPE: &str = "dev.catchment.sources.webhook";

/// Longest body that is taken, unless the source says otherwise.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// How far the time in a signature may be from now.
pub const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// How long ids are remembered whose sender signs no time: as long as GitHub sends them again.
pub const REMEMBERED: Duration = Duration::from_secs(3 * 24 * 60 * 60);
