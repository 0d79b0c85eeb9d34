//! The server's side of SCRAM-SHA-256, RFC 5802 and 7677.
//!
//! Pure: the nonce is handed in. The exchange is the same for a user who does not exist, with a verifier nobody can
//! satisfy, so that neither words nor time tell whether a name is known.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::engine::ScramVerifier;

pub(super) const MECHANISM: &str = "SCRAM-SHA-256";

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ScramError {
    #[error("malformed SCRAM message ({0})")]
    Malformed(&'static str),
    #[error("the proof does not fit the password")]
    WrongProof,
}

/// After the client's first message; waits for its last.
#[derive(Debug)]
pub(super) struct Exchange {
    verifier: ScramVerifier,
    /// Whether the verifier is a role's; that of an unknown user never accepts, whatever the proof.
    genuine: bool,
    nonce: String,
    /// `n,,` or `y,,`, which the client repeats in its last message.
    header: String,
    client_first_bare: String,
    server_first: String,
}

impl Exchange {
    /// Reads the client's first message; gives the exchange and the server's first message.
    pub fn begin(
        client_first: &[u8],
        verifier: ScramVerifier,
        genuine: bool,
        server_nonce: &str,
    ) -> Result<Exchange, ScramError> {
        let text = std::str::from_utf8(client_first).map_err(|_| ScramError::Malformed("not UTF-8"))?;
        let mut parts = text.splitn(3, ',');
        let (binding, identity, bare) = (parts.next(), parts.next(), parts.next());
        match binding {
            // `y`: the client could bind to a channel but was not offered to.
            Some("n" | "y") => {}
            Some(binding) if binding.starts_with("p=") => {
                return Err(ScramError::Malformed("channel binding was not offered"));
            }
            _ => return Err(ScramError::Malformed("unexpected channel-binding flag")),
        }
        match identity {
            Some("") => {}
            Some(identity) if identity.starts_with("a=") => {
                return Err(ScramError::Malformed("authorization identities are not supported"));
            }
            _ => return Err(ScramError::Malformed("a comma is missing")),
        }
        let bare = bare.ok_or(ScramError::Malformed("a comma is missing"))?;
        // The name in `n=` is not looked at: the start-up packet's counts, as in PostgreSQL.
        let mut attributes = bare.split(',');
        if !attributes.next().is_some_and(|name| name.starts_with("n=")) {
            return Err(ScramError::Malformed(
                "the user name is missing or an extension is mandatory",
            ));
        }
        let client_nonce = attributes.next().and_then(|nonce| nonce.strip_prefix("r="));
        let client_nonce = client_nonce.ok_or(ScramError::Malformed("the nonce is missing"))?;
        if client_nonce.is_empty() || !client_nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ScramError::Malformed("the nonce is not printable"));
        }
        let nonce = format!("{client_nonce}{server_nonce}");
        let salt = BASE64_STANDARD.encode(&verifier.salt);
        let server_first = format!("r={nonce},s={salt},i={}", verifier.iterations);
        let header = text[..text.len() - bare.len()].to_owned();
        Ok(Exchange {
            verifier,
            genuine,
            nonce,
            header,
            client_first_bare: bare.to_owned(),
            server_first,
        })
    }

    pub fn server_first(&self) -> &str {
        &self.server_first
    }

    /// Judges the client's last message; gives the server's.
    pub fn finish(self, client_final: &[u8]) -> Result<String, ScramError> {
        let text = std::str::from_utf8(client_final).map_err(|_| ScramError::Malformed("not UTF-8"))?;
        let (without_proof, proof) = text
            .rsplit_once(",p=")
            .ok_or(ScramError::Malformed("the proof is missing"))?;
        let mut attributes = without_proof.split(',');
        let header = attributes.next().and_then(|binding| binding.strip_prefix("c="));
        if header != Some(BASE64_STANDARD.encode(&self.header).as_str()) {
            return Err(ScramError::Malformed(
                "the channel binding does not repeat the first message's",
            ));
        }
        if attributes.next().and_then(|nonce| nonce.strip_prefix("r=")) != Some(self.nonce.as_str()) {
            return Err(ScramError::Malformed("the nonce is not the one sent"));
        }
        let proof = BASE64_STANDARD
            .decode(proof)
            .map_err(|_| ScramError::Malformed("the proof is not base64"))?;
        let proof: [u8; 32] = proof
            .try_into()
            .map_err(|_| ScramError::Malformed("the proof has a wrong length"))?;

        let transcript = format!("{},{},{without_proof}", self.client_first_bare, self.server_first);
        let proved = self.verifier.accepts(transcript.as_bytes(), proof);
        let signature = self.verifier.server_signature(transcript.as_bytes());
        // Decided last, so that both kinds of refusal have done the same work.
        if !(proved && self.genuine) {
            return Err(ScramError::WrongProof);
        }
        Ok(format!("v={}", BASE64_STANDARD.encode(signature)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT_FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const WITHOUT_PROOF: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const PROOF: &str = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    fn verifier() -> ScramVerifier {
        let key = |text| BASE64_STANDARD.decode(text).unwrap().try_into().unwrap();
        ScramVerifier {
            salt: BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap(),
            iterations: 4096,
            stored_key: key("WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="),
            server_key: key("wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="),
        }
    }

    /// The exchange of RFC 7677 section 3.
    #[test]
    fn s_021_the_standards_example_is_accepted() {
        let exchange = Exchange::begin(CLIENT_FIRST, verifier(), true, SERVER_NONCE).unwrap();
        let server_first = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        assert_eq!(exchange.server_first(), server_first);
        let server_final = exchange.finish(format!("{WITHOUT_PROOF},p={PROOF}").as_bytes());
        assert_eq!(
            server_final.as_deref(),
            Ok("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
        );
    }

    #[test]
    fn s_021_a_wrong_proof_and_an_unknown_user_fail_alike() {
        let last = format!("{WITHOUT_PROOF},p={PROOF}");
        let unknown = Exchange::begin(CLIENT_FIRST, verifier(), false, SERVER_NONCE).unwrap();
        assert_eq!(unknown.finish(last.as_bytes()), Err(ScramError::WrongProof));
        let wrong = last.replace("p=d", "p=e");
        let exchange = Exchange::begin(CLIENT_FIRST, verifier(), true, SERVER_NONCE).unwrap();
        assert_eq!(exchange.finish(wrong.as_bytes()), Err(ScramError::WrongProof));
    }

    #[test]
    fn malformed_messages_are_refused() {
        for first in [
            &b""[..],
            b"n",
            b"n,,",
            b"p=tls-server-end-point,,n=,r=a",
            b"n,a=other,n=,r=a",
            b"n,,m=x,n=,r=a",
            b"n,,n=",
            b"n,,n=,r=",
            b"n,,n=,r=a\x01",
            b"\xff",
        ] {
            let begun = Exchange::begin(first, verifier(), true, "s");
            assert!(matches!(begun, Err(ScramError::Malformed(_))), "{first:?}");
        }
        for last in [
            "",
            WITHOUT_PROOF,
            &format!("{WITHOUT_PROOF},p=!"),
            &format!("{WITHOUT_PROOF},p=AAAA"),
            &format!("{},p={PROOF}", WITHOUT_PROOF.replace("biws", "eSws")),
            &format!("{},p={PROOF}", WITHOUT_PROOF.replace("k0", "k1")),
        ] {
            let exchange = Exchange::begin(CLIENT_FIRST, verifier(), true, SERVER_NONCE).unwrap();
            assert!(
                matches!(exchange.finish(last.as_bytes()), Err(ScramError::Malformed(_))),
                "{last}"
            );
        }
    }
}
