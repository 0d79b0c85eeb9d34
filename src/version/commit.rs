//! Commit objects.

use bytes::Bytes;

use super::VersionError;
use super::object::{self, KIND_COMMIT};
use crate::chunk::{ChunkBatch, Hash, ReadChunks};
use crate::runtime::WallTime;

/// Who wrote or committed, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    pub name: String,
    pub email: String,
    /// Kept to the millisecond, rounded down, whoever says it. Source: spec/version-control.md 1.4.
    pub time: WallTime,
}

/// One version of a database's content. Immutable; named by its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The [`RootValue`](super::RootValue) of this version.
    pub root: Hash,
    pub parents: Vec<Hash>,
    /// One more than the largest height of a parent; 1 without parents.
    pub height: u64,
    pub author: Person,
    pub committer: Person,
    pub message: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CommitMessage {
    #[prost(bytes = "vec", tag = "1")]
    root: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    parents: Vec<Vec<u8>>,
    #[prost(uint64, tag = "3")]
    height: u64,
    #[prost(message, optional, tag = "4")]
    author: Option<PersonMessage>,
    #[prost(message, optional, tag = "5")]
    committer: Option<PersonMessage>,
    #[prost(string, tag = "6")]
    message: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PersonMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    email: String,
    #[prost(sint64, tag = "3")]
    time_us: i64,
}

impl Commit {
    pub fn load(chunks: &dyn ReadChunks, hash: &Hash) -> Result<Commit, VersionError> {
        Commit::from_message(object::load(chunks, hash, KIND_COMMIT)?)
    }

    pub fn store(&self, batch: &mut ChunkBatch<'_>) -> Hash {
        batch.put(self.encode())
    }

    pub fn encode(&self) -> Bytes {
        object::encode(
            KIND_COMMIT,
            &CommitMessage {
                root: object::hash_bytes(&self.root),
                parents: self.parents.iter().map(object::hash_bytes).collect(),
                height: self.height,
                author: Some(self.author.to_message()),
                committer: Some(self.committer.to_message()),
                message: self.message.clone(),
            },
        )
    }

    /// Decodes what follows the kind byte.
    pub(super) fn decode(body: &[u8]) -> Result<Commit, VersionError> {
        Commit::from_message(object::decode(KIND_COMMIT, body)?)
    }

    fn from_message(message: CommitMessage) -> Result<Commit, VersionError> {
        let person = |field: Option<PersonMessage>, name| {
            field
                .map(Person::from_message)
                .ok_or_else(|| VersionError::malformed("commit", format!("no {name}")))
        };
        Ok(Commit {
            root: object::hash_field(KIND_COMMIT, "root", &message.root)?,
            parents: message
                .parents
                .iter()
                .map(|parent| object::hash_field(KIND_COMMIT, "parents", parent))
                .collect::<Result<_, _>>()?,
            height: message.height,
            author: person(message.author, "author")?,
            committer: person(message.committer, "committer")?,
            message: message.message,
        })
    }
}

impl Person {
    fn to_message(&self) -> PersonMessage {
        PersonMessage {
            name: self.name.clone(),
            email: self.email.clone(),
            time_us: self.time.millis() * 1_000,
        }
    }

    fn from_message(message: PersonMessage) -> Person {
        Person {
            name: message.name,
            email: message.email,
            time: WallTime::from_micros(message.time_us),
        }
    }
}
