//! What a process holds of the simulated disk: the calls, refused once the process is dead.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use rand::Rng as _;

use super::faults::{FaultKind, Noted, happens, is_due};
use super::file::{FileState, Saved};
use super::names::{Change, Node};
use super::{DiskEvent, Shared, State, dead};
use crate::runtime::disk::{Above, Backend, DirEntry, FileBackend, LockGuard, LockOutcome, OpenMode, SyncFuture};

/// Where the rest of the machine lies.
const ELSEWHERE: &str = "elsewhere";

#[derive(Clone)]
pub(super) struct Handle {
    pub shared: Arc<Shared>,
    pub incarnation: u64,
}

impl Handle {
    /// Works on the disk unless the process is dead, and tells the faults that came of it.
    fn with<T>(&self, work: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let (done, faults) = {
            let mut state = self.shared.state.lock();
            if state.incarnation != self.incarnation {
                return Err(dead());
            }
            let before = state.injected.len();
            let done = work(&mut state);
            (done, state.injected[before..].to_vec())
        };
        for Noted { fault, .. } in faults {
            self.shared.observe(fault.kind.word(), &fault.path, fault.offset);
        }
        done
    }

    /// A sync: takes its time, then saves what was there when it began.
    fn sync(
        &self,
        kind: &'static str,
        path: String,
        save: impl FnOnce(&mut State) -> io::Result<Saved> + Send + 'static,
    ) -> SyncFuture {
        let handle = self.clone();
        Box::pin(async move {
            let latency = handle.with(|state| {
                let (latency, is_stuck) = state.draw_latency();
                if is_stuck {
                    state.note(FaultKind::StuckSync, &path, None, 0, 0);
                }
                Ok(latency)
            })?;
            if !latency.is_zero() {
                crate::runtime::sleep(latency).await;
            }
            let saved = handle.with(|state| {
                state.begin_sync()?;
                let saved = save(state)?;
                state.syncs += 1;
                Ok(saved)
            });
            let Saved { bytes, digest } = saved?;
            handle.shared.tell(DiskEvent {
                kind,
                path: &path,
                number: bytes,
                digest,
            });
            Ok(())
        })
    }
}

impl Backend for Handle {
    fn describe(&self, path: &str) -> String {
        format!("{}:/{path}", self.shared.label)
    }

    /// The rest of the machine is a folder of this disk.
    fn elsewhere(&self, path: &str) -> io::Result<(Arc<dyn Backend>, String)> {
        let path = format!("{ELSEWHERE}/{}", path.trim_matches('/'));
        self.create_dir_all(&path)?;
        Ok((Arc::new(self.clone()), format!("{path}/")))
    }

    fn above(&self, dir: &str, path: &str) -> io::Result<Option<Above>> {
        let mut above = dir;
        loop {
            let prefix = match above {
                "" => String::new(),
                above => format!("{above}/"),
            };
            if self.exists(&format!("{prefix}{path}"))? {
                return Ok(Some(Above {
                    backend: Arc::new(self.clone()),
                    rest: dir[prefix.len().min(dir.len())..].to_owned(),
                    prefix,
                }));
            }
            // The server's own folder does not hold the rest of the machine.
            if above.is_empty() || above == ELSEWHERE {
                return Ok(None);
            }
            above = above.rfind('/').map_or("", |slash| &above[..slash]);
        }
    }

    fn open(&self, path: &str, mode: OpenMode) -> io::Result<Arc<dyn FileBackend>> {
        let state = self.with(|state| match (state.names.find(path)?, mode) {
            (Some(_), OpenMode::Create) => Err(io::ErrorKind::AlreadyExists.into()),
            (Some(_), _) => state.names.file(path),
            (None, OpenMode::Read | OpenMode::ReadWrite) => Err(io::ErrorKind::NotFound.into()),
            (None, OpenMode::Create | OpenMode::CreateOrOpen) => {
                let (dir, name) = state.names.parent(path)?;
                let (id, file) = state.names.new_file();
                state.names.change(Change::Link { dir, name, id });
                Ok(file)
            }
        })?;
        let writable = mode != OpenMode::Read;
        state.lock().hold(self.incarnation);
        Ok(Arc::new(OpenFile {
            handle: self.clone(),
            path: path.to_owned(),
            state,
            writable,
        }))
    }

    fn create_dir_all(&self, path: &str) -> io::Result<()> {
        self.with(|state| state.names.create_dir_all(path))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.with(|state| {
            state.names.rename(from, to)?;
            state.rename_faults();
            Ok(())
        })
    }

    fn remove_file(&self, path: &str) -> io::Result<()> {
        self.with(|state| {
            state.names.file(path)?;
            let (dir, name) = state.names.parent(path)?;
            state.names.change(Change::Unlink { dir, name });
            Ok(())
        })
    }

    fn remove_dir_all(&self, path: &str) -> io::Result<()> {
        self.with(|state| state.names.remove_dir_all(path))
    }

    fn list(&self, path: &str) -> io::Result<Vec<DirEntry>> {
        self.with(|state| {
            let dir = state.names.dir(path)?;
            let entry = |(name, node): (&String, &Node)| match node {
                Node::Dir(_) => DirEntry {
                    name: name.clone(),
                    is_dir: true,
                    len: 0,
                },
                Node::File(file) => DirEntry {
                    name: name.clone(),
                    is_dir: false,
                    len: file.lock().len(),
                },
            };
            Ok(state.names.entries(dir).map(entry).collect())
        })
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        self.with(|state| match state.names.find(path) {
            Ok(found) => Ok(found.is_some()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        })
    }

    fn sync_dir(&self, path: &str) -> SyncFuture {
        // Opening the directory comes first, and what happens to names during the sync need not be saved by it.
        let begun = self.with(|state| Ok((state.names.dir(path)?, state.names.journal_end())));
        match begun {
            Ok((dir, end)) => {
                let name = path.to_owned();
                self.sync("sync dir", path.to_owned(), move |state| {
                    if is_due(&mut state.faults.fail_dir_sync_after) || state.sync_fails() {
                        state.note(FaultKind::FailedSync, &name, None, 0, 0);
                        return Err(io::Error::from_raw_os_error(libc::EIO));
                    }
                    state.names.sync_dir(dir, end);
                    Ok(Saved::default())
                })
            }
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn lock(&self, path: &str) -> io::Result<LockOutcome> {
        // Ask before opening: another process's id must stay readable in the file.
        if self.with(|state| Ok(state.locks.contains_key(path)))? {
            return Ok(LockOutcome::HeldBy(format!("{} (simulated)", self.incarnation)));
        }
        let file = self.open(path, OpenMode::CreateOrOpen)?;
        file.set_len(0)?;
        file.write_all_at(format!("{}\n", self.incarnation).as_bytes(), 0)?;
        let number = self.with(|state| {
            state.next_lock += 1;
            state.locks.insert(path.to_owned(), state.next_lock);
            Ok(state.next_lock)
        })?;
        Ok(LockOutcome::Acquired(LockGuard(Box::new(HeldLock {
            handle: self.clone(),
            path: path.to_owned(),
            number,
        }))))
    }
}

struct HeldLock {
    handle: Handle,
    path: String,
    number: u64,
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        // The locks of a dead process are free already, and may be another's by now.
        let _ = self.handle.with(|state| {
            if state.locks.get(&self.path) == Some(&self.number) {
                state.locks.remove(&self.path);
            }
            Ok(())
        });
    }
}

struct OpenFile {
    handle: Handle,
    path: String,
    state: Arc<Mutex<FileState>>,
    writable: bool,
}

impl OpenFile {
    fn change(&self, work: impl FnOnce(&mut State) -> io::Result<()>) -> io::Result<()> {
        if !self.writable {
            let message = format!("{} was opened for reading", self.handle.describe(&self.path));
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        self.handle.with(work)
    }

    fn note(&self, state: &mut State, kind: FaultKind, offset: u64, bytes: u64) {
        let file = self.state.lock().id;
        state.note(kind, &self.path, Some(file), offset, bytes);
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.state.lock().release(self.handle.incarnation);
    }
}

impl FileBackend for OpenFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.handle.with(|state| {
            let read = self.state.lock().read_at(buf, offset)?;
            if read > 0 && happens(state.faults.misread, &mut state.luck) {
                let at = state.luck.random_range(0..read);
                buf[at] ^= 1 << state.luck.random_range(0..8);
                self.note(state, FaultKind::Misread, offset + at as u64, 1);
            }
            Ok(read)
        })
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.change(|state| {
            let end = offset
                .checked_add(bytes.len() as u64)
                .ok_or(io::ErrorKind::FileTooLarge)?;
            let before = self.state.lock().len();
            let more = end.saturating_sub(before);
            let room = state.room(more);
            if room == more {
                self.state.lock().write(offset, bytes);
                state.names.grow(more as i64);
                return Ok(());
            }
            // As far as there is room, as the system does.
            let fits = (before + room).saturating_sub(offset) as usize;
            if fits > 0 {
                self.state.lock().write(offset, &bytes[..fits]);
                state.names.grow(room as i64);
            }
            self.note(
                state,
                FaultKind::DiskFull,
                offset + fits as u64,
                bytes.len() as u64 - fits as u64,
            );
            Err(io::Error::from_raw_os_error(libc::ENOSPC))
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.handle.with(|_| Ok(self.state.lock().len()))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(|state| {
            let before = self.state.lock().len();
            let more = len.saturating_sub(before);
            if state.room(more) < more {
                self.note(state, FaultKind::DiskFull, before, more);
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
            self.state.lock().set_len(len);
            state.names.grow(len as i64 - before as i64);
            Ok(())
        })
    }

    fn sync(&self) -> SyncFuture {
        let (file, path) = (self.state.clone(), self.path.clone());
        let (id, pending) = {
            let file = file.lock();
            (file.id, file.pending())
        };
        self.handle.sync("sync", self.path.clone(), move |state| {
            if is_due(&mut state.faults.fail_sync_after) || state.sync_fails() {
                file.lock().lose(pending);
                state.note(FaultKind::FailedSync, &path, Some(id), 0, 0);
                return Err(io::Error::from_raw_os_error(libc::EIO));
            }
            let (saved, hurt) = file.lock().sync(pending, &state.faults, &mut state.luck);
            for (kind, offset, bytes) in hurt {
                state.note(kind, &path, Some(id), offset, bytes);
            }
            Ok(saved)
        })
    }
}
