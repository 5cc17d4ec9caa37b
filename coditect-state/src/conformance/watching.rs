//! R16: watches.

use bytes::Bytes;

use super::{patiently, put, read};
use crate::error::Result;
use crate::store::StateStore;
use crate::version::Stamped;

/// Checks R16 for one who waits already.
pub async fn r16_watch_fires_on_change(store: &dyn StateStore) -> Result<()> {
    put(store, &[("a", "1")]).await?;
    let mut watch = store.watch(b"a").await?;
    for value in ["2", "3", "3"] {
        let wait = patiently("a watch", watch.changed());
        let entries = [("a", value)];
        let (waited, written) = futures::join!(wait, put(store, &entries));
        waited?;
        written?;
        assert_eq!(read(store, "a").await?.as_deref(), Some(value));
    }
    Ok(())
}

/// Checks R16 for one who waits later: register, read, then wait.
pub async fn r16_change_between_watch_and_wait_is_not_lost(store: &dyn StateStore) -> Result<()> {
    let mut watches = [store.watch(b"new").await?, store.watch(b"new").await?];
    assert_eq!(read(store, "new").await?, None);
    put(store, &[("new", "1")]).await?;
    for watch in &mut watches {
        patiently("a watch on a key that was set before", watch.changed()).await?;
    }
    // A wait that was given up does not use the next change up.
    let mut watch = store.watch(b"new").await?;
    drop(watch.changed());
    put(store, &[("new", "2")]).await?;
    patiently("a watch whose first wait was dropped", watch.changed()).await
}

/// Checks R16 for one who reads as soon as it is told.
pub async fn r16_a_reported_change_can_be_read(store: &dyn StateStore) -> Result<()> {
    for round in 0..20 {
        let (key, expected) = (format!("round {round}"), "1");
        let mut watch = store.watch(key.as_bytes()).await?;
        let wait = async {
            while read(store, &key).await?.as_deref() != Some(expected) {
                watch.changed().await?;
            }
            Ok(())
        };
        let entries = [(&*key, expected)];
        let write = put(store, &entries);
        let (waited, written) = futures::join!(patiently("a change to read", wait), write);
        waited?;
        written?;
    }
    Ok(())
}

/// Checks R16 for the other ways to change a key.
pub async fn r16_watch_fires_on_cleared_range_and_stamped_value(
    store: &dyn StateStore,
) -> Result<()> {
    put(store, &[("a", "1")]).await?;
    let mut watch = store.watch(b"a").await?;
    let mut tx = store.begin().await?;
    tx.clear_range(b"", b"z")?;
    tx.commit().await?;
    patiently("a watch on a cleared range", watch.changed()).await?;
    let mut tx = store.begin().await?;
    tx.set_stamped_value(b"a", Stamped::new(Bytes::new(), 0, Bytes::new()))?;
    tx.commit().await?;
    patiently("a watch on a stamped value", watch.changed()).await?;
    let mut tx = store.begin().await?;
    tx.clear(b"a")?;
    tx.commit().await?;
    patiently("a watch on a cleared key", watch.changed()).await
}
