//! What can go wrong with a server of a test.

/// A failure of the harness itself, with everything that the reader of a test's output needs.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

/// What a caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The server's package is not installed: run `tests/setup.sh`.
    NotInstalled,
    /// The server was given by its address, and this can be done to private servers only.
    GivenServer,
    /// Anything else: the message says what.
    Failed,
}

impl Error {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(crate) fn not_installed(program: &str, package: &str) -> Self {
        Self {
            kind: ErrorKind::NotInstalled,
            message: format!(
                "{program} is not there: run tests/setup.sh, or `apt-get install --no-install-recommends {package}` \
                 (without starting the service), or leave these tests out with CODITECT_SKIP_SERVERS=1"
            ),
        }
    }

    pub(crate) fn given_server(variable: &str, what: &str) -> Self {
        Self {
            kind: ErrorKind::GivenServer,
            message: format!("{variable} names a server that is not ours: {what} is not possible"),
        }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Failed,
            message: message.into(),
        }
    }

    /// Makes an error of `what` out of anything that can be shown.
    pub(crate) fn because<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> Self {
        move |error| Self::failed(format!("{what}: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_server_is_an_error_that_says_how_to_get_it() {
        let error = Error::not_installed("some-server", "some-package");
        assert_eq!(error.kind(), ErrorKind::NotInstalled);
        let text = error.to_string();
        for wanted in [
            "some-server",
            "tests/setup.sh",
            "apt-get install",
            "CODITECT_SKIP_SERVERS",
        ] {
            assert!(text.contains(wanted), "{text}");
        }
    }
}
