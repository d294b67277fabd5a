//! The contract, kept by the channel in memory.

use std::sync::Arc;

use channel::{
    Budget, Channel, Memory, MemoryLimits,
    contract::{self, Backend, Wanted},
};

struct InMemory;

impl Backend for InMemory {
    async fn fresh(&self, wanted: Wanted) -> Arc<dyn Channel> {
        let limits = MemoryLimits { events_max: wanted.events_max, ..MemoryLimits::default() };
        Memory::new(wanted.workers, limits, Budget::new(64 << 20))
    }
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    contract::check(&InMemory).await;
}
