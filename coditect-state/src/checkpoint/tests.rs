use super::*;
use crate::error::ErrorKind;
use crate::memory::MemoryStore;

type Cursor = Checkpoint<Vec<u64>>;

fn cursor(store: &Arc<MemoryStore>) -> Cursor {
    Checkpoint::new(store.clone(), &Subspace::new(&("checkpoints",)), "cursor")
}

#[tokio::test]
async fn versions_count_from_one_and_the_newest_is_loaded() -> Result<()> {
    let cursor = cursor(&Arc::new(MemoryStore::new()));
    assert_eq!(cursor.load().await?, None);
    let one = cursor.save(&vec![1], CheckpointVersion::NONE).await?;
    let two = cursor.save(&vec![1, 2], one).await?;
    assert_eq!((one.as_u64(), two.as_u64()), (1, 2));
    assert_eq!(
        cursor.load().await?,
        Some(Versioned {
            version: two,
            value: vec![1, 2]
        })
    );
    Ok(())
}

#[tokio::test]
async fn of_two_saves_on_one_version_the_second_conflicts() -> Result<()> {
    let cursor = cursor(&Arc::new(MemoryStore::new()));
    let one = cursor.save(&vec![1], CheckpointVersion::NONE).await?;
    cursor.save(&vec![2], one).await?;
    let error = cursor.save(&vec![3], one).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(error.to_string(), "checkpoint is at version 2, not 1");
    assert_eq!(cursor.load().await?.map(|saved| saved.value), Some(vec![2]));
    Ok(())
}

#[tokio::test]
async fn only_the_last_versions_are_kept() -> Result<()> {
    let store = Arc::new(MemoryStore::new());
    let cursor = cursor(&store).with_versions_kept(3);
    let other = Cursor::new(store, &Subspace::new(&("checkpoints",)), "other");
    other.save(&vec![0], CheckpointVersion::NONE).await?;
    let mut version = CheckpointVersion::NONE;
    for n in 1..=300 {
        version = cursor.save(&vec![n], version).await?;
    }
    let versions: Vec<_> = cursor
        .versions()
        .await?
        .into_iter()
        .map(CheckpointVersion::as_u64)
        .collect();
    assert_eq!(versions, [298, 299, 300]);
    assert_eq!(
        cursor.load_version(CheckpointVersion::new(298)).await?,
        Some(vec![298])
    );
    assert_eq!(
        cursor.load_version(CheckpointVersion::new(297)).await?,
        None
    );
    assert_eq!(other.load().await?.map(|saved| saved.value), Some(vec![0]));
    Ok(())
}

#[tokio::test]
async fn a_removed_checkpoint_begins_anew() -> Result<()> {
    let cursor = cursor(&Arc::new(MemoryStore::new()));
    cursor.save(&vec![1], CheckpointVersion::NONE).await?;
    cursor.remove().await?;
    assert_eq!(cursor.load().await?, None);
    assert_eq!(
        cursor
            .save(&vec![2], CheckpointVersion::NONE)
            .await?
            .as_u64(),
        1
    );
    Ok(())
}

#[tokio::test]
async fn a_value_of_another_type_is_corrupt_and_one_too_large_changes_nothing() -> Result<()> {
    let store = Arc::new(MemoryStore::new());
    let cursor = cursor(&store);
    let one = cursor.save(&vec![1], CheckpointVersion::NONE).await?;
    let text = Checkpoint::<String>::new(store, &Subspace::new(&("checkpoints",)), "cursor");
    assert_eq!(text.load().await.unwrap_err().kind(), ErrorKind::Corrupt);
    let large = cursor.save(&vec![1; 100_000], one).await.unwrap_err();
    assert_eq!(large.kind(), ErrorKind::TooLarge);
    assert_eq!(cursor.load().await?.map(|saved| saved.value), Some(vec![1]));
    Ok(())
}
