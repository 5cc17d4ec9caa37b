//! The conformance suite on the memory bus, under paused time.

use std::sync::Arc;

use async_trait::async_trait;
use coditect_bus::conformance::Backend;
use coditect_bus::{MemoryBus, MessageBus};
use tokio::runtime::{Builder, Runtime};

struct Memory(MemoryBus);

#[async_trait]
impl Backend for Memory {
    fn runtime(&self) -> Runtime {
        Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime starts")
    }

    async fn open(&self) -> Arc<dyn MessageBus> {
        self.0.handle()
    }

    async fn sever(&self) {
        self.0.sever();
    }

    async fn restart(&self) -> Arc<dyn MessageBus> {
        MemoryBus::new().handle()
    }
}

coditect_bus::conformance!(Memory(MemoryBus::new()));
