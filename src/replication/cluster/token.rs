//! Keys, the key document, and the tokens that peers show each other.
//!
//! An Ed25519 pair lives as long as the process. A token is a JWT in compact form, signed for each call; only EdDSA is
//! understood, and a token without `exp` is none. Nothing here fetches or remembers keys.
//!
//! Written out rather than left to a JWT library because those read the system's clock, and this server's clock is
//! `runtime::wall_clock`: time arrives as an argument.
//!
//! Source: spec/cluster.md 6.1 to 6.3; checks C-180, C-182, C-186.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use rand::RngCore;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha512_224};

use super::identity::ServerId;
use crate::runtime;
use crate::runtime::WallTime;

pub const ISSUER: &str = "dolt-client.dolthub.com";
pub const AUDIENCE: &str = "dolt-cluster-remote-api.dolthub.com";
const TOKEN_VERSION: &str = "2023.01";
const LIFETIME_SECONDS: i64 = 30;
/// Clocks of peers may differ by this much, and by the lifetime in the other direction.
const LEEWAY_SECONDS: i64 = 5;
/// Nothing of ours comes near it; what a stranger sends is not parsed beyond it.
const TOKEN_BYTES_MAX: usize = 4096;
/// Keys in a peer's document; it has one.
const DOCUMENT_KEYS_MAX: usize = 16;

/// This server's own key.
pub struct TokenSigner {
    server: ServerId,
    key: SigningKey,
    kid: String,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    kid: String,
    #[serde(default)]
    dolt_token_version: String,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    exp: i64,
    sub: String,
}

/// RFC 7519 allows one text or a list.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

#[derive(Serialize, Deserialize)]
struct Document {
    keys: Vec<DocumentKey>,
}

#[derive(Serialize, Deserialize)]
struct DocumentKey {
    kty: String,
    crv: String,
    kid: String,
    x: String,
    /// Whose key it is: tokens signed with it must name this server.
    understudy_server_id: Option<String>,
}

/// A peer's key, as its document gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    pub kid: String,
    key: VerifyingKey,
    server: Option<ServerId>,
}

/// For the log of this server only: a stranger is told nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("no authorization, or more than one")]
    Missing,
    #[error("not a bearer token in compact form")]
    Malformed,
    #[error("signed by another algorithm than EdDSA")]
    Algorithm,
    #[error("signed with a key that no configured standby remote serves")]
    UnknownKey,
    #[error("bad signature")]
    Signature,
    #[error("another issuer or audience")]
    Issuer,
    #[error("expired")]
    Expired,
    #[error("names another server than the key's owner")]
    Subject,
}

#[derive(Debug, thiserror::Error)]
#[error("not a key document with Ed25519 keys: {0}")]
pub struct DocumentError(String);

impl TokenSigner {
    /// A new pair from the runtime's entropy.
    pub fn generate(server: ServerId) -> TokenSigner {
        let mut seed = [0; 32];
        runtime::rng("cluster key").fill_bytes(&mut seed);
        TokenSigner::from_seed(server, seed)
    }

    fn from_seed(server: ServerId, seed: [u8; 32]) -> TokenSigner {
        let key = SigningKey::from_bytes(&seed);
        let kid = key_id(&key.verifying_key());
        TokenSigner { server, key, kid }
    }

    /// What `/.well-known/jwks.json` answers.
    pub fn document(&self) -> String {
        let key = DocumentKey {
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            kid: self.kid.clone(),
            x: URL_SAFE_NO_PAD.encode(self.key.verifying_key().as_bytes()),
            understudy_server_id: Some(self.server.to_string()),
        };
        serde_json::to_string(&Document { keys: vec![key] }).expect("a document of texts is JSON")
    }

    /// The value of an `authorization` header, good for half a minute.
    pub fn authorization(&self, now: WallTime) -> String {
        let header = Header {
            alg: "EdDSA".to_owned(),
            kid: self.kid.clone(),
            dolt_token_version: TOKEN_VERSION.to_owned(),
        };
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: Audience::Many(vec![AUDIENCE.to_owned()]),
            exp: now.seconds() + LIFETIME_SECONDS,
            sub: self.server.to_string(),
        };
        format!("Bearer {}", sign(&self.key, &header, &claims))
    }
}

fn sign(key: &SigningKey, header: &Header, claims: &Claims) -> String {
    let part = |json: Vec<u8>| URL_SAFE_NO_PAD.encode(json);
    let header = part(serde_json::to_vec(header).expect("texts are JSON"));
    let claims = part(serde_json::to_vec(claims).expect("texts and numbers are JSON"));
    let signed = format!("{header}.{claims}");
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).to_bytes());
    format!("{signed}.{signature}")
}

/// SHA-512/224 of the public key, in the base 32 of our hashes: 45 characters.
fn key_id(key: &VerifyingKey) -> String {
    base32(&Sha512_224::digest(key.as_bytes()))
}

fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    let mut text = String::with_capacity(bytes.len() * 8 / 5 + 1);
    let (mut buffer, mut bits) = (0u32, 0);
    for &byte in bytes {
        buffer = buffer << 8 | u32::from(byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(ALPHABET[(buffer >> bits) as usize & 31]));
        }
    }
    if bits > 0 {
        text.push(char::from(ALPHABET[(buffer << (5 - bits)) as usize & 31]));
    }
    text
}

/// The keys of a peer's document. Entries of other kinds are passed over.
pub fn parse_document(bytes: &[u8]) -> Result<Vec<PublicKey>, DocumentError> {
    let document: Document = serde_json::from_slice(bytes).map_err(|error| DocumentError(error.to_string()))?;
    let mut keys = Vec::new();
    for entry in document
        .keys
        .iter()
        .filter(|entry| entry.kty == "OKP" && entry.crv == "Ed25519")
    {
        let bad = |what: &str| DocumentError(format!("key {:?} has {what}", entry.kid));
        let point = URL_SAFE_NO_PAD
            .decode(&entry.x)
            .map_err(|_| bad("an x that is not base64url"))?;
        let point: [u8; 32] = point.try_into().map_err(|_| bad("an x that has not 32 bytes"))?;
        let key = VerifyingKey::from_bytes(&point).map_err(|_| bad("an x that is no point of the curve"))?;
        let server = match &entry.understudy_server_id {
            Some(text) => Some(text.parse().map_err(|_| bad("a server id that is none"))?),
            None => None,
        };
        keys.push(PublicKey {
            kid: entry.kid.clone(),
            key,
            server,
        });
        if keys.len() == DOCUMENT_KEYS_MAX {
            break;
        }
    }
    match keys.is_empty() {
        true => Err(DocumentError("it has none".to_owned())),
        false => Ok(keys),
    }
}

/// A token that was taken apart and not yet believed.
pub struct UnverifiedToken<'a> {
    pub kid: String,
    signed: &'a str,
    claims: &'a str,
    signature: Signature,
}

impl<'a> UnverifiedToken<'a> {
    /// From the value of an `authorization` header.
    pub fn parse(authorization: &'a str) -> Result<UnverifiedToken<'a>, TokenError> {
        let token = authorization.strip_prefix("Bearer ").ok_or(TokenError::Malformed)?;
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let header: Header = decode_json(header)?;
        if header.alg != "EdDSA" {
            return Err(TokenError::Algorithm);
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Malformed)?;
        let signature = Signature::from_slice(&signature).map_err(|_| TokenError::Malformed)?;
        Ok(UnverifiedToken {
            kid: header.kid,
            signed,
            claims,
            signature,
        })
    }

    /// Gives who signed it.
    pub fn verify(&self, key: &PublicKey, now: WallTime) -> Result<ServerId, TokenError> {
        key.key
            .verify_strict(self.signed.as_bytes(), &self.signature)
            .map_err(|_| TokenError::Signature)?;
        let claims: Claims = decode_json(self.claims)?;
        let for_us = match &claims.aud {
            Audience::One(audience) => audience == AUDIENCE,
            Audience::Many(audiences) => audiences.iter().any(|audience| audience == AUDIENCE),
        };
        if claims.iss != ISSUER || !for_us {
            return Err(TokenError::Issuer);
        }
        if claims.exp.saturating_add(LEEWAY_SECONDS) < now.seconds() {
            return Err(TokenError::Expired);
        }
        let subject: ServerId = claims.sub.parse().map_err(|_| TokenError::Subject)?;
        match key.server {
            Some(owner) if owner != subject => Err(TokenError::Subject),
            _ => Ok(subject),
        }
    }
}

fn decode_json<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, TokenError> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime::from_micros(1_700_000_000_000_000);
    const SERVER: ServerId = ServerId([3; 16]);

    fn signer() -> TokenSigner {
        TokenSigner::from_seed(SERVER, [9; 32])
    }

    fn key(signer: &TokenSigner) -> PublicKey {
        parse_document(signer.document().as_bytes()).unwrap().remove(0)
    }

    fn after(seconds: i64) -> WallTime {
        WallTime::from_micros(NOW.micros() + seconds * 1_000_000)
    }

    fn check(authorization: &str, now: WallTime) -> Result<ServerId, TokenError> {
        UnverifiedToken::parse(authorization)?.verify(&key(&signer()), now)
    }

    fn forged(change: impl FnOnce(&mut Header, &mut Claims)) -> String {
        let mut header = Header {
            alg: "EdDSA".to_owned(),
            kid: "k".to_owned(),
            dolt_token_version: String::new(),
        };
        let mut claims = Claims {
            iss: ISSUER.to_owned(),
            aud: Audience::One(AUDIENCE.to_owned()),
            exp: NOW.seconds() + 30,
            sub: SERVER.to_string(),
        };
        change(&mut header, &mut claims);
        format!("Bearer {}", sign(&signer().key, &header, &claims))
    }

    #[test]
    fn c_180_the_document_has_one_ed25519_key() {
        let document: serde_json::Value = serde_json::from_str(&signer().document()).unwrap();
        let keys = document["keys"].as_array().unwrap();
        assert_eq!(keys.len(), 1);
        assert_eq!(
            (keys[0]["kty"].as_str(), keys[0]["crv"].as_str()),
            (Some("OKP"), Some("Ed25519"))
        );
        assert_eq!(keys[0]["kid"].as_str().unwrap().len(), 45);
    }

    #[test]
    fn a_token_of_ours_is_believed() {
        assert_eq!(check(&signer().authorization(NOW), NOW), Ok(SERVER));
        assert_eq!(
            check(&forged(|_, _| {}), NOW),
            Ok(SERVER),
            "the forger of the other tests forges well"
        );
    }

    #[test]
    fn c_186_lifetime_and_leeway_are_the_end() {
        let token = signer().authorization(NOW);
        assert_eq!(check(&token, after(35)), Ok(SERVER));
        assert_eq!(check(&token, after(36)), Err(TokenError::Expired));
        let without_exp = {
            let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
            let signed = format!(
                "{}.{}",
                part(r#"{"alg":"EdDSA","kid":"k"}"#),
                part(&format!(
                    r#"{{"iss":"{ISSUER}","aud":["{AUDIENCE}"],"sub":"{SERVER}"}}"#
                ))
            );
            let signature = URL_SAFE_NO_PAD.encode(signer().key.sign(signed.as_bytes()).to_bytes());
            format!("Bearer {signed}.{signature}")
        };
        assert_eq!(check(&without_exp, NOW), Err(TokenError::Malformed));
        assert_eq!(
            check(&forged(|header, _| header.alg = "RS256".to_owned()), NOW),
            Err(TokenError::Algorithm)
        );
    }

    #[test]
    fn c_182_what_is_wrong_is_refused() {
        assert_eq!(
            check(&forged(|_, claims| claims.iss = "x".to_owned()), NOW),
            Err(TokenError::Issuer)
        );
        let other = forged(|_, claims| claims.aud = Audience::Many(vec!["x".to_owned()]));
        assert_eq!(check(&other, NOW), Err(TokenError::Issuer));
        assert_eq!(
            check(&forged(|_, c| c.sub = ServerId([4; 16]).to_string()), NOW),
            Err(TokenError::Subject)
        );
        assert_eq!(
            check(&forged(|_, c| c.sub = String::new()), NOW),
            Err(TokenError::Subject)
        );
        let stranger = TokenSigner::from_seed(SERVER, [8; 32]).authorization(NOW);
        assert_eq!(check(&stranger, NOW), Err(TokenError::Signature));
        let good = signer().authorization(NOW);
        assert!(matches!(
            check(&good.replace("Bearer ", "bearer "), NOW),
            Err(TokenError::Malformed)
        ));
        for text in [
            "",
            "Bearer ",
            "Bearer a.b.c",
            "Bearer ..",
            "Bearer x",
            &"Bearer a".repeat(9000),
        ] {
            assert_eq!(check(text, NOW), Err(TokenError::Malformed), "{:.20}", text);
        }
    }

    #[test]
    fn documents_of_peers_are_not_trusted_to_be_well_formed() {
        for text in [
            "",
            "{}",
            r#"{"keys":[]}"#,
            r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"AA"}]}"#,
            r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"*"}]}"#,
            r#"{"keys":[{"kty":"RSA","crv":"","kid":"a","x":""}]}"#,
        ] {
            assert!(parse_document(text.as_bytes()).is_err(), "{text}");
        }
    }
}
