//! Where the events of triggers wait: a topic for each trigger, made when it is first put to.
//!
//! Kafka cannot order by due time. So a topic has a partition for each class of delays, a lane, in which
//! the order of arrival is nearly that of due times; what is read ahead of a lane is lent by due time.
//! An ordered overflow puts everything into the first lane, and lends in the order of what lies there.
//!
//! A topic is read from the first put on until nothing has waited for ten minutes. What is settled is
//! taken off its head every minute, so that one where nothing waits holds nothing; when it has held
//! nothing for long it is removed, and made again by the next put.

mod lane;
pub(super) mod naming;
mod overflows;
mod reading;
mod shelf;
mod waiting_room;

pub(super) use overflows::{Overflows, Shared};
