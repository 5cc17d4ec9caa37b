//! What can go wrong with a file, and what the caller should do about it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error as ThisError;

use crate::error::{Error, ErrorKind};

/// Is what the storage engine, or the file below it, has to say.
///
/// It can be cloned, since one failure answers all transactions of a group.
#[derive(Debug, Clone, ThisError)]
pub(super) enum Fault {
    #[error("the store's file {0} is open in another process")]
    InUse(PathBuf),
    #[error("the store's file cannot be read or written")]
    Io(#[source] Arc<io::Error>),
    #[error("the store's file is damaged: {0}")]
    Damaged(Arc<str>),
    #[error("the store's file has format {found}, this release knows formats up to {known}")]
    Newer { found: u32, known: u32 },
    #[error("the store's file has failed before and is not open")]
    Failed,
    #[error("the store is closed")]
    Closed,
    #[error("the storage engine failed: {0}")]
    Engine(Arc<str>),
}

impl Fault {
    pub(super) fn kind(&self) -> ErrorKind {
        match self {
            Self::InUse(_) | Self::Failed | Self::Closed | Self::Engine(_) => {
                ErrorKind::Unavailable
            }
            Self::Damaged(_) | Self::Newer { .. } => ErrorKind::Corrupt,
            Self::Io(error) => match error.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => ErrorKind::Corrupt,
                io::ErrorKind::NotFound
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::IsADirectory
                | io::ErrorKind::PermissionDenied
                | io::ErrorKind::ReadOnlyFilesystem
                | io::ErrorKind::InvalidInput => ErrorKind::Invalid,
                _ => ErrorKind::Unavailable,
            },
        }
    }

    /// Says in what the caller was disturbed.
    pub(super) fn during(self, what: &'static str) -> Error {
        let full = matches!(&self, Self::Io(error) if is_full(error));
        let what = if full {
            format!("{what}: there is no space left for the store's file")
        } else {
            what.to_owned()
        };
        Error::new(self.kind(), what).with_source(self)
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

impl From<redb::Error> for Fault {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => error.into(),
            redb::Error::Corrupted(text) => Self::Damaged(text.into()),
            redb::Error::PreviousIo | redb::Error::DatabaseClosed => Self::Failed,
            redb::Error::UpgradeRequired(_)
            | redb::Error::RepairAborted
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TypeDefinitionChanged { .. }
            | redb::Error::TableDoesNotExist(_) => Self::Damaged(error.to_string().into()),
            other => Self::Engine(other.to_string().into()),
        }
    }
}

macro_rules! by_way_of_the_engines_own {
    ($($error:ty),*) => {$(
        impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                redb::Error::from(error).into()
            }
        }
    )*};
}

by_way_of_the_engines_own!(
    redb::CommitError,
    redb::CompactionError,
    redb::DatabaseError,
    redb::StorageError,
    redb::TableError,
    redb::TransactionError
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_must_mend_is_not_retried() {
        for (kind, expected) in [
            (io::ErrorKind::StorageFull, ErrorKind::Unavailable),
            (io::ErrorKind::TimedOut, ErrorKind::Unavailable),
            (io::ErrorKind::NotFound, ErrorKind::Invalid),
            (io::ErrorKind::PermissionDenied, ErrorKind::Invalid),
            (io::ErrorKind::ReadOnlyFilesystem, ErrorKind::Invalid),
            (io::ErrorKind::InvalidData, ErrorKind::Corrupt),
        ] {
            let error = Fault::from(io::Error::from(kind)).during("opening");
            assert_eq!(error.kind(), expected, "{kind:?}");
        }
        let damaged = Fault::from(redb::Error::Corrupted("page 7".into())).during("reading");
        assert_eq!(damaged.kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_full_disk_is_called_so() {
        let error = Fault::from(io::Error::from(io::ErrorKind::StorageFull)).during("commit");
        assert!(error.is_retryable());
        assert_eq!(
            error.to_string(),
            "commit: there is no space left for the store's file"
        );
    }
}
