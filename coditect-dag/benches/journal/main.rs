//! What a journal costs: in memory against a bare `Vec`, in a file against a bare `redb` loop.
//!
//! `cargo bench -p coditect-dag --features persistent --bench journal` prints both; `-- memory` or `-- file` one of them.

mod memory;
#[cfg(feature = "persistent")]
mod store;

fn main() {
    let wanted = |name: &str| {
        let mut names = std::env::args()
            .skip(1)
            .filter(|it| !it.starts_with('-'))
            .peekable();
        names.peek().is_none() || names.any(|it| it == name)
    };
    if wanted("memory") {
        memory::run();
    }
    #[cfg(feature = "persistent")]
    if wanted("file") {
        store::run();
    }
}
