//! Turns what happens outside into CloudEvents.
//!
//! No source is built yet: this room has its place and its one arrow, to [`channel`], so that the
//! others need not move when the first one comes.
//!
//! # Promises to be kept
//!
//! - A source is handed a [`channel::Sink`] and knows nothing of brokers, channels' backends or delivery.
//! - It makes an event of its own: id, source, type and time are there before the sink sees it.
//! - It goes on after what it has handed over only once the sink has stored it, so a restart repeats
//!   events rather than lose them.
//!
//! # Limits
//!
//! None yet. Each source will name the bound of its own queue, batch and wait here.
