//! The contract suite against each backend.

use std::sync::Arc;

use channel::{
    Budget, Channel, Memory, MemoryLimits,
    contract::{self, Wanted},
};

#[tokio::test]
async fn memory_keeps_the_contract() {
    contract::check(|wanted: Wanted| async move {
        let limits = MemoryLimits { events_max: wanted.events_max, ..MemoryLimits::default() };
        let channel: Arc<dyn Channel> = Memory::new(wanted.workers, limits, Budget::new(64 << 20));
        channel
    })
    .await;
}
