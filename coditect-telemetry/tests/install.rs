//! Installing for the whole process, which a process can do once: this file holds that one test.

use coditect_telemetry::{ErrorKind, Telemetry};

#[test]
fn the_second_installation_is_refused_and_the_first_one_stays() {
    let first = Telemetry::builder()
        .with_filter("warn")
        .install()
        .expect("nothing is installed yet");
    assert!(tracing::enabled!(tracing::Level::WARN));
    assert!(!tracing::enabled!(tracing::Level::INFO));

    let error = Telemetry::builder()
        .with_filter("trace")
        .install()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyInstalled);
    assert_eq!(
        error.to_string(),
        "this process already has a tracing subscriber"
    );
    assert!(!tracing::enabled!(tracing::Level::INFO));
    drop(first);
}
