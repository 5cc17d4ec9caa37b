//! The contracts of the ports through their guards.

mod bus {
    use std::sync::Arc;

    use async_trait::async_trait;
    use coditect_core::bus::conformance::Backend;
    use coditect_core::bus::{MemoryBus, MessageBus};
    use coditect_core::guard::{GuardPolicy, GuardedBus};
    use tokio::runtime::{Builder, Runtime};

    struct Memory(MemoryBus);

    #[async_trait]
    impl Backend for Memory {
        fn runtime(&self) -> Runtime {
            let mut builder = Builder::new_current_thread();
            builder.enable_all().start_paused(true).build().unwrap()
        }

        async fn open(&self) -> Arc<dyn MessageBus> {
            let guarded = GuardedBus::new(self.0.handle(), GuardPolicy::bus());
            guarded.handle()
        }

        async fn sever(&self) {
            self.0.sever();
        }

        async fn restart(&self) -> Arc<dyn MessageBus> {
            MemoryBus::new().handle()
        }
    }

    coditect_core::bus::conformance!(Memory(MemoryBus::new()));
}

mod registry {
    use std::sync::Arc;

    use coditect_core::guard::{GuardPolicy, GuardedRegistry};
    use coditect_core::registry::MemoryRegistry;
    use coditect_core::registry::conformance::Subject;

    async fn subject() -> Subject {
        let registry = Arc::new(MemoryRegistry::new());
        Subject {
            registry: Arc::new(GuardedRegistry::new(registry, GuardPolicy::registry())),
            watch_buffer: 1024,
        }
    }

    coditect_core::registry::registry_conformance!(paused: self::subject);
}

mod state {
    use std::sync::Arc;

    use coditect_core::guard::{GuardPolicy, GuardedStore};
    use coditect_core::state::MemoryStore;

    coditect_core::state::conformance_tests!(async {
        let store = Arc::new(MemoryStore::new());
        Arc::new(GuardedStore::new(store, GuardPolicy::state()))
    });
}
