use std::sync::Arc;

use futures::future::try_join_all;

use super::*;
use crate::error::ErrorKind;
use crate::memory::MemoryStore;

fn board(store: &MemoryStore, run: u32) -> Blackboard {
    Blackboard::new(Arc::new(store.clone()), Subspace::new(&("run", run)))
}

#[tokio::test]
async fn values_are_typed_and_scopes_apart() -> Result<()> {
    let store = MemoryStore::new();
    let (one, two) = (board(&store, 1), board(&store, 2));
    one.put("a", &vec![1, 2]).await?;
    two.put("a", "text").await?;
    assert_eq!(one.get::<Vec<u8>>("a").await?, Some(vec![1, 2]));
    assert_eq!(two.get::<String>("a").await?.as_deref(), Some("text"));
    assert_eq!(
        two.get::<u32>("a").await.unwrap_err().kind(),
        ErrorKind::Corrupt
    );
    one.remove("a").await?;
    assert_eq!(one.get::<Vec<u8>>("a").await?, None);
    one.append("l", &1).await?;
    one.clear().await?;
    assert!(one.list::<u32>("l").await?.is_empty());
    assert_eq!(two.get::<String>("a").await?.as_deref(), Some("text"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn updates_at_the_same_time_are_all_counted() -> Result<()> {
    let board = board(&MemoryStore::new(), 1);
    let agents = (0..8).map(|_| {
        let board = board.clone();
        tokio::spawn(async move {
            for _ in 0..50 {
                board
                    .update("n", |n: &mut Option<u64>| *n = Some(n.unwrap_or(0) + 1))
                    .await?;
            }
            Ok::<_, Error>(())
        })
    });
    for agent in try_join_all(agents).await.expect("no agent panics") {
        agent?;
    }
    assert_eq!(board.get("n").await?, Some(400u64));
    Ok(())
}

#[tokio::test]
async fn an_update_returns_its_answer_and_may_remove() -> Result<()> {
    let board = board(&MemoryStore::new(), 1);
    board.put("a", &5).await?;
    let taken = board.update("a", Option::<u32>::take).await?;
    assert_eq!((taken, board.get::<u32>("a").await?), (Some(5), None));
    Ok(())
}

#[tokio::test]
async fn names_are_listed_by_prefix() -> Result<()> {
    let board = board(&MemoryStore::new(), 1);
    for name in ["file/b", "file/a", "file", "filf", "zero\0in", "zero"] {
        board.put(name, &()).await?;
    }
    board.append("file/list", &1).await?;
    assert_eq!(board.keys("file").await?, ["file", "file/a", "file/b"]);
    assert_eq!(board.keys("file/").await?, ["file/a", "file/b"]);
    assert_eq!(board.keys("zero").await?, ["zero", "zero\0in"]);
    assert_eq!(board.keys("").await?.len(), 6);
    assert!(board.keys("none").await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn appends_at_the_same_time_are_all_there_in_one_order() -> Result<()> {
    let board = board(&MemoryStore::new(), 1);
    let agents = (0..20u32).map(|agent| {
        let board = board.clone();
        async move {
            for n in 0..100u32 {
                board.append("log", &(agent, n)).await?;
            }
            Ok::<_, Error>(())
        }
    });
    try_join_all(agents).await?;
    let log = board.list::<(u32, u32)>("log").await?;
    assert_eq!(log.len(), 2_000, "more than a page");
    for agent in 0..20 {
        let own = log
            .iter()
            .filter(|entry| entry.0 == agent)
            .map(|entry| entry.1);
        assert!(own.eq(0..100), "each agent's entries are in its order");
    }
    Ok(())
}

#[tokio::test]
async fn a_follower_gets_old_and_new_entries_once() -> Result<()> {
    let board = board(&MemoryStore::new(), 1);
    for n in 0..1_500 {
        board.append("log", &n).await?;
    }
    let mut follow = board.follow::<u32>("log").await?;
    for n in 0..1_500 {
        assert_eq!(follow.next().await?, n);
    }
    for n in 1_500..1_510 {
        // A wait that is given up loses nothing.
        tokio::select! {
            biased;
            _ = follow.next() => panic!("there is no entry yet"),
            () = tokio::task::yield_now() => {}
        }
        let (next, appended) = tokio::join!(follow.next(), board.append("log", &n));
        appended?;
        assert_eq!(next?, n);
    }
    Ok(())
}

#[tokio::test]
async fn a_watch_gives_the_value_after_the_change() -> Result<()> {
    let board = board(&MemoryStore::new(), 1);
    let mut watch = board.watch::<u32>("a").await?;
    board.put("a", &1).await?;
    board.put("a", &2).await?;
    assert_eq!(watch.changed().await?, Some(2));
    let (changed, removed) = tokio::join!(watch.changed(), board.remove("a"));
    removed?;
    assert_eq!(changed?, None);
    Ok(())
}

#[tokio::test]
async fn values_over_the_limit_are_refused_and_leave_the_old_one() -> Result<()> {
    let board = board(&MemoryStore::new(), 1).with_max_value(10);
    board.put("a", "short").await?;
    let too_large = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert_eq!(
            error.to_string(),
            "blackboard value of 22 bytes is over the limit of 10 bytes"
        );
    };
    let long = "x".repeat(20);
    too_large(board.put("a", &long).await.unwrap_err());
    too_large(board.append("l", &long).await.unwrap_err());
    too_large(
        board
            .update("a", |value| *value = Some(long.clone()))
            .await
            .unwrap_err(),
    );
    assert_eq!(board.get::<String>("a").await?.as_deref(), Some("short"));
    assert!(board.list::<String>("l").await?.is_empty());
    Ok(())
}
