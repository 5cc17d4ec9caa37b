//! R12: sizes at and over the limits.

use bytes::Bytes;

use super::{assert_kind, read};
use crate::error::{ErrorKind, Result};
use crate::store::StateStore;
use crate::version::Stamped;

/// Checks R12 at the limits.
pub async fn r12_sizes_up_to_the_limit_are_taken(store: &dyn StateStore) -> Result<()> {
    let limits = store.limits();
    let (key, value) = (
        vec![b'k'; limits.key],
        Bytes::from(vec![b'v'; limits.value]),
    );
    let mut tx = store.begin().await?;
    tx.set(&key, value.clone())?;
    tx.commit().await?;
    assert_eq!(store.begin().await?.get(&key).await?, Some(value));
    Ok(())
}

/// Checks R12 for keys and values.
pub async fn r12_larger_keys_and_values_are_refused(store: &dyn StateStore) -> Result<()> {
    let limits = store.limits();
    let (key, value) = (
        vec![b'k'; limits.key + 1],
        Bytes::from(vec![b'v'; limits.value + 1]),
    );
    let mut tx = store.begin().await?;
    assert_kind(
        tx.set(&key, Bytes::new()),
        ErrorKind::TooLarge,
        "a key over the limit",
    );
    let stamped = Stamped::new(vec![b'k'; limits.key - 11], 0, Bytes::new());
    assert_kind(
        tx.set_stamped_key(stamped, Bytes::new()),
        ErrorKind::TooLarge,
        "a stamped key over the limit",
    );
    let Err(error) = tx.set(b"a", value) else {
        panic!("a value over the limit was taken")
    };
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    for figure in [limits.value, limits.value + 1] {
        assert!(
            error.to_string().contains(&figure.to_string()),
            "{error} does not name {figure}"
        );
    }
    // The transaction itself goes on.
    tx.set(b"b", Bytes::from_static(b"1"))?;
    tx.commit().await?;
    assert_eq!(read(store, "a").await?, None);
    assert_eq!(read(store, "b").await?.as_deref(), Some("1"));
    Ok(())
}

/// Checks R12 for transactions.
pub async fn r12_larger_transactions_are_refused(store: &dyn StateStore) -> Result<()> {
    let limits = store.limits();
    let value = Bytes::from(vec![b'v'; limits.value]);
    let mut tx = store.begin().await?;
    let mut refused = None;
    for n in 0..=limits.transaction / limits.value {
        if let Err(error) = tx.set(format!("k{n:09}").as_bytes(), value.clone()) {
            refused = Some(error);
            break;
        }
    }
    let outcome = match refused {
        Some(error) => Err(error),
        None => tx.commit().await,
    };
    assert_kind(outcome, ErrorKind::TooLarge, "a transaction over the limit");
    assert_eq!(read(store, "k000000000").await?, None);
    Ok(())
}
