//! The frame all objects share: one kind byte, then a protobuf message.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

use super::VersionError;
use crate::chunk::{Hash, ReadChunks};

// Kinds 1 and 2 are the nodes of prolly maps.
pub(crate) const KIND_COMMIT: u8 = 16;
pub(crate) const KIND_WORKING_SET: u8 = 17;
pub(crate) const KIND_ROOT_VALUE: u8 = 18;
pub(crate) const KIND_TABLE: u8 = 19;
pub(crate) const KIND_LARGE_VALUE: u8 = 20;
pub(crate) const KIND_PIECE: u8 = 21;

pub(super) fn name_of(kind: u8) -> &'static str {
    match kind {
        KIND_COMMIT => "commit",
        KIND_WORKING_SET => "working set",
        KIND_ROOT_VALUE => "root value",
        KIND_TABLE => "table",
        _ => "object",
    }
}

/// The bytes of a chunk of `kind`. Protobuf messages of these shapes have one encoding (fields in order, no maps, no
/// unknown fields), so equal objects have equal hashes.
pub(super) fn encode(kind: u8, message: &impl Message) -> Bytes {
    let mut out = BytesMut::with_capacity(1 + message.encoded_len());
    out.put_u8(kind);
    message.encode(&mut out).expect("the buffer grows as needed");
    out.freeze()
}

/// Reads the chunk `hash` and decodes it as an object of `kind`.
pub(super) fn load<M: Message + Default>(chunks: &dyn ReadChunks, hash: &Hash, kind: u8) -> Result<M, VersionError> {
    let bytes = chunks.get(hash)?;
    match bytes.split_first() {
        Some((found, body)) if *found == kind => decode(kind, body),
        Some((found, _)) => Err(VersionError::WrongKind {
            hash: *hash,
            expected: name_of(kind),
            found: *found,
        }),
        None => Err(VersionError::malformed(name_of(kind), "an empty chunk")),
    }
}

pub(super) fn decode<M: Message + Default>(kind: u8, body: &[u8]) -> Result<M, VersionError> {
    M::decode(body).map_err(|error| VersionError::malformed(name_of(kind), error.to_string()))
}

/// A hash field of an object of `kind`. No object refers to "nothing".
pub(super) fn hash_field(kind: u8, field: &str, bytes: &[u8]) -> Result<Hash, VersionError> {
    match Hash::from_slice(bytes) {
        Some(hash) if !hash.is_none() => Ok(hash),
        _ => Err(VersionError::malformed(
            name_of(kind),
            format!("field \"{field}\" is not a hash"),
        )),
    }
}

pub(super) fn hash_bytes(hash: &Hash) -> Vec<u8> {
    hash.as_bytes().to_vec()
}
