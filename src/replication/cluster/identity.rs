//! The words servers say to each other about themselves: role, epoch, server id, and whom they accepted as primary.
//!
//! Values only, with the one text form each has in files, headers and SQL. No I/O.

use std::fmt;
use std::str::FromStr;

pub use crate::engine::Role;

/// Orders the assumptions of roles. Never above [`Epoch::MAX`], so that every epoch has a successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(u64);

impl Epoch {
    pub const ZERO: Epoch = Epoch(0);
    pub const MAX: Epoch = Epoch(1 << 62);

    /// None above [`Epoch::MAX`].
    pub fn new(number: u64) -> Option<Epoch> {
        (number <= Epoch::MAX.0).then_some(Epoch(number))
    }

    pub fn get(self) -> u64 {
        self.0
    }

    /// As SQL shows it: a bigint holds every epoch.
    pub fn as_i64(self) -> i64 {
        i64::try_from(self.0).expect("an epoch is at most 2^62")
    }

    /// Decimal digits only: no sign, no blanks.
    pub fn parse(text: &str) -> Option<Epoch> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        text.parse().ok().and_then(Epoch::new)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Stable random name of a server, made with its data folder.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerId(pub [u8; 16]);

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerId({self})")
    }
}

/// A text that is not what it should be; the caller knows which key or header it stood in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct Expected(pub &'static str);

impl FromStr for ServerId {
    type Err = Expected;

    fn from_str(text: &str) -> Result<ServerId, Expected> {
        const EXPECTED: Expected = Expected("32 lower-case hexadecimal digits");
        let digits = text.as_bytes();
        if digits.len() != 32 {
            return Err(EXPECTED);
        }
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(EXPECTED),
        };
        let mut id = [0; 16];
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(ServerId(id))
    }
}

/// Evidence that a server acted as primary at an epoch: the text form is `<epoch>:<server id>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptedPrimary {
    pub epoch: Epoch,
    pub server: ServerId,
}

impl fmt::Display for AcceptedPrimary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.server)
    }
}

impl FromStr for AcceptedPrimary {
    type Err = Expected;

    fn from_str(text: &str) -> Result<AcceptedPrimary, Expected> {
        const EXPECTED: Expected = Expected("<epoch>:<server id>");
        let (epoch, server) = text.split_once(':').ok_or(EXPECTED)?;
        Ok(AcceptedPrimary {
            epoch: Epoch::parse(epoch).ok_or(EXPECTED)?,
            server: server.parse().map_err(|_| EXPECTED)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_exact() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        assert_eq!(Role::parse("Primary"), None);
        assert_eq!(Role::parse("primary "), None);
    }

    #[test]
    fn epochs_have_a_successor_and_no_sign() {
        assert_eq!(Epoch::parse("4611686018427387904"), Some(Epoch::MAX));
        for text in [
            "4611686018427387905",
            "9223372036854775807",
            "-1",
            "+1",
            "",
            " 1",
            "1.0",
            "99999999999999999999",
        ] {
            assert_eq!(Epoch::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn evidence_reads_back() {
        let evidence = AcceptedPrimary {
            epoch: Epoch(7),
            server: ServerId([0xab; 16]),
        };
        assert_eq!(evidence.to_string(), format!("7:{}", "ab".repeat(16)));
        assert_eq!(evidence.to_string().parse(), Ok(evidence));
        for text in ["", "7", "7:", "x:00", "7:ABABABABABABABABABABABABABABABAB"] {
            assert!(text.parse::<AcceptedPrimary>().is_err(), "{text:?}");
        }
    }
}
