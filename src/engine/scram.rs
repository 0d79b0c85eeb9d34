//! SCRAM-SHA-256 verifiers: what is kept instead of a password. Source: RFC 5802, RFC 7677.

use hmac::{Hmac, Mac};
use rand::RngCore;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::runtime;

/// What PostgreSQL uses.
const ITERATIONS: u32 = 4096;

const SALT_BYTES: usize = 16;

/// Proves that a client knows the password, without being the password.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramVerifier {
    pub salt: Vec<u8>,
    pub iterations: u32,
    pub stored_key: [u8; 32],
    pub server_key: [u8; 32],
}

impl ScramVerifier {
    /// A verifier of `password` with a fresh salt.
    pub fn of_password(password: &str) -> ScramVerifier {
        let mut salt = vec![0; SALT_BYTES];
        runtime::rng("scram salt").fill_bytes(&mut salt);
        ScramVerifier::with_salt(password, salt, ITERATIONS)
    }

    /// # Panics
    /// If `iterations` is zero.
    pub fn with_salt(password: &str, salt: Vec<u8>, iterations: u32) -> ScramVerifier {
        let salted = salted_password(password, &salt, iterations);
        let client_key = hmac(&salted, b"Client Key");
        ScramVerifier {
            stored_key: Sha256::digest(client_key).into(),
            server_key: hmac(&salted, b"Server Key"),
            salt,
            iterations,
        }
    }

    /// A verifier for a user who does not exist, which nothing satisfies: its salt is the same each time, as a role's would
    /// be, differs from name to name, and has the length and the number of iterations that roles have.
    #[must_use]
    pub fn of_nobody(secret: &[u8; 32], user: &str) -> ScramVerifier {
        let material = hmac(secret, user.as_bytes());
        ScramVerifier {
            salt: material[..SALT_BYTES].to_vec(),
            iterations: ITERATIONS,
            stored_key: hmac(&material, b"stored"),
            server_key: hmac(&material, b"server"),
        }
    }

    /// Whether whoever made this proof over an exchange's messages knows the password.
    #[must_use]
    pub fn accepts(&self, transcript: &[u8], proof: [u8; 32]) -> bool {
        let mut client_key = hmac(&self.stored_key, transcript);
        client_key
            .iter_mut()
            .zip(proof)
            .for_each(|(byte, proof)| *byte ^= proof);
        Sha256::digest(client_key).ct_eq(&self.stored_key).into()
    }

    /// What proves to the client that the server knows the verifier.
    #[must_use]
    pub fn server_signature(&self, transcript: &[u8]) -> [u8; 32] {
        hmac(&self.server_key, transcript)
    }

    /// Whether this is the password.
    pub fn verifies(&self, password: &str) -> bool {
        let other = ScramVerifier::with_salt(password, self.salt.clone(), self.iterations.max(1));
        self.stored_key.ct_eq(&other.stored_key).into()
    }
}

impl std::fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ScramVerifier({} iterations)", self.iterations)
    }
}

/// `SaltedPassword`: PBKDF2 with HMAC-SHA-256, one block.
pub(super) fn salted_password(password: &str, salt: &[u8], iterations: u32) -> [u8; 32] {
    assert!(iterations > 0, "a password is hashed at least once");
    // As PostgreSQL: what cannot be normalised is taken as it is.
    let password = stringprep::saslprep(password).unwrap_or(password.into());
    let keyed = keyed(password.as_bytes());
    let mut block: [u8; 32] = keyed
        .clone()
        .chain_update(salt)
        .chain_update(1u32.to_be_bytes())
        .finalize()
        .into_bytes()
        .into();
    let mut sum = block;
    for _ in 1..iterations {
        block = keyed.clone().chain_update(block).finalize().into_bytes().into();
        sum.iter_mut().zip(block).for_each(|(sum, byte)| *sum ^= byte);
    }
    sum
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    keyed(key).chain_update(message).finalize().into_bytes().into()
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677: user, pencil.
    #[test]
    fn the_verifier_is_the_standards() {
        use base64::prelude::{BASE64_STANDARD, Engine as _};
        let salt = BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = ScramVerifier::with_salt("pencil", salt, 4096);
        assert_eq!(
            BASE64_STANDARD.encode(verifier.stored_key),
            "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
        );
        assert_eq!(
            BASE64_STANDARD.encode(verifier.server_key),
            "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
        );
        assert!(verifier.verifies("pencil"));
        assert!(!verifier.verifies("Pencil"));
    }

    #[test]
    fn what_nobody_has_looks_like_what_a_role_has() {
        let nobody = |user| ScramVerifier::of_nobody(&[7; 32], user);
        assert_eq!(nobody("a").salt, nobody("a").salt);
        assert_ne!(nobody("a").salt, nobody("b").salt);
        assert_ne!(nobody("a").salt, ScramVerifier::of_nobody(&[8; 32], "a").salt);
        let role = ScramVerifier::of_password("pencil");
        assert_eq!(nobody("a").salt.len(), role.salt.len());
        assert_eq!(nobody("a").iterations, role.iterations);
    }
}
