//! The program: accepts events, follows resources, wires the other rooms together.
//!
//! This is the first page of the documentation (`cargo pages` opens it; so does `cargo doc --open`,
//! with every dependency's pages). It is the life of one event: eleven steps, a file each. Read the
//! files in this order, and you have read the program.
//!
//! # The life of one event
//!
//! | # | Step | Where | File | In → out |
//! | --- | --- | --- | --- | --- |
//! | 1 | accept | [`ingress::serve`] | `broker/src/ingress/server.rs` | connection → HTTP request, within limits |
//! | 2 | decode | [`channel::binding::http::decode`] | `channel/src/binding/http/mod.rs` | request → checked attributes, untouched bytes |
//! | 3 | admit | [`ingress::Ingress::answer`], [`ingress::Admission::admit`] | `broker/src/ingress/accept.rs` | hops, arrival time, memory; the one place that picks a status code |
//! | 4 | keep | [`channel::memory`], behind [`channel::Channel::publish`] | `channel/src/memory/log.rs` | [`channel::Event`] → stored, [`channel::Position`] |
//! | 5 | lend | [`channel::memory::lease`], behind [`channel::Reader::poll_lend`] | `channel/src/memory/lease.rs` | position → [`channel::Lease`] |
//! | 6 | route | [`dispatcher::route::RouteTable::matches`] | `dispatcher/src/route/mod.rs` | event → the triggers that want it, by look-up |
//! | 7 | queue | [`dispatcher::lane`] | `dispatcher/src/lane/mod.rs` | matched event → its turn: order, concurrency, breaker |
//! | 8 | deliver | [`dispatcher::delivery`] | `dispatcher/src/delivery.rs` | attempt → again, reply, dead letter or done |
//! | 9 | send | [`dispatcher::http::Client::send`] | `dispatcher/src/http/client.rs` | event → request on a kept connection → [`dispatcher::http::Answer`] |
//! | 10 | answer | [`dispatcher::reply`], [`dispatcher::dead_letter`] | `dispatcher/src/reply.rs` | reply event → back to 3; given up → [`dispatcher::DeadLetters`] |
//! | 11 | settle | [`channel::Lease::settle`] | `channel/src/channel.rs` | every trigger has brought the event to an end → never lent again |
//!
//! Between 5 and 6 stands [`dispatcher::Worker::read`], the loop that takes leases and offers
//! their events to lanes. The decisions of step 8 are pure functions of their own files:
//! `dispatcher/src/outcome.rs` (what an answer means), `retry.rs` (how long to wait),
//! [`dispatcher::breaker`] (whether to ask at all).
//!
//! A channel of its own takes the same way as a broker: to the program both are a [`channel::Hub`], and
//! a subscription is a trigger that wants every event, with its own place for replies
//! ([`dispatcher::Replies`]).
//!
//! # Who runs it
//!
//! A [`worker`] is a thread with its own runtime, listening socket, channel reader, lanes,
//! connections and counters; there is one per core. The worker that accepts an event carries it
//! through all eleven steps without taking a lock or waking another thread. Two exceptions: while a
//! broker has an ordered trigger, each key of its events belongs to one worker; and dead letters lie
//! behind a lock.
//!
//! Everything else runs on two control threads: [`manifest`] reads what the user wrote, [`cluster`]
//! follows a Kubernetes API in place of files and tells it how its objects are, [`controller`] turns it into running pieces and swaps them in whole, with the channels that
//! [`channels`] opens, [`control`] is what [`admin`] sees of it, [`serve`] starts and ends all of it in order.
//!
//! # What the user wrote and what runs
//!
//! ```text
//! YAML -> Spec (as written) -> Plan (checked, complete) -> running pieces
//!         BrokerSpec           DeliveryPlan                Admission, Fanout
//!         ChannelDefinition    the same                    the same
//!         TriggerSpec          TriggerPlan, Filter         Routes, lanes
//!         SubscriptionSpec     the same                    the same
//! ```
//!
//! Specs stand in [`spec`] and [`dispatcher::TriggerSpec`]; [`check`] says all that is wrong with
//! them, and [`explain`] what would become of an event, without running anything.
//!
//! # Reading order of the rest
//!
//! The crate pages of [`channel`], [`dispatcher`] and [`sources`] say what each promises, and
//! its limits. Of this crate: [`cli`], [`config`], [`serve`], [`controller`], [`worker`],
//! [`ingress`], [`sourcing`], [`admin`], then [`crds`].

pub mod addresses;
pub mod admin;
pub mod books;
pub mod channels;
pub mod check;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod control;
pub mod controller;
pub mod crds;
pub mod display;
pub mod explain;
pub mod ingress;
pub mod listen;
pub mod manifest;
pub mod memory;
pub mod serve;
pub mod sourcing;
pub mod spec;
pub mod telemetry;
pub mod worker;
