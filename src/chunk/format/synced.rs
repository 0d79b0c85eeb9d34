//! `SYNCED`: up to where the log was on the disk when nobody had more to write.

use super::{FORMAT_VERSION, FormatError, Position, check_envelope, damaged, seal_envelope};

/// The end of a root record that a sync has covered. Overwritten in place and never synced itself: one that is torn, old or
/// gone says less, and never what is not true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chunk) struct Synced {
    pub store: [u8; 16],
    pub up_to: Position,
}

impl Synced {
    const MAGIC: &'static [u8; 8] = b"USTSYNCD";
    pub const BYTES: usize = 48;

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::BYTES);
        out.extend_from_slice(Self::MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&self.store);
        out.extend_from_slice(&self.up_to.segment.to_le_bytes());
        out.extend_from_slice(&self.up_to.offset.to_le_bytes());
        seal_envelope(out)
    }

    pub fn parse(bytes: &[u8]) -> Result<Synced, FormatError> {
        let mut fields = check_envelope(bytes, Self::MAGIC)?;
        if bytes.len() != Self::BYTES {
            return damaged("it has another length than it should have");
        }
        Ok(Synced {
            store: fields.take(),
            up_to: Position {
                segment: fields.u64(),
                offset: fields.u64(),
            },
        })
    }
}
