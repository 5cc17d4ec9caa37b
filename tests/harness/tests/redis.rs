//! A private Redis server does what tests of faults need.

use coditect_harness::{Redis, Relay, required};

#[tokio::test]
async fn data_survive_kill_and_restart_and_not_an_empty_one() {
    let Some(redis) = required(Redis::private(&[])).await else {
        return;
    };
    redis.cli(&["SET", "kept", "1"]).await.unwrap();
    redis.kill().await.unwrap();
    assert!(redis.cli(&["PING"]).await.is_err(), "the server is dead");
    redis.restart().await.unwrap();
    assert_eq!(redis.cli(&["GET", "kept"]).await.unwrap(), "1");
    redis.restart_empty().await.unwrap();
    assert_eq!(redis.cli(&["DBSIZE"]).await.unwrap(), "0");

    redis.cli(&["SET", "kept", "2"]).await.unwrap();
    redis.stop().await.unwrap();
    assert!(redis.cli(&["PING"]).await.is_err(), "the server is down");
    redis.restart().await.unwrap();
    assert_eq!(redis.cli(&["GET", "kept"]).await.unwrap(), "2");
}

#[tokio::test]
async fn a_paused_server_keeps_its_connections_and_answers_later() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let Some(redis) = required(Redis::private(&[])).await else {
        return;
    };
    let relay = Relay::start(redis.place()).await.unwrap();
    let mut client = tokio::net::TcpStream::connect(relay.addr()).await.unwrap();
    redis.pause().await.unwrap();
    client.write_all(b"PING\r\n").await.unwrap();
    let mut answer = [0; 7];
    let soon = std::time::Duration::from_millis(100);
    let waited = tokio::time::timeout(soon, client.read_exact(&mut answer)).await;
    assert!(waited.is_err(), "a paused server has answered");
    redis.resume().await.unwrap();
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"+PONG\r\n");

    redis.pause().await.unwrap();
    redis.kill().await.unwrap();
    redis.restart().await.unwrap();
    redis.pause().await.unwrap();
    redis.stop().await.unwrap();
}

#[tokio::test]
async fn passwords_and_users_are_asked_for_and_stand_in_the_address() {
    let options = Redis::options().with_password("se/cret");
    let Some(redis) = required(options.start()).await else {
        return;
    };
    assert!(
        redis
            .url()
            .starts_with("redis://default:se%2Fcret@127.0.0.1:")
    );
    assert_eq!(redis.cli(&["ECHO", "in"]).await.unwrap(), "in");

    let options = Redis::options().with_user("reader", "pass", "~* +@read +ping");
    let redis = options.start().await.unwrap();
    assert!(redis.url().starts_with("redis://reader:pass@"));
    let refused = redis.cli(&["SET", "a", "1"]).await.unwrap_err();
    assert!(refused.to_string().contains("NOPERM"), "{refused}");
}

#[tokio::test]
async fn a_cluster_of_one_has_all_slots_and_a_sentinel_knows_its_server() {
    let Some(redis) = required(Redis::options().with_cluster().start()).await else {
        return;
    };
    redis.cli(&["SET", "{a}b", "1"]).await.unwrap();
    redis.restart().await.unwrap();
    assert_eq!(redis.cli(&["GET", "{a}b"]).await.unwrap(), "1");

    let watched = Redis::private(&[]).await.unwrap();
    let sentinel = Redis::options().as_sentinel_of(&watched, "main");
    let sentinel = sentinel.start().await.unwrap();
    let asked = ["SENTINEL", "get-master-addr-by-name", "main"];
    let answer = sentinel.cli(&asked).await.unwrap();
    assert_eq!(answer.replace('\n', ":"), watched.place());
}

#[tokio::test]
async fn all_tests_share_one_server_with_names_of_their_own() {
    let Some(redis) = required(Redis::shared()).await else {
        return;
    };
    assert!(std::ptr::eq(redis, Redis::shared().await.unwrap()));
    assert_ne!(Redis::namespace(), Redis::namespace());
}

#[tokio::test]
async fn a_server_that_does_not_start_says_why() {
    let wrong = required(async { Ok(Redis::private(&["no-such-key 1"]).await) });
    let Some(Err(error)) = wrong.await else {
        return;
    };
    let text = error.to_string();
    assert!(text.contains("ended at its start"), "{text}");
    assert!(text.contains("no-such-key"), "{text}");
}
