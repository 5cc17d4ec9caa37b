//! Opening the file: what must be true before it is trusted.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use redb::{Database, DatabaseError, ReadableTable, TableDefinition, WriteTransaction};

use super::backend::{Backend, Progress};
use super::error::Fault;
use crate::version::CommitVersion;

/// The keys and values of the store.
pub(super) const DATA: TableDefinition<'static, &'static [u8], &'static [u8]> =
    TableDefinition::new("data");

/// What the store says of itself.
const META: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("meta");

/// The layout of the tables; it grows when an older release could not read the file.
pub(super) const FORMAT: u32 = 1;

const FORMAT_KEY: &str = "format";
const LAST_KEY: &str = "last";

/// Is the last commit in the file, and when it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Last {
    pub(super) version: CommitVersion,
    pub(super) time: SystemTime,
}

impl Last {
    fn encode(self) -> [u8; 18] {
        let since = self.time.duration_since(SystemTime::UNIX_EPOCH);
        let micros = u64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(u64::MAX);
        let mut bytes = [0; 18];
        bytes[..8].copy_from_slice(&self.version.batch().to_be_bytes());
        bytes[8..10].copy_from_slice(&self.version.order().to_be_bytes());
        bytes[10..].copy_from_slice(&micros.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let damaged = |_| Fault::Damaged("the mark of the last commit has another length".into());
        let bytes: [u8; 18] = bytes.try_into().map_err(damaged)?;
        let number = |from: usize| {
            let bytes = bytes[from..from + 8].iter();
            bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
        };
        let order = u16::from_be_bytes([bytes[8], bytes[9]]);
        Ok(Self {
            version: CommitVersion::new(number(0), order),
            time: SystemTime::UNIX_EPOCH + Duration::from_micros(number(10)),
        })
    }
}

/// What a file is opened with, the first time and after a failure.
#[derive(Debug, Clone)]
pub(super) struct Opening {
    pub(super) path: PathBuf,
    pub(super) cache: usize,
    pub(super) verified: bool,
    pub(super) progress: Progress,
    #[cfg(test)]
    pub(super) faults: super::tests::Faults,
}

impl Opening {
    /// Opens the file, creates it if it is not there, and returns its last commit.
    pub(super) fn open(&self) -> Result<(Database, Last), Fault> {
        loop {
            match OpenOptions::new().read(true).write(true).open(&self.path) {
                Ok(file) if file.metadata()?.len() == 0 => {
                    return Err(Fault::Damaged("it is empty, which no store ever is".into()));
                }
                Ok(file) => return self.open_file(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if let Some(created) = self.create()? {
                        return Ok(created);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Makes a store under another name and gives it its own when it is whole, so that a file under that name is never
    /// half a store. `None` if somebody else was quicker.
    fn create(&self) -> Result<Option<(Database, Last)>, Fault> {
        let mut unfinished = self.path.clone().into_os_string();
        unfinished.push(format!(".{}.new", uuid::Uuid::now_v7().simple()));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&unfinished)?;
        let named = self.open_file(file).and_then(|opened| {
            // Unlike a renaming, this never replaces a file that is there by now.
            match fs::hard_link(&unfinished, &self.path) {
                Ok(()) => Ok(Some(opened)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
                Err(error) => Err(error.into()),
            }
        });
        let removed = fs::remove_file(&unfinished);
        let named = named?;
        removed?;
        sync_directory(&self.path)?;
        Ok(named)
    }

    fn open_file(&self, file: File) -> Result<(Database, Last), Fault> {
        let backend = Backend::new(
            file,
            self.progress.clone(),
            #[cfg(test)]
            self.faults.clone(),
        );
        let database = redb::Builder::new()
            .set_cache_size(self.cache)
            .set_check_integrity_on_open(self.verified)
            .create_with_backend(backend?);
        let database = database.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => Fault::InUse(self.path.clone()),
            DatabaseError::Storage(redb::StorageError::Io(error))
                if error.kind() == io::ErrorKind::InvalidData =>
            {
                Fault::Damaged(error.to_string().into())
            }
            other => other.into(),
        })?;
        let last = prepare(&database)?;
        Ok((database, last))
    }
}

/// Makes the new file's name as durable as its contents.
fn sync_directory(path: &Path) -> Result<(), Fault> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if cfg!(unix) {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// Makes the tables of a new file, and looks whether an old one can be read.
fn prepare(database: &Database) -> Result<Last, Fault> {
    let mut write = database.begin_write()?;
    write.set_two_phase_commit(true);
    let last = {
        let mut meta = write.open_table(META)?;
        let format = meta.get(FORMAT_KEY)?.map(|bytes| bytes.value().to_vec());
        let last = match format {
            Some(format) => {
                check_format(&format)?;
                let last = meta.get(LAST_KEY)?;
                let missing = || Fault::Damaged("the mark of the last commit is missing".into());
                let last = last.ok_or_else(missing)?;
                return Last::decode(last.value());
            }
            None => {
                let version = CommitVersion::default();
                let time = SystemTime::now();
                Last { version, time }
            }
        };
        meta.insert(FORMAT_KEY, &FORMAT.to_be_bytes()[..])?;
        meta.insert(LAST_KEY, &last.encode()[..])?;
        let data = write.open_table(DATA)?;
        if data.first()?.is_some() {
            return Err(Fault::Damaged("there are data without a format".into()));
        }
        last
    };
    write.commit()?;
    Ok(last)
}

fn check_format(bytes: &[u8]) -> Result<(), Fault> {
    let damaged = |_| Fault::Damaged("the number of the format has another length".into());
    let found = u32::from_be_bytes(bytes.try_into().map_err(damaged)?);
    match found {
        FORMAT => Ok(()),
        0 => Err(Fault::Damaged("there is no format 0".into())),
        found => Err(Fault::Newer {
            found,
            known: FORMAT,
        }),
    }
}

/// Writes the mark of the commit that `write` is about to make.
pub(super) fn mark(write: &WriteTransaction, last: Last) -> Result<(), Fault> {
    let mut meta = write.open_table(META)?;
    meta.insert(LAST_KEY, &last.encode()[..])?;
    Ok(())
}

/// Reads the mark of the commit that a state of the file is.
pub(super) fn last_of(read: &redb::ReadTransaction) -> Result<Last, Fault> {
    let meta = read.open_table(META)?;
    let missing = || Fault::Damaged("the mark of the last commit is missing".into());
    let last = meta.get(LAST_KEY)?.ok_or_else(missing)?;
    Last::decode(last.value())
}

#[cfg(test)]
pub(super) fn write_format(database: &Database, format: u32) -> Result<(), Fault> {
    let write = database.begin_write()?;
    write
        .open_table(META)?
        .insert(FORMAT_KEY, &format.to_be_bytes()[..])?;
    write.commit()?;
    Ok(())
}
