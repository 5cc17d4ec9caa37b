//! Files that were shortened or changed: reported, or of no consequence, never silently less.

use super::*;
use crate::conformance::random::Random;

/// Makes a file with some hundred keys, in several commits with replacements, and returns what is in it.
async fn filled(fixture: &Fixture) -> Vec<crate::Entry> {
    for round in 0..6 {
        let mut tx = fixture.store.begin().await.unwrap();
        for key in 0..60 {
            let value = vec![round * 7 + key; 40 + usize::from(key) * 3];
            tx.set(format!("{}/{key}", round / 2).as_bytes(), value.into())
                .unwrap();
        }
        tx.commit().await.unwrap();
    }
    all(&fixture.store).await.unwrap()
}

/// Opens a damaged file: an error that says so, or everything that was in it.
async fn opens_whole_or_not_at_all(path: &Path, expected: &[crate::Entry], place: &str) -> bool {
    let read = async {
        let store = EmbeddedStore::open(path).await?;
        let entries = all(&store).await?;
        store.close().await?;
        Ok::<_, Error>(entries)
    };
    match read.await {
        Ok(entries) => {
            assert!(entries == expected, "{place}: silently changed");
            true
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{place}: {error:?}");
            false
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_bits_are_found_or_do_not_matter() {
    let fixture = Fixture::new().await;
    let expected = filled(&fixture).await;
    // As it lies after a crash, and after it was closed in order.
    let crashed = std::fs::read(fixture.path()).unwrap();
    fixture.store.close().await.unwrap();
    let closed = std::fs::read(fixture.path()).unwrap();
    let mut random = Random::new(7);
    let path = fixture.directory.path().join("damaged");
    for (name, bytes) in [("crashed", &crashed), ("closed", &closed)] {
        let mut found = 0;
        for round in 0..80 {
            let at = random.below(bytes.len() as u64);
            let bit = random.below(8) as u8;
            // The flag that names the valid commit is one bit, and after a crash nothing else says which it is.
            if name == "crashed" && at == 9 && bit == 0 {
                continue;
            }
            std::fs::write(&path, bytes).unwrap();
            flip(&path, at, bit);
            let place = format!("{name} {round}: bit {bit} of byte {at}");
            found += u32::from(!opens_whole_or_not_at_all(&path, &expected, &place).await);
        }
        assert!(found > 10, "{name}: {found} of 80 flips were found");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flips_of_the_header_are_found_or_do_not_matter() {
    let fixture = Fixture::new().await;
    let expected = filled(&fixture).await;
    fixture.store.close().await.unwrap();
    let closed = std::fs::read(fixture.path()).unwrap();
    let path = fixture.directory.path().join("damaged");
    // The flags of the file, then a bit of every second byte.
    let flags = (0..8).map(|bit| (9, bit));
    for (at, bit) in flags.chain((0..320).step_by(2).map(|at| (at, (at / 2 % 8) as u8))) {
        std::fs::write(&path, &closed).unwrap();
        flip(&path, at, bit);
        let place = format!("bit {bit} of byte {at}");
        opens_whole_or_not_at_all(&path, &expected, &place).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truncated_files_are_reported() {
    let fixture = Fixture::new().await;
    let expected = filled(&fixture).await;
    let crashed = std::fs::read(fixture.path()).unwrap();
    fixture.store.close().await.unwrap();
    let closed = std::fs::read(fixture.path()).unwrap();
    let path = fixture.directory.path().join("damaged");
    let mut random = Random::new(9);
    for (name, bytes) in [("crashed", crashed), ("closed", closed)] {
        for _ in 0..25 {
            let length = 1 + random.below(bytes.len() as u64 - 1);
            std::fs::write(&path, &bytes[..length as usize]).unwrap();
            let place = format!("{name}: {length} of {} bytes", bytes.len());
            opens_whole_or_not_at_all(&path, &expected, &place).await;
        }
    }
}

#[tokio::test]
async fn what_is_no_store_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.txt");
    let text = "what a person wrote\n".repeat(1_000);
    std::fs::write(&path, &text).unwrap();
    let error = EmbeddedStore::open(&path)
        .await
        .expect_err("it is no store");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn an_empty_file_is_no_new_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    std::fs::write(&path, "").unwrap();
    let error = EmbeddedStore::open(&path).await.expect_err("it was more");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
}

#[tokio::test]
async fn a_newer_format_is_refused_with_both_numbers() {
    let fixture = Fixture::new().await;
    put(&fixture.store, "a", "1").await.unwrap();
    fixture.store.close().await.unwrap();
    let database = Database::open(fixture.path()).unwrap();
    file::write_format(&database, file::FORMAT + 1).unwrap();
    drop(database);
    let error = EmbeddedStore::open(fixture.path())
        .await
        .expect_err("it is newer");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    let cause = cause.unwrap_or_default();
    assert!(
        cause.contains("format 2") && cause.contains("up to 1"),
        "{cause}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_finds_what_was_damaged_since_the_file_was_opened() {
    let fixture = Fixture::new().await;
    filled(&fixture).await;
    fixture.store.check().await.unwrap();
    let bytes = std::fs::read(fixture.path()).unwrap();
    // The value of a key that is there now.
    let needle = [5 * 7 + 59; 200];
    let at = bytes.windows(200).rposition(|window| window == needle);
    flip(&fixture.path(), at.unwrap() as u64 + 100, 3);
    let error = fixture.store.check().await.expect_err("it is damaged");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    let error = fixture.store.begin().await.expect_err("it stays so");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
}
