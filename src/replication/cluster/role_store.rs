//! The file that remembers role, epoch, server id and accepted primary across restarts.
//!
//! One line per key in `<data>/.understudy/cluster_role`, replaced as a whole and synced. Role and epoch are looked up
//! separately: one that is missing is taken from the configuration and stored at once, one that is there wins over the
//! configuration, and one that cannot be understood stops the start. The last line is a checksum of those above it: a flipped
//! bit makes no other epoch. Whoever corrects the file by hand removes it.
//!
//! Must not know: which changes are allowed.
//!
//! Source: spec/cluster.md 2.1; checks C-021 to C-025.

use std::fmt::Write as _;
use std::io;

use rand::RngCore;

use super::identity::{AcceptedPrimary, Epoch, Role, ServerId};
use super::role::Standing;
use crate::engine::{CONTROL_FOLDER as FOLDER, ROLE_FILE as FILE};
use crate::runtime;
use crate::runtime::disk::Disk;

const ROLE: &str = "sqlserver.cluster.dolt_cluster_role";
const EPOCH: &str = "sqlserver.cluster.dolt_cluster_role_epoch";
const SERVER: &str = "understudy.cluster.server_id";
const ACCEPTED: &str = "understudy.cluster.accepted_primary";
const CHECKSUM: &str = "understudy.cluster.checksum";

/// What a server that has nothing stored starts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    pub role: Role,
    pub epoch: Epoch,
}

#[derive(Debug, thiserror::Error)]
pub enum RoleStoreError {
    #[error(
        "{file}: the stored value {value:?} of {key} is not valid: expected {expected}. Correct that line, or remove it \
         to start from the configuration again"
    )]
    BadValue {
        file: String,
        key: &'static str,
        value: String,
        expected: &'static str,
    },
    #[error("{file}, line {line}: {text:?} is neither a known key with a value nor a comment. Correct or remove it")]
    BadLine { file: String, line: usize, text: String },
    #[error(
        "{file} is damaged: what it says does not have the checksum in its line {CHECKSUM}. Correct what is wrong and remove \
         that line, or remove the file to start from the configuration again"
    )]
    Damaged { file: String },
    #[error("{file} cannot be {done}: {source}")]
    Io {
        file: String,
        done: &'static str,
        source: io::Error,
    },
}

#[derive(Clone, Debug)]
pub struct RoleStore {
    disk: Disk,
}

impl RoleStore {
    /// Reads what is stored, and stores what was missing.
    pub async fn open(disk: &Disk, bootstrap: Bootstrap) -> Result<(RoleStore, Standing), RoleStoreError> {
        let stored = Stored::read(disk)?;
        let standing = stored.complete(bootstrap, &disk.describe(FILE))?;
        let store = RoleStore { disk: disk.clone() };
        if stored.is_partial() {
            store.store(&standing).await.map_err(io_error(disk, "written"))?;
        }
        Ok((store, standing))
    }

    /// The id of the server whose data folder this is, or a new one where it has none. Nothing is stored.
    pub fn server_of(disk: &Disk) -> Result<ServerId, RoleStoreError> {
        Ok(Stored::read(disk)?.server.unwrap_or_else(new_server_id))
    }

    /// Durable when this returns.
    pub async fn store(&self, standing: &Standing) -> io::Result<()> {
        self.disk.create_dir_all(FOLDER)?;
        self.disk.sync_dirs_to_root(FOLDER).await?;
        self.disk.write_atomically(FILE, render(standing).as_bytes()).await
    }

    /// Where it is, for messages.
    pub fn describe(&self) -> String {
        self.disk.describe(FILE)
    }
}

/// Whether what a data folder has stored can be read; so it can where nothing is stored.
pub fn check_stored_role(disk: &Disk) -> Result<(), RoleStoreError> {
    Stored::read(disk).map(drop)
}

fn io_error(disk: &Disk, done: &'static str) -> impl FnOnce(io::Error) -> RoleStoreError {
    let file = disk.describe(FILE);
    move |source| RoleStoreError::Io { file, done, source }
}

fn new_server_id() -> ServerId {
    let mut id = [0; 16];
    runtime::rng("server id").fill_bytes(&mut id);
    ServerId(id)
}

fn render(standing: &Standing) -> String {
    let mut text = String::from("# This server's role in its cluster. Written by the server at every change.\n");
    let mut line = |key: &str, value: &dyn std::fmt::Display| {
        writeln!(text, "{key}: {value}").expect("a String takes everything");
    };
    line(ROLE, &standing.role);
    line(EPOCH, &standing.epoch);
    line(SERVER, &standing.server);
    if let Some(accepted) = &standing.accepted {
        line(ACCEPTED, accepted);
    }
    let checksum = checksum(text.as_bytes());
    text + &format!("{CHECKSUM}: {checksum}\n")
}

/// CRC-32C in eight digits.
fn checksum(text: &[u8]) -> String {
    format!("{:08x}", crc32c::crc32c(text))
}

/// What the file says; None where it says nothing.
#[derive(Default)]
struct Stored {
    role: Option<Role>,
    epoch: Option<Epoch>,
    server: Option<ServerId>,
    accepted: Option<AcceptedPrimary>,
}

impl Stored {
    fn read(disk: &Disk) -> Result<Stored, RoleStoreError> {
        let exists = disk.exists(FILE).map_err(io_error(disk, "looked for"))?;
        let bytes = if exists {
            disk.read(FILE).map_err(io_error(disk, "read"))?
        } else {
            Vec::new()
        };
        let (file, text) = (disk.describe(FILE), String::from_utf8_lossy(&bytes));
        if let Some(at) = text.rfind(CHECKSUM)
            && text[at..] != format!("{CHECKSUM}: {}\n", checksum(&text.as_bytes()[..at]))
        {
            return Err(RoleStoreError::Damaged { file });
        }
        Stored::parse(&text, &file)
    }

    fn parse(text: &str, file: &str) -> Result<Stored, RoleStoreError> {
        let mut stored = Stored::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bad_line = || RoleStoreError::BadLine {
                file: file.to_owned(),
                line: index + 1,
                text: line.to_owned(),
            };
            let (key, value) = line.split_once(':').ok_or_else(bad_line)?;
            let (key, value) = (key.trim(), value.trim());
            let bad = |key, expected| {
                move || RoleStoreError::BadValue {
                    file: file.to_owned(),
                    key,
                    value: value.to_owned(),
                    expected,
                }
            };
            match key {
                ROLE => {
                    let expected = "primary, standby or detected_broken_config";
                    stored.role = Some(Role::parse(value).ok_or_else(bad(ROLE, expected))?);
                }
                EPOCH => {
                    stored.epoch = Some(Epoch::parse(value).ok_or_else(bad(EPOCH, "an integer from 0 to 2^62"))?);
                }
                SERVER => {
                    stored.server = Some(value.parse().map_err(|_| bad(SERVER, "32 hexadecimal digits")())?);
                }
                ACCEPTED => {
                    stored.accepted = Some(value.parse().map_err(|_| bad(ACCEPTED, "<epoch>:<server id>")())?);
                }
                // Looked at before.
                CHECKSUM => {}
                _ => return Err(bad_line()),
            }
        }
        Ok(stored)
    }

    fn is_partial(&self) -> bool {
        self.role.is_none() || self.epoch.is_none() || self.server.is_none()
    }

    fn complete(&self, bootstrap: Bootstrap, file: &str) -> Result<Standing, RoleStoreError> {
        let server = self.server.unwrap_or_else(new_server_id);
        let role = self.role.unwrap_or(bootstrap.role);
        let epoch = self.epoch.unwrap_or(bootstrap.epoch);
        // A primary is its own evidence; see `Standing::accepted`.
        let own = AcceptedPrimary { epoch, server };
        let accepted = self.accepted.or((role == Role::Primary).then_some(own));
        match accepted {
            Some(accepted) if accepted.epoch > epoch => Err(RoleStoreError::BadValue {
                file: file.to_owned(),
                key: ACCEPTED,
                value: accepted.to_string(),
                expected: "an epoch that is not above the server's own",
            }),
            _ => Ok(Standing {
                server,
                role,
                epoch,
                accepted,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::disk::simulated::SimDisk;

    fn bootstrap(role: Role, epoch: u64) -> Bootstrap {
        Bootstrap {
            role,
            epoch: Epoch::new(epoch).unwrap(),
        }
    }

    async fn open(disk: &SimDisk, role: Role, epoch: u64) -> Standing {
        RoleStore::open(&disk.disk(), bootstrap(role, epoch)).await.unwrap().1
    }

    async fn refused(text: &str) -> String {
        let disk = SimDisk::new(1).disk();
        disk.create_dir_all(FOLDER).unwrap();
        disk.write_atomically(FILE, text.as_bytes()).await.unwrap();
        RoleStore::open(&disk, bootstrap(Role::Standby, 1))
            .await
            .unwrap_err()
            .to_string()
    }

    #[tokio::test]
    async fn c_021_the_stored_role_wins_over_the_configured_one() {
        let disk = SimDisk::new(1);
        let first = open(&disk, Role::Standby, 10).await;
        disk.power_off();
        assert_eq!(open(&disk, Role::Primary, 15).await, first);
        assert_eq!((first.role, first.epoch.get()), (Role::Standby, 10));
    }

    #[tokio::test]
    async fn c_022_and_c_024_a_stored_change_survives_power_loss() {
        for role in Role::ALL {
            let disk = SimDisk::new(2);
            let (store, standing) = RoleStore::open(&disk.disk(), bootstrap(Role::Standby, 10))
                .await
                .unwrap();
            let epoch = Epoch::new(13).unwrap();
            let accepted = Some(AcceptedPrimary {
                epoch,
                server: ServerId([7; 16]),
            });
            let changed = Standing {
                role,
                epoch,
                accepted,
                ..standing
            };
            store.store(&changed).await.unwrap();
            disk.power_off();
            assert_eq!(open(&disk, Role::Primary, 99).await, changed);
        }
    }

    #[tokio::test]
    async fn c_023_values_that_make_no_sense_are_named() {
        for (text, key, value) in [
            ("sqlserver.cluster.dolt_cluster_role_epoch: abc\n", EPOCH, "\"abc\""),
            ("sqlserver.cluster.dolt_cluster_role_epoch: -1\n", EPOCH, "\"-1\""),
            ("sqlserver.cluster.dolt_cluster_role: boss\n", ROLE, "\"boss\""),
            ("understudy.cluster.server_id: 12\n", SERVER, "\"12\""),
            ("understudy.cluster.accepted_primary: 1\n", ACCEPTED, "\"1\""),
        ] {
            let message = refused(text).await;
            assert!(message.contains(key) && message.contains(value), "{message}");
            assert!(message.contains("cluster_role"), "names the file: {message}");
        }
        let message = refused("sqlserver.cluster.dolt_cluster_role: primary\nbogus: 3\n").await;
        assert!(message.contains("line 2") && message.contains("bogus"), "{message}");
        let message = refused(&format!("{EPOCH}: 3\n{ACCEPTED}: 4:{}\n", ServerId([1; 16]))).await;
        assert!(message.contains(ACCEPTED), "{message}");
    }

    #[tokio::test]
    async fn every_flipped_bit_is_noticed_and_a_correction_by_hand_is_taken() {
        let disk = SimDisk::new(6);
        let (store, standing) = RoleStore::open(&disk.disk(), bootstrap(Role::Primary, 3))
            .await
            .unwrap();
        store.store(&standing).await.unwrap();
        let text = disk.disk().read(FILE).unwrap();
        for (at, bit) in (0..text.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            disk.flip_bit(FILE, at as u64, bit).unwrap();
            let found = check_stored_role(&disk.disk());
            assert!(found.is_err(), "bit {bit} at {at}");
            disk.flip_bit(FILE, at as u64, bit).unwrap();
        }
        check_stored_role(&disk.disk()).unwrap();
        let by_hand = String::from_utf8(text).unwrap().replace("epoch: 3", "epoch: 5");
        assert!(refused(&by_hand).await.contains("is damaged"));
        let (kept, _) = by_hand.split_once(CHECKSUM).unwrap();
        disk.disk().write_atomically(FILE, kept.as_bytes()).await.unwrap();
        assert_eq!(open(&disk, Role::Standby, 1).await.epoch.get(), 5);
    }

    /// Each of the two is looked up separately.
    #[tokio::test]
    async fn a_missing_value_is_taken_from_the_configuration_and_stored() {
        let disk = SimDisk::new(3);
        disk.disk().create_dir_all(FOLDER).unwrap();
        disk.disk()
            .write_atomically(FILE, format!("{EPOCH}: 7\n").as_bytes())
            .await
            .unwrap();
        let standing = open(&disk, Role::Primary, 1).await;
        assert_eq!((standing.role, standing.epoch.get()), (Role::Primary, 7));
        assert_eq!(open(&disk, Role::Standby, 2).await, standing, "it was stored at once");
    }

    #[tokio::test]
    async fn c_025_servers_of_one_user_share_nothing() {
        let (a, b) = (SimDisk::new(4), SimDisk::new(5));
        let (store, mine) = RoleStore::open(&a.disk(), bootstrap(Role::Primary, 1)).await.unwrap();
        let theirs = open(&b, Role::Standby, 1).await;
        store
            .store(&Standing {
                epoch: Epoch::new(9).unwrap(),
                ..mine
            })
            .await
            .unwrap();
        assert_eq!(open(&b, Role::Primary, 5).await, theirs);
    }
}
