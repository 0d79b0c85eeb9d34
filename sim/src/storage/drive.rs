//! Carries a plan out on a simulated disk, and records what it learns.
//!
//! Invariants
//! - Every commit that was asked for is recorded with its outcome, before the life ends.
//! - The driver judges nothing: what it found goes into the history as it was found.
//!
//! Must not know: checks, the simulator's runtime.

use std::time::Duration;

use rand::RngCore;
use understudy::chunk::{ChunkCache, ChunkError, Damage, check_store};
use understudy::engine::{
    CommitOutcome, CommitSpec, Database, DatabaseState, Engine, EngineError, EngineOptions, Superuser, Transaction,
};
use understudy::runtime;
use understudy::runtime::disk::Disk;
use understudy::runtime::disk::simulated::{DiskEvent, FaultKind, SimDisk};
use understudy::version::Person;

use super::event::{LogEnd, Refusal, Start, StorageEvent};
use super::plan::{End, Life, Operation, PlannedCommit, StoragePlan, Upkeep};
use super::rows;
use crate::draw;
use crate::history::What;
use crate::record::Recorder;
use crate::scenario::disk::{self, DiskSettings};

/// What the disk and the events are called.
pub const NODE: &str = "store";

const DATABASE: &str = "shop";
/// The folder under which databases lie; the rest of the data folder belongs to the system.
pub const DATABASES: &str = "databases";

/// The engine is opened so often before its disk is given up: once with the faults of the life, and once without.
const ATTEMPTS: u32 = 2;

/// Why a life went no further.
enum Over {
    /// The power went.
    Dead,
    /// The disk cannot be used any more, and the engine said so.
    Beyond,
}

/// Carries out all lives of a plan. `calm` is called before the last, in which the world does no mischief any more.
pub async fn drive(plan: &StoragePlan, seed: u64, recorder: &Recorder, calm: impl FnOnce()) {
    let mut driver = Driver {
        plan,
        seed,
        recorder: recorder.clone(),
        disks: 0,
        disk: SimDisk::new(0),
        readers: 0,
    };
    driver.replace_disk();
    for life in &plan.lives {
        disk::calm(&driver.disk);
        life.disk.apply(&driver.disk);
        let over = driver.live(life).await;
        driver.end(over);
    }
    disk::calm(&driver.disk);
    calm();
    driver.tell(StorageEvent::Calm);
    let last = Life {
        disk: DiskSettings::default(),
        operations: vec![Operation::Commit(vec![plan.last.clone()]), Operation::Read],
        end: End::Close,
    };
    let mut over = driver.live(&last).await;
    if matches!(over, Err(Over::Beyond)) {
        // Damage from before may be found only now; the new disk has no excuse.
        driver.end(over);
        over = driver.live(&last).await;
    }
    driver.end(over);
    driver.tell(StorageEvent::Done);
}

struct Driver<'a> {
    plan: &'a StoragePlan,
    seed: u64,
    recorder: Recorder,
    /// How many disks have been used, and the one in use.
    disks: u64,
    disk: SimDisk,
    /// How many readers have kept their transaction.
    readers: u64,
}

impl Driver<'_> {
    fn tell(&self, event: StorageEvent) {
        self.recorder.record(NODE, What::Storage(event));
    }

    fn replace_disk(&mut self) {
        let mut key = [0; 32];
        draw::stream(self.seed, &format!("storage/disk/{}", self.disks)).fill_bytes(&mut key);
        self.disks += 1;
        self.disk = SimDisk::labelled(NODE, key);
        let recorder = self.recorder.clone();
        self.disk.observe(Box::new(move |event| {
            let DiskEvent {
                kind: word,
                path,
                number,
                digest,
            } = event;
            recorder.detail(NODE, word, format_args!("path={path} number={number} {digest:x?}"));
            if let Some(kind) = FaultKind::from_word(word) {
                let (path, offset) = (path.to_owned(), number);
                recorder.record(NODE, What::Storage(StorageEvent::Fault { kind, path, offset }));
            }
        }));
    }

    /// How a life ended, for the record; and what must happen before the next.
    fn end(&mut self, over: Result<(), Over>) {
        match over {
            Ok(()) => {}
            Err(Over::Dead) => self.tell(StorageEvent::Ended { how: "without power" }),
            Err(Over::Beyond) => {
                self.tell(StorageEvent::Replaced);
                self.replace_disk();
            }
        }
    }

    async fn live(&mut self, life: &Life) -> Result<(), Over> {
        if let End::PowerOffAtSync(syncs) = life.end {
            self.disk.power_off_after_syncs(syncs);
        }
        let process = self.disk.disk();
        let (engine, shop) = self.open(&process).await?;
        let desk = Desk {
            recorder: self.recorder.clone(),
            disk: self.disk.clone(),
            process,
            shop,
        };
        let mut held = Vec::new();
        for operation in &life.operations {
            desk.alive()?;
            self.operate(&desk, operation, &mut held).await?;
        }
        match &life.end {
            End::Close => {
                drop((held, engine, desk));
                // The process ends, and with it what still ran in it.
                self.disk.kill();
                self.tell(StorageEvent::Ended { how: "closed" });
                return Ok(());
            }
            End::Kill => {
                self.disk.kill();
                self.tell(StorageEvent::Ended { how: "killed" });
                return Ok(());
            }
            End::PowerOff | End::PowerOffAtSync(_) => self.disk.power_off(),
            End::PowerOffDuring { commits, after } => {
                let begun = desk.prepare_all(commits).into_iter().map(|(number, transaction)| {
                    let desk = desk.clone();
                    runtime::spawn("commit", async move { desk.settle(number, transaction).await })
                });
                let begun: Vec<_> = begun.collect();
                runtime::sleep(Duration::from_micros(*after)).await;
                self.disk.power_off();
                for commit in begun {
                    let _ = commit.await;
                }
            }
        }
        Err(Over::Dead)
    }

    /// Opens the engine and its database, and reads everything.
    async fn open(&mut self, process: &Disk) -> Result<(Engine, Database), Over> {
        for _ in 0..ATTEMPTS {
            let error = match self.try_open(process).await {
                Ok((engine, shop, opened)) => {
                    self.tell(opened);
                    return match self.read(process, 0, &shop.begin()).await {
                        Ok(()) => Ok((engine, shop)),
                        Err(over) => Err(over),
                    };
                }
                Err(error) => error,
            };
            if !self.disk.is_alive(process) {
                return Err(Over::Dead);
            }
            let injected = self.disk.injected();
            self.tell(StorageEvent::NotOpened { error, injected });
            disk::calm(&self.disk);
        }
        Err(Over::Beyond)
    }

    async fn try_open(&self, process: &Disk) -> Result<(Engine, Database, StorageEvent), String> {
        let mut options = EngineOptions::new(Superuser {
            name: "postgres".to_owned(),
            password: "password".to_owned(),
        });
        options.store.segment_bytes_max = self.plan.segment_bytes;
        options.store.backlog_bytes_max = self.plan.backlog_bytes;
        let cache_bytes = usize::try_from(self.plan.cache_bytes).expect("a cache fits into memory");
        options.store.cache = ChunkCache::new(cache_bytes);
        let text = |error: EngineError| error.to_string();
        let engine = Engine::open(process.clone(), options).await.map_err(text)?;
        // Before another is made.
        let (log, injected) = (log_end(process), self.disk.injected());
        let listing = engine.listing();
        let (shop, start) = match listing
            .iter()
            .find(|listed| listed.name == DATABASE)
            .map(|listed| &listed.state)
        {
            Some(DatabaseState::Unavailable { reason }) => return Err(reason.clone()),
            Some(DatabaseState::Available) => (engine.database(DATABASE).map_err(text)?, Start::Found),
            Some(DatabaseState::Awaited) => {
                // Not even its first root has survived: for the engine it is one that replication has yet to fill.
                engine.drop_database(DATABASE).await.map_err(text)?;
                (engine.create_database(DATABASE).await.map_err(text)?, Start::Empty)
            }
            None => (engine.create_database(DATABASE).await.map_err(text)?, Start::Unlisted),
        };
        Ok((engine, shop, StorageEvent::Opened { start, log, injected }))
    }

    /// Reads everything; a second time without faults if the first fails.
    async fn read(&self, process: &Disk, reader: u64, transaction: &Transaction) -> Result<(), Over> {
        for _ in 0..ATTEMPTS {
            let read = rows::read_all(transaction).and_then(|tables| Ok((tables, rows::read_versions(transaction)?)));
            match read {
                Ok((tables, versions)) => {
                    self.tell(StorageEvent::Found {
                        reader,
                        tables,
                        versions,
                    });
                    return Ok(());
                }
                Err(_) if !self.disk.is_alive(process) => return Err(Over::Dead),
                Err(error) => {
                    let (error, injected) = (error.to_string(), self.disk.injected());
                    self.tell(StorageEvent::ReadFailed { error, injected });
                    disk::calm(&self.disk);
                }
            }
        }
        Err(Over::Beyond)
    }

    async fn operate(
        &mut self,
        desk: &Desk,
        operation: &Operation,
        held: &mut Vec<(u64, Transaction)>,
    ) -> Result<(), Over> {
        match operation {
            Operation::Commit(commits) => desk.commit_all(commits).await,
            Operation::Clash(first, second) => desk.commit_all(&[first.clone(), second.clone()]).await,
            Operation::Abandon(commit) => {
                let mut transaction = desk.shop.begin();
                if let Err(error) = rows::apply(&mut transaction, commit.number, &commit.edits) {
                    desk.read_failed(&error);
                }
            }
            Operation::Read => self.read(&desk.process, 0, &desk.shop.begin()).await?,
            Operation::Hold => {
                self.readers += 1;
                let transaction = desk.shop.begin();
                self.read(&desk.process, self.readers, &transaction).await?;
                held.push((self.readers, transaction));
            }
            Operation::Look => {
                for (reader, transaction) in held.iter() {
                    self.read(&desk.process, *reader, transaction).await?;
                }
            }
            Operation::Pause(micros) => runtime::sleep(Duration::from_micros(*micros)).await,
            Operation::Free => self.disk.full_at(None),
            Operation::Rot => drop(self.disk.rot()),
            Operation::Upkeep(Upkeep::CollectGarbage) => desk.heed(desk.shop.collect_garbage().await.map(drop)),
            Operation::Upkeep(Upkeep::Backup) => {
                if let Ok(folder) = desk.process.elsewhere("/backup") {
                    desk.heed(desk.shop.back_up(&folder).await.map(drop));
                }
            }
            Operation::Upkeep(Upkeep::Fsck) => desk.check(),
        }
        Ok(())
    }
}

/// Where the database's log ends, if there is one and the process lives.
fn log_end(process: &Disk) -> Option<LogEnd> {
    let folders = process.list(DATABASES).ok()?;
    let of_shop = |name: &str| name.strip_prefix(DATABASE).is_some_and(|rest| rest.starts_with('-'));
    let folder = folders.into_iter().find(|folder| of_shop(&folder.name))?;
    let folder = format!("{DATABASES}/{}", folder.name);
    let files = process.list(&folder).ok()?;
    let segments = files
        .iter()
        .filter_map(|file| Some((segment_number(&file.name)?, file.len)));
    let (segment, offset) = segments.max()?;
    Some(LogEnd {
        folder,
        segment,
        offset,
    })
}

/// The number of a segment of a log, by the name of its file.
pub fn segment_number(file: &str) -> Option<u64> {
    file.strip_prefix("log-")?.strip_suffix(".seg")?.parse().ok()
}

/// What committing needs, in a task of its own too.
#[derive(Clone)]
struct Desk {
    recorder: Recorder,
    disk: SimDisk,
    /// The disk as the living process sees it.
    process: Disk,
    shop: Database,
}

impl Desk {
    fn tell(&self, event: StorageEvent) {
        self.recorder.record(NODE, What::Storage(event));
    }

    fn alive(&self) -> Result<(), Over> {
        if self.disk.is_alive(&self.process) {
            Ok(())
        } else {
            Err(Over::Dead)
        }
    }

    /// What upkeep could not do for damage must be explained; a full disk and a closed store stop it as they stop commits.
    fn heed(&self, outcome: Result<(), EngineError>) {
        match outcome {
            Err(error) if error.to_string().contains("No space left") => {}
            // The engine had begun one by itself.
            Err(EngineError::CollectionRuns { .. }) => {}
            Ok(()) | Err(EngineError::Store(ChunkError::Closed { .. })) => {}
            Err(error) => self.read_failed(&error),
        }
    }

    /// Checks the files of the database as they are; what is damaged must be explained.
    fn check(&self) {
        let Ok(folders) = self.process.list(DATABASES) else {
            return;
        };
        for folder in folders {
            let path = format!("{DATABASES}/{}", folder.name);
            match check_store(&self.process, &path, &mut |_, _| {}) {
                Ok(checked) => {
                    for Damage {
                        file, offset, detail, ..
                    } in checked.damage
                    {
                        let error = format!("{file} is damaged at offset {offset}: {detail}");
                        let injected = self.disk.injected();
                        self.tell(StorageEvent::ReadFailed { error, injected });
                    }
                }
                Err(error) => self.read_failed(&error.into()),
            }
        }
    }

    fn read_failed(&self, error: &EngineError) {
        if self.alive().is_ok() {
            let (error, injected) = (error.to_string(), self.disk.injected());
            self.tell(StorageEvent::ReadFailed { error, injected });
        }
    }

    /// Commits from one snapshot, at the same time.
    async fn commit_all(&self, commits: &[PlannedCommit]) {
        let mut prepared = self.prepare_all(commits);
        if prepared.len() == 1 {
            let (number, transaction) = prepared.remove(0);
            return self.settle(number, transaction).await;
        }
        let begun = prepared.into_iter().map(|(number, transaction)| {
            let desk = self.clone();
            runtime::spawn("commit", async move { desk.settle(number, transaction).await })
        });
        for commit in begun.collect::<Vec<_>>() {
            let _ = commit.await;
        }
    }

    fn prepare_all(&self, commits: &[PlannedCommit]) -> Vec<(u64, Transaction)> {
        let prepared = commits.iter().filter_map(|commit| match self.prepare(commit) {
            Ok(transaction) => Some((commit.number, transaction)),
            // It could not even be asked for: it needed rows that cannot be read.
            Err(error) => {
                self.read_failed(&error);
                None
            }
        });
        prepared.collect()
    }

    fn prepare(&self, planned: &PlannedCommit) -> Result<Transaction, EngineError> {
        let PlannedCommit {
            number,
            versioned,
            edits,
        } = planned;
        let mut transaction = self.shop.begin();
        let edits = rows::apply(&mut transaction, *number, edits)?;
        if *versioned {
            transaction.stage_all()?;
            let person = || Person {
                name: "sim".to_owned(),
                email: "sim@127.0.0.1".to_owned(),
                time: runtime::WallTime::from_micros(0),
            };
            transaction.version_commit(CommitSpec {
                message: format!("{}{number}", rows::VERSION_MESSAGE),
                author: person(),
                committer: person(),
                allow_empty: true,
            })?;
        }
        self.tell(StorageEvent::Commit {
            number: *number,
            versioned: *versioned,
            edits,
            log: log_end(&self.process),
        });
        Ok(transaction)
    }

    async fn settle(&self, number: u64, transaction: Transaction) {
        let event = match self.shop.commit_outcome(transaction).await {
            Ok(CommitOutcome {
                record: Some(record), ..
            }) => StorageEvent::Committed {
                number,
                sequence: record.sequence,
                log: log_end(&self.process),
            },
            Ok(CommitOutcome { record: None, .. }) => StorageEvent::Refused {
                number,
                refusal: Refusal::Other,
                error: "nothing was committed although there was something to commit".to_owned(),
                injected: Vec::new(),
            },
            Err(error @ EngineError::OutcomeUnknown { .. }) => StorageEvent::Unknown {
                number,
                error: error.to_string(),
            },
            Err(error) => StorageEvent::Refused {
                number,
                refusal: self.refusal(&error),
                error: error.to_string(),
                injected: self.disk.injected(),
            },
        };
        self.tell(event);
    }

    fn refusal(&self, error: &EngineError) -> Refusal {
        let text = error.to_string();
        match error {
            _ if self.alive().is_err() => Refusal::Dead,
            error if error.is_conflict() => Refusal::Conflict,
            EngineError::Store(ChunkError::Closed { .. }) => Refusal::Closed,
            _ if text.contains("No space left") => Refusal::Full,
            _ if text.contains("damaged") => Refusal::Damage,
            _ => Refusal::Other,
        }
    }
}
