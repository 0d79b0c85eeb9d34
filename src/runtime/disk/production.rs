//! The file system of the machine we run on.
//!
//! What is made here is for its owner alone: other users of the machine read no rows and no verifiers of passwords.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is runtime::disk"
)]

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Above, Backend, DirEntry, FileBackend, LockGuard, LockOutcome, OpenMode, SyncFuture};

const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

pub(super) struct Directory {
    root: PathBuf,
}

impl Directory {
    pub fn open(root: &Path) -> io::Result<Directory> {
        let root = std::path::absolute(root)?;
        if !root.is_dir() {
            create_dirs(&root)?;
            // A data directory that vanishes with the power would take everything synced below it along.
            for parent in root.ancestors().skip(1) {
                match fs::File::open(parent).and_then(|directory| directory.sync_all()) {
                    Ok(()) => {}
                    // Directories above ours need not be readable.
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(Directory { root })
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

impl Backend for Directory {
    fn describe(&self, path: &str) -> String {
        if path.is_empty() {
            self.root.display().to_string()
        } else {
            self.path(path).display().to_string()
        }
    }

    fn elsewhere(&self, path: &str) -> io::Result<(Arc<dyn Backend>, String)> {
        Ok((Arc::new(Directory::open(Path::new(path))?), String::new()))
    }

    fn above(&self, dir: &str, path: &str) -> io::Result<Option<Above>> {
        let here = fs::canonicalize(self.path(dir))?;
        // What may not be looked into is not ours.
        let Some(root) = here
            .ancestors()
            .find(|above| above.join(path).try_exists().unwrap_or(false))
        else {
            return Ok(None);
        };
        let rest = here.strip_prefix(root).ok().and_then(Path::to_str);
        let Some(rest) = rest.map(str::to_owned) else {
            let message = format!("{} is not UTF-8", here.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        };
        Ok(Some(Above {
            backend: Arc::new(Directory { root: root.to_owned() }),
            prefix: String::new(),
            rest,
        }))
    }

    fn open(&self, path: &str, mode: OpenMode) -> io::Result<Arc<dyn FileBackend>> {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(mode != OpenMode::Read);
        options
            .mode(FILE_MODE)
            .create_new(mode == OpenMode::Create)
            .create(mode == OpenMode::CreateOrOpen);
        let file = options.open(self.path(path))?;
        // Linux opens directories for reading; they are not files here.
        if mode == OpenMode::Read && file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(Arc::new(OpenFile(Arc::new(file))))
    }

    fn create_dir_all(&self, path: &str) -> io::Result<()> {
        create_dirs(&self.path(path))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove_file(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.path(path))
    }

    fn remove_dir_all(&self, path: &str) -> io::Result<()> {
        fs::remove_dir_all(self.path(path))
    }

    fn list(&self, path: &str) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(self.path(path))? {
            let entry = entry?;
            // A name that is not UTF-8 is not ours.
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let is_dir = metadata.is_dir();
            entries.push(DirEntry {
                name,
                is_dir,
                len: if is_dir { 0 } else { metadata.len() },
            });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        self.path(path).try_exists()
    }

    fn sync_dir(&self, path: &str) -> SyncFuture {
        let path = self.path(path);
        Box::pin(off_thread(move || fs::File::open(path)?.sync_all()))
    }

    fn lock(&self, path: &str) -> io::Result<LockOutcome> {
        let path = self.path(path);
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(&path)?;
        // The lock belongs to the open file, not to the file's existence: the kernel drops it with its process, so
        // what a dead process left behind never blocks.
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Ok(LockOutcome::HeldBy(fs::read_to_string(&path)?.trim().to_owned()));
            }
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
        file.set_len(0)?;
        file.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0)?;
        Ok(LockOutcome::Acquired(LockGuard(Box::new(file))))
    }
}

fn create_dirs(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(DIR_MODE).create(path)
}

struct OpenFile(Arc<fs::File>);

impl FileBackend for OpenFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> SyncFuture {
        let file = self.0.clone();
        // fdatasync also makes a new length durable; only times may be missing.
        Box::pin(off_thread(move || file.sync_data()))
    }
}

/// Runs a slow call where it does not hold up other tasks; without a runtime (tools, plain tests) right here.
async fn off_thread(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    if tokio::runtime::Handle::try_current().is_err() {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(io::Error::other("the runtime is shutting down")),
    }
}
