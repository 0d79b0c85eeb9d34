//! The directories of the simulated disk: names that are durable, and a journal of changes that are not yet.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::faults::Ppm;
use super::file::FileState;

const ROOT: u64 = 0;

type NameMap = BTreeMap<String, u64>;

/// A file or directory without its name.
pub(super) enum Node {
    File(Arc<Mutex<FileState>>),
    Dir(Directory),
}

#[derive(Default)]
pub(super) struct Directory {
    durable: NameMap,
    current: NameMap,
}

/// One change of names, atomic at loss of power.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Link {
        dir: u64,
        name: String,
        id: u64,
    },
    Unlink {
        dir: u64,
        name: String,
    },
    Rename {
        from: (u64, String),
        to: (u64, String),
        id: u64,
    },
}

/// All directories and files.
pub(super) struct Names {
    nodes: BTreeMap<u64, Node>,
    next_id: u64,
    /// Changes that are current and not durable, in order, each with its number.
    journal: Vec<(u64, Change)>,
    next_change: u64,
    /// Files without a name that the living process has open.
    nameless: Vec<Arc<Mutex<FileState>>>,
    /// Number of the living process.
    incarnation: u64,
    /// Bytes in all files that have a name or are open, as readers see them.
    bytes: u64,
}

impl Names {
    pub fn new() -> Names {
        let nodes = BTreeMap::from([(ROOT, Node::Dir(Directory::default()))]);
        Names {
            nodes,
            next_id: ROOT + 1,
            journal: Vec::new(),
            next_change: 0,
            nameless: Vec::new(),
            incarnation: 0,
            bytes: 0,
        }
    }

    /// Bytes in use. Files that were closed since the last change of names may still count: see [`Names::recount`].
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// From now on the process of this number lives, and what others had open is closed.
    pub fn bury(&mut self, incarnation: u64) {
        self.incarnation = incarnation;
        self.recount();
    }

    pub fn grow(&mut self, by: i64) {
        self.bytes = self.bytes.saturating_add_signed(by);
    }

    /// The node at a path, `None` when its directory is there and the name is not.
    pub fn find(&self, path: &str) -> io::Result<Option<u64>> {
        if path.is_empty() {
            return Ok(Some(ROOT));
        }
        let (dir, name) = self.parent(path)?;
        Ok(self.directory(dir).current.get(&name).copied())
    }

    /// The directory that holds, or would hold, the last name of a path.
    pub fn parent(&self, path: &str) -> io::Result<(u64, String)> {
        let (dirs, name) = path.rsplit_once('/').unwrap_or(("", path));
        if name.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::IsADirectory,
                "the root of the disk has no name",
            ));
        }
        Ok((self.dir(dirs)?, name.to_owned()))
    }

    /// The directory at a path.
    pub fn dir(&self, path: &str) -> io::Result<u64> {
        let mut at = ROOT;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            at = *self.directory(at).current.get(name).ok_or(io::ErrorKind::NotFound)?;
            if !matches!(self.nodes.get(&at), Some(Node::Dir(_))) {
                return Err(io::ErrorKind::NotADirectory.into());
            }
        }
        Ok(at)
    }

    /// The file at a path.
    pub fn file(&self, path: &str) -> io::Result<Arc<Mutex<FileState>>> {
        let id = self.find(path)?.ok_or(io::ErrorKind::NotFound)?;
        match self.nodes.get(&id) {
            Some(Node::File(file)) => Ok(file.clone()),
            _ => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    pub fn entries(&self, dir: u64) -> impl Iterator<Item = (&String, &Node)> {
        self.directory(dir)
            .current
            .iter()
            .filter_map(|(name, id)| Some((name, self.nodes.get(id)?)))
    }

    pub fn new_file(&mut self) -> (u64, Arc<Mutex<FileState>>) {
        let file = Arc::new(Mutex::new(FileState::default()));
        let id = self.new_node(Node::File(file.clone()));
        file.lock().id = id;
        (id, file)
    }

    fn new_node(&mut self, node: Node) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.nodes.insert(id, node);
        id
    }

    pub fn create_dir_all(&mut self, path: &str) -> io::Result<()> {
        let mut dir = ROOT;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            dir = match self.directory(dir).current.get(name).copied() {
                Some(id) if matches!(self.nodes.get(&id), Some(Node::Dir(_))) => id,
                Some(_) => return Err(io::ErrorKind::NotADirectory.into()),
                None => {
                    let id = self.new_node(Node::Dir(Directory::default()));
                    self.change(Change::Link {
                        dir,
                        name: name.to_owned(),
                        id,
                    });
                    id
                }
            };
        }
        Ok(())
    }

    pub fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let id = self.find(from)?.ok_or(io::ErrorKind::NotFound)?;
        let source_is_dir = matches!(self.nodes.get(&id), Some(Node::Dir(_)));
        if let Some(target) = self.find(to)? {
            match self.nodes.get(&target) {
                _ if target == id => return Ok(()),
                Some(Node::Dir(_)) if !source_is_dir => return Err(io::ErrorKind::IsADirectory.into()),
                Some(Node::Dir(dir)) if !dir.current.is_empty() => {
                    return Err(io::ErrorKind::DirectoryNotEmpty.into());
                }
                Some(Node::File(_)) if source_is_dir => return Err(io::ErrorKind::NotADirectory.into()),
                _ => {}
            }
        }
        if source_is_dir && format!("{to}/").starts_with(&format!("{from}/")) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let (from, to) = (self.parent(from)?, self.parent(to)?);
        self.change(Change::Rename { from, to, id });
        Ok(())
    }

    pub fn remove_dir_all(&mut self, path: &str) -> io::Result<()> {
        let dir = self.dir(path)?;
        let (parent, name) = self.parent(path)?;
        self.unlink_all(dir);
        self.change(Change::Unlink { dir: parent, name });
        Ok(())
    }

    fn unlink_all(&mut self, dir: u64) {
        for (name, id) in self.directory(dir).current.clone() {
            if matches!(self.nodes.get(&id), Some(Node::Dir(_))) {
                self.unlink_all(id);
            }
            self.change(Change::Unlink { dir, name });
        }
    }

    /// Changes names for readers, and notes that the change is not durable.
    pub fn change(&mut self, change: Change) {
        self.apply(&change, |dir| &mut dir.current);
        self.journal.push((self.next_change, change));
        self.next_change += 1;
        self.recount();
    }

    /// The number the next change will have.
    pub fn journal_end(&self) -> u64 {
        self.next_change
    }

    /// Makes durable all changes in a directory that came before `end`. As in a journalling file system, a change of
    /// two directories becomes durable in both, and what came before it in the other one, too.
    pub fn sync_dir(&mut self, dir: u64, end: u64) {
        let mut dirs = BTreeSet::from([dir]);
        loop {
            let before = dirs.len();
            for (_, change) in self.journal.iter().filter(|(number, _)| *number < end) {
                if let Change::Rename { from, to, .. } = change
                    && (dirs.contains(&from.0) || dirs.contains(&to.0))
                {
                    dirs.extend([from.0, to.0]);
                }
            }
            if dirs.len() == before {
                break;
            }
        }
        let touches = |change: &Change| match change {
            Change::Link { dir, .. } | Change::Unlink { dir, .. } => dirs.contains(dir),
            Change::Rename { from, to, .. } => dirs.contains(&from.0) || dirs.contains(&to.0),
        };
        let journal = std::mem::take(&mut self.journal);
        let (synced, left): (Vec<_>, Vec<_>) = journal
            .into_iter()
            .partition(|(number, change)| *number < end && touches(change));
        self.journal = left;
        for (_, change) in synced {
            self.apply(&change, |dir| &mut dir.durable);
        }
        self.sweep();
    }

    pub fn power_off(&mut self, torn: Option<Ppm>, rng: &mut ChaCha8Rng) {
        let journal = std::mem::take(&mut self.journal);
        // Half of the time nothing that was not asked for reached the disk: the case that forgotten syncs fear most.
        let survive = if rng.random() {
            0
        } else {
            rng.random_range(0..=journal.len())
        };
        for (_, change) in &journal[..survive] {
            self.apply(change, |dir| &mut dir.durable);
        }
        self.forget_current();
        for node in self.nodes.values() {
            if let Node::File(file) = node {
                file.lock().power_off(torn, rng);
            }
        }
        self.recount();
    }

    pub fn drop_unsynced(&mut self) {
        self.journal.clear();
        self.forget_current();
        for node in self.nodes.values() {
            if let Node::File(file) = node {
                file.lock().drop_unsynced();
            }
        }
        self.recount();
    }

    fn forget_current(&mut self) {
        for node in self.nodes.values_mut() {
            if let Node::Dir(dir) = node {
                dir.current.clone_from(&dir.durable);
            }
        }
        self.sweep();
    }

    fn apply(&mut self, change: &Change, image: impl Fn(&mut Directory) -> &mut NameMap) {
        let mut set = |dir: u64, name: &str, id: Option<u64>| {
            if let Some(Node::Dir(dir)) = self.nodes.get_mut(&dir) {
                match id {
                    Some(id) => image(dir).insert(name.to_owned(), id),
                    None => image(dir).remove(name),
                };
            }
        };
        match change {
            Change::Link { dir, name, id } => set(*dir, name, Some(*id)),
            Change::Unlink { dir, name } => set(*dir, name, None),
            Change::Rename { from, to, id } => {
                set(from.0, &from.1, None);
                set(to.0, &to.1, Some(*id));
            }
        }
    }

    /// Drops what no name leads to, now or after a loss of power. Open files live on in their handles.
    fn sweep(&mut self) {
        let mut reached = BTreeSet::from([ROOT]);
        let mut open = vec![ROOT];
        open.extend(self.journal.iter().filter_map(|(_, change)| match change {
            Change::Link { id, .. } | Change::Rename { id, .. } => Some(*id),
            Change::Unlink { .. } => None,
        }));
        while let Some(id) = open.pop() {
            reached.insert(id);
            if let Some(Node::Dir(dir)) = self.nodes.get(&id) {
                let below = dir.durable.values().chain(dir.current.values());
                open.extend(below.copied().filter(|id| !reached.contains(id)));
            }
        }
        let gone = self.nodes.extract_if(.., |id, _| !reached.contains(id));
        self.nameless.extend(gone.filter_map(|(_, node)| match node {
            Node::File(file) => Some(file),
            Node::Dir(_) => None,
        }));
        self.recount();
    }

    /// Sums up the files that have a name, and those that somebody still has open: their space is not free yet.
    pub fn recount(&mut self) {
        let incarnation = self.incarnation;
        self.nameless.retain(|file| file.lock().is_held(incarnation));
        let named: BTreeSet<u64> = self.walk().into_iter().map(|(_, id)| id).collect();
        let files = self.nodes.iter().filter_map(|(id, node)| match node {
            Node::File(file) => Some((named.contains(id), file.lock())),
            Node::Dir(_) => None,
        });
        let counted = files.filter(|(named, file)| *named || file.is_held(incarnation));
        let nameless: u64 = self.nameless.iter().map(|file| file.lock().len()).sum();
        self.bytes = counted.map(|(_, file)| file.len()).sum::<u64>() + nameless;
    }

    /// The files that have a name, with their paths, sorted.
    pub fn files(&self) -> Vec<(String, Arc<Mutex<FileState>>)> {
        let file = |(path, id)| match self.nodes.get(&id) {
            Some(Node::File(file)) => Some((path, file.clone())),
            _ => None,
        };
        let mut files: Vec<_> = self.walk().into_iter().filter_map(file).collect();
        files.sort_by(|(a, _), (b, _)| a.cmp(b));
        files
    }

    /// The path of a file, if it has one.
    pub fn path_of(&self, file: u64) -> Option<String> {
        self.walk()
            .into_iter()
            .find_map(|(path, id)| (id == file).then_some(path))
    }

    /// Every name as readers see it, with its path.
    fn walk(&self) -> Vec<(String, u64)> {
        let mut found = Vec::new();
        let mut open = vec![(String::new(), ROOT)];
        while let Some((path, id)) = open.pop() {
            if let Some(Node::Dir(dir)) = self.nodes.get(&id) {
                let prefix = if path.is_empty() { path } else { path + "/" };
                let below = dir.current.iter().map(|(name, id)| (format!("{prefix}{name}"), *id));
                open.extend(below.clone());
                found.extend(below);
            }
        }
        found
    }

    fn directory(&self, id: u64) -> &Directory {
        match self.nodes.get(&id) {
            Some(Node::Dir(dir)) => dir,
            _ => unreachable!("only ids of directories are walked"),
        }
    }
}
