//! A server's disk: a tree of files under one directory.
//!
//! A value, not ambient: a server is handed the disk of its node, [`Disk::production`] or one from
//! [`simulated::SimDisk`], which loses power on demand. Everything is synchronous but the syncs, because only they are
//! slow; production does those off the executor's threads.
//!
//! What a caller may rely on, and no more:
//! - Bytes written to a file survive a loss of power once a later [`File::sync`] has succeeded. Before that each
//!   write may survive, vanish, or survive in part (whole sectors of 512 bytes), in any order.
//! - Names (of new files and directories, renamed or removed ones) survive once a later [`Disk::sync_dir`] of the
//!   directory that holds the name has succeeded. [`File::sync`] does not make a file's name durable.
//! - After a sync has failed, the bytes it should have saved must be taken for lost, even if a later one succeeds.
//!
//! Must not know: what the files mean.

mod production;
pub mod simulated;

#[cfg(test)]
mod tests;

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

/// How [`Disk::open`] treats a file that is there, or is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// Read what must exist.
    Read,
    /// Read and write what must exist.
    ReadWrite,
    /// Read and write a new file; an error when it exists.
    Create,
    /// Read and write, created empty when missing.
    CreateOrOpen,
}

/// What [`Disk::list`] tells of a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirEntry {
    /// The last component of the path.
    pub name: String,
    /// A directory, rather than a file.
    pub is_dir: bool,
    /// Bytes in the file; 0 for a directory.
    pub len: u64,
}

/// What came of [`Disk::lock`].
#[derive(Debug)]
pub enum LockOutcome {
    /// The lock is ours while the guard lives.
    Acquired(LockGuard),
    /// Another process holds it: what it wrote into the file, its process id.
    HeldBy(String),
}

/// Holds a lock file; dropping it, or the death of the process, releases it.
pub struct LockGuard(#[expect(dead_code, reason = "held for its drop")] Box<dyn Any + Send + Sync>);

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockGuard")
    }
}

type SyncFuture = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

struct Above {
    backend: Arc<dyn Backend>,
    prefix: String,
    rest: String,
}

/// What a kind of disk has to offer. Paths are checked and joined by [`Disk`].
trait Backend: Send + Sync {
    fn describe(&self, path: &str) -> String;
    /// What holds the directory `path` of the machine, made when missing, and the prefix under which it lies there.
    fn elsewhere(&self, path: &str) -> io::Result<(Arc<dyn Backend>, String)>;
    /// The nearest directory at or above `dir` that has `path`, beyond this tree too: what holds it, the prefix under
    /// which it lies there, and the way down from it to `dir`.
    fn above(&self, dir: &str, path: &str) -> io::Result<Option<Above>>;
    fn open(&self, path: &str, mode: OpenMode) -> io::Result<Arc<dyn FileBackend>>;
    fn create_dir_all(&self, path: &str) -> io::Result<()>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove_file(&self, path: &str) -> io::Result<()>;
    fn remove_dir_all(&self, path: &str) -> io::Result<()>;
    fn list(&self, path: &str) -> io::Result<Vec<DirEntry>>;
    fn exists(&self, path: &str) -> io::Result<bool>;
    fn sync_dir(&self, path: &str) -> SyncFuture;
    fn lock(&self, path: &str) -> io::Result<LockOutcome>;
}

/// What a kind of open file has to offer.
trait FileBackend: Send + Sync {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    fn sync(&self) -> SyncFuture;
}

/// A directory and all below it. Paths are relative to it, with `/` between names; `""` is the directory itself.
#[derive(Clone)]
pub struct Disk {
    backend: Arc<dyn Backend>,
    /// `""`, or a path that ends in `/`.
    prefix: String,
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Disk({})", self.describe(""))
    }
}

impl Disk {
    /// The directory `root` of the machine we run on, created with its parents when missing.
    pub fn production(root: impl AsRef<std::path::Path>) -> io::Result<Disk> {
        Ok(Disk {
            backend: Arc::new(production::Directory::open(root.as_ref())?),
            prefix: String::new(),
        })
    }

    /// The path as an operator knows it, for messages.
    pub fn describe(&self, path: &str) -> String {
        self.backend
            .describe(format!("{}{path}", self.prefix).trim_end_matches('/'))
    }

    /// The same disk seen from a directory below, which need not exist yet.
    pub fn sub(&self, dir: &str) -> Disk {
        let dir = dir.trim_matches('/');
        let prefix = if dir.is_empty() {
            self.prefix.clone()
        } else {
            format!("{}{dir}/", self.prefix)
        };
        Disk {
            backend: self.backend.clone(),
            prefix,
        }
    }

    /// A directory anywhere on the same machine, created with its parents when missing. `path` is absolute.
    pub fn elsewhere(&self, path: &str) -> io::Result<Disk> {
        if !path.starts_with('/') {
            let message = format!("{path:?} is not an absolute path");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let (backend, prefix) = self.backend.elsewhere(path)?;
        Ok(Disk { backend, prefix })
    }

    /// The nearest directory of the machine, this one or one above it, in which `path` exists, and the path from there
    /// to this one. Links are followed: what counts is where this directory lies.
    pub fn above_with(&self, path: &str) -> io::Result<Option<(Disk, String)>> {
        let found = self.backend.above(self.prefix.trim_end_matches('/'), path)?;
        Ok(found.map(|Above { backend, prefix, rest }| (Disk { backend, prefix }, rest)))
    }

    /// Opens or creates a file. A new file's name needs [`Disk::sync_dir`] to last.
    pub fn open(&self, path: &str, mode: OpenMode) -> io::Result<File> {
        Ok(File(self.backend.open(&self.locate(path)?, mode)?))
    }

    /// Creates a directory and those above it, where missing. To make them last, see [`Disk::sync_dirs_to_root`].
    pub fn create_dir_all(&self, path: &str) -> io::Result<()> {
        self.backend.create_dir_all(&self.locate(path)?)
    }

    /// Renames a file or directory, replacing a file that has the new name.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.backend.rename(&self.locate(from)?, &self.locate(to)?)
    }

    /// Removes a file.
    pub fn remove_file(&self, path: &str) -> io::Result<()> {
        self.backend.remove_file(&self.locate(path)?)
    }

    /// Removes a directory and all in it.
    pub fn remove_dir_all(&self, path: &str) -> io::Result<()> {
        self.backend.remove_dir_all(&self.locate(path)?)
    }

    /// What a directory holds, sorted by name.
    pub fn list(&self, dir: &str) -> io::Result<Vec<DirEntry>> {
        self.backend.list(&self.locate(dir)?)
    }

    /// Whether a file or directory is there.
    pub fn exists(&self, path: &str) -> io::Result<bool> {
        self.backend.exists(&self.locate(path)?)
    }

    /// Makes the names in a directory durable.
    pub async fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let synced = self.backend.sync_dir(&self.locate(dir)?);
        synced.await
    }

    /// Makes the names in a directory durable, and the name of that directory, and so on up to the root of the disk.
    pub async fn sync_dirs_to_root(&self, dir: &str) -> io::Result<()> {
        let mut dir = self.locate(dir)?;
        loop {
            self.backend.sync_dir(&dir).await?;
            if dir.is_empty() {
                return Ok(());
            }
            dir.truncate(dir.rfind('/').unwrap_or(0));
        }
    }

    /// Takes an exclusive lock on a file, created when missing, which then holds our process id.
    pub fn lock(&self, path: &str) -> io::Result<LockOutcome> {
        self.backend.lock(&self.locate(path)?)
    }

    /// Replaces a file so that whatever happens, one finds either the old content or the new.
    pub async fn write_atomically(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = format!("{path}.tmp");
        let file = self.open(&temporary, OpenMode::CreateOrOpen)?;
        file.set_len(0)?;
        file.write_all_at(bytes, 0)?;
        file.sync().await?;
        self.rename(&temporary, path)?;
        let parent = path.rfind('/').map_or("", |slash| &path[..slash]);
        self.sync_dir(parent).await
    }

    /// The whole content of a file.
    pub fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let file = self.open(path, OpenMode::Read)?;
        let len = usize::try_from(file.len()?).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Joins with the prefix. Names that would lead out of the tree are refused: some paths derive from what users say.
    fn locate(&self, path: &str) -> io::Result<String> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let plain = |name: &str| !name.is_empty() && name != "." && name != ".." && !name.contains('\0');
        if !path.is_empty() && !path.split('/').all(plain) {
            let message = format!("{path:?} is not a path below {}", self.describe(""));
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let whole = format!("{}{path}", self.prefix);
        Ok(whole.strip_suffix('/').map(str::to_owned).unwrap_or(whole))
    }
}

/// An open file. Clones share it.
#[derive(Clone)]
pub struct File(Arc<dyn FileBackend>);

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("File")
    }
}

#[expect(
    clippy::len_without_is_empty,
    reason = "len asks the disk and may fail; nobody needs to know emptiness alone"
)]
impl File {
    /// Reads from `offset`; less than asked for only at the end of the file, where it is 0.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match self.0.read_at(&mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// Fills `buf` from `offset`, or fails with `UnexpectedEof`.
    pub fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let read = self.read_at(buf, offset)?;
        if read < buf.len() {
            let message = format!(
                "the file ends {read} bytes after offset {offset}, {} were expected",
                buf.len()
            );
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        Ok(())
    }

    /// Writes all of `bytes` at `offset`, beyond the end too (with zeros between). Not durable before [`File::sync`].
    pub fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    /// Bytes in the file.
    pub fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    /// Cuts the file, or extends it with zeros.
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    /// Makes durable what was written before the call.
    pub async fn sync(&self) -> io::Result<()> {
        let synced = self.0.sync();
        synced.await
    }
}
