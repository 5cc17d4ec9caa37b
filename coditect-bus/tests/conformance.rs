//! The conformance suite, one named test per rule and backend: on the memory bus under paused time, and, with feature `rabbitmq`, on a
//! real broker with queues of both kinds.
#![allow(
    clippy::unwrap_used,
    reason = "this is test code: a failure is a panic"
)]

mod memory {
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
}

#[cfg(feature = "rabbitmq")]
mod rabbitmq {
    use std::sync::Arc;
    use std::time::Duration;

    use async_trait::async_trait;
    use coditect_bus::conformance::Backend;
    use coditect_bus::{MessageBus, QueueKind, RabbitMqBus};
    use coditect_harness::{RabbitMq, required};
    use tokio::sync::Mutex;

    /// A rule's bus, in a virtual host of its own.
    struct Broker {
        kind: QueueKind,
        place: Mutex<Option<Place>>,
        bus: Mutex<Option<RabbitMqBus>>,
    }

    struct Place {
        url: String,
        /// For the rule that restarts it.
        private: Option<RabbitMq>,
    }

    impl Broker {
        fn of(kind: QueueKind) -> Self {
            Self {
                kind,
                place: Mutex::default(),
                bus: Mutex::default(),
            }
        }

        async fn connect(&self) -> Arc<dyn MessageBus> {
            let url = self.place.lock().await.as_ref().unwrap().url.clone();
            let bus = RabbitMqBus::builder(url)
                .with_queue_kind(self.kind)
                .connect()
                .await
                .unwrap();
            let handle = bus.handle();
            *self.bus.lock().await = Some(bus);
            handle
        }
    }

    #[async_trait]
    impl Backend for Broker {
        async fn prepare(&self, rule: &str) -> bool {
            let place = if rule == "capability_persistent" {
                let Some(private) = required(RabbitMq::private(&[])).await else {
                    return false;
                };
                Place {
                    url: private.url(),
                    private: Some(private),
                }
            } else {
                let Some(shared) = required(RabbitMq::shared()).await else {
                    return false;
                };
                Place {
                    url: shared.vhost().await.unwrap().url(),
                    private: None,
                }
            };
            *self.place.lock().await = Some(place);
            true
        }

        async fn open(&self) -> Arc<dyn MessageBus> {
            if let Some(bus) = &*self.bus.lock().await {
                return bus.handle();
            }
            self.connect().await
        }

        async fn all_at_hand(&self) {
            let bus = self.bus.lock().await.clone().expect("the bus is open");
            bus.all_at_hand().await;
        }

        async fn sever(&self) {
            let bus = self.bus.lock().await.clone().expect("the bus is open");
            bus.sever().await;
        }

        async fn restart(&self) -> Arc<dyn MessageBus> {
            if let Some(bus) = self.bus.lock().await.take() {
                bus.close().await.unwrap();
            }
            {
                let place = self.place.lock().await;
                let private = place.as_ref().unwrap().private.as_ref();
                private.expect("prepared for it").restart().await.unwrap();
            }
            // The broker listens a moment before its queues have found their leaders.
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.connect().await
        }
    }

    mod quorum {
        coditect_bus::conformance!(super::Broker::of(coditect_bus::QueueKind::Quorum));
    }

    mod classic {
        coditect_bus::conformance!(super::Broker::of(coditect_bus::QueueKind::Classic));
    }
}
