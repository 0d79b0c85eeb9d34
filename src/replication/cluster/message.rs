//! Between the values of this server and what stands in headers and messages.
//!
//! What peers send is checked here once: beyond this file a hash has its 20 bytes and an epoch is in range.
//!
//! Source: spec/cluster.md 5.1.

use bytes::Bytes;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use super::identity::{AcceptedPrimary, Epoch, Role, ServerId};
use super::role::{Event, Refusal, Response, Standing};
use super::wire;
use crate::chunk::{Hash, RootRecord};
use crate::runtime::WallTime;

const ROLE: &str = "x-dolt-cluster-role";
const EPOCH: &str = "x-dolt-cluster-role-epoch";
const SERVER_ID: &str = "x-understudy-server-id";
const ACCEPTED: &str = "x-understudy-accepted-primary";

/// Puts who we are into the headers of a request or a response.
pub fn put_headers(metadata: &mut MetadataMap, standing: &Standing) {
    let mut put = |key: &'static str, value: String| {
        let value: MetadataValue<_> = value.parse().expect("role, numbers and hexadecimal digits are ASCII");
        metadata.insert(key, value);
    };
    put(ROLE, standing.role.to_string());
    put(EPOCH, standing.epoch.to_string());
    put(SERVER_ID, standing.server.to_string());
    if let Some(accepted) = standing.accepted {
        put(ACCEPTED, accepted.to_string());
    }
}

/// The first value counts.
fn header<'a>(metadata: &'a MetadataMap, key: &str) -> Option<&'a str> {
    metadata.get(key).and_then(|value| value.to_str().ok())
}

/// The event of a request by `peer`, who was authenticated. None when it is not a member's: a header is missing, or
/// names another server than the token does.
pub fn request_event(metadata: &MetadataMap, peer: ServerId) -> Option<Event> {
    let (role, epoch) = (header(metadata, ROLE)?, header(metadata, EPOCH)?);
    let named: ServerId = header(metadata, SERVER_ID)?.parse().ok()?;
    (named == peer).then(|| Event::Request {
        peer,
        role: Role::parse(role),
        epoch: Epoch::parse(epoch),
    })
}

/// What the headers of an answer say.
pub fn response_event(metadata: &MetadataMap) -> Event {
    let headers = (
        header(metadata, ROLE),
        header(metadata, EPOCH),
        header(metadata, SERVER_ID),
    );
    Event::Response(match headers {
        (Some(role), Some(epoch), Some(server)) => {
            let accepted = header(metadata, ACCEPTED).unwrap_or_default();
            response(role, Epoch::parse(epoch), server, accepted)
        }
        _ => Response::WithoutRole,
    })
}

/// Whether the transport made this status: then nobody answered, and nobody left out a header.
pub fn is_of_transport(status: &Status) -> bool {
    let of_transport = matches!(
        status.code(),
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled
    );
    of_transport || std::error::Error::source(status).is_some()
}

/// What an error says of the peer, if it is a peer's.
pub fn error_event(status: &Status) -> Option<Event> {
    let has_headers = status.metadata().get(ROLE).is_some();
    (has_headers || !is_of_transport(status)).then(|| response_event(status.metadata()))
}

fn response(role: &str, epoch: Option<Epoch>, server: &str, accepted: &str) -> Response {
    let (Some(role), Ok(peer)) = (Role::parse(role), server.parse()) else {
        return Response::WithoutRole;
    };
    let Some(epoch) = epoch else { return Response::BadEpoch };
    let accepted: Option<AcceptedPrimary> = match accepted {
        "" => None,
        text => match text.parse() {
            Ok(accepted) => Some(accepted),
            Err(_) => return Response::BadEpoch,
        },
    };
    Response::Member {
        peer,
        role,
        epoch,
        accepted,
    }
}

pub fn stamp(standing: &Standing) -> wire::Stamp {
    wire::Stamp {
        role: standing.role.to_string(),
        epoch: standing.epoch.get(),
        server_id: standing.server.to_string(),
        accepted_primary: standing
            .accepted
            .map(|accepted| accepted.to_string())
            .unwrap_or_default(),
    }
}

/// The event of a message within the stream of `peer`.
pub fn message_event(stamp: Option<&wire::Stamp>, peer: ServerId) -> Result<Event, Status> {
    let stamp = stamp.ok_or_else(|| Status::invalid_argument("a message carries no stamp"))?;
    if stamp.server_id != peer.to_string() {
        return Err(Status::invalid_argument(
            "a message carries another server id than its stream",
        ));
    }
    Ok(Event::Request {
        peer,
        role: Role::parse(&stamp.role),
        epoch: Epoch::new(stamp.epoch),
    })
}

/// The same for the messages of an answer.
pub fn answer_event(stamp: Option<&wire::Stamp>) -> Event {
    Event::Response(match stamp {
        Some(stamp) => response(
            &stamp.role,
            Epoch::new(stamp.epoch),
            &stamp.server_id,
            &stamp.accepted_primary,
        ),
        None => Response::WithoutRole,
    })
}

/// How a refusal looks on the wire (spec/cluster.md 5.4).
pub fn refusal_status(refusal: &Refusal, standing: &Standing) -> Status {
    let code = match refusal {
        Refusal::BadEpoch => Code::InvalidArgument,
        Refusal::NotStored => Code::Internal,
        Refusal::IsPrimary { .. }
        | Refusal::IsBroken { .. }
        | Refusal::StalePrimary { .. }
        | Refusal::PeerNotPrimary { .. }
        | Refusal::OwnId { .. } => Code::FailedPrecondition,
    };
    let mut status = Status::new(code, refusal.to_string());
    put_headers(status.metadata_mut(), standing);
    status
}

pub fn hash_bytes(hash: Hash) -> Bytes {
    match hash.is_none() {
        true => Bytes::new(),
        false => Bytes::copy_from_slice(hash.as_bytes()),
    }
}

/// Empty is no root.
pub fn hash_or_none(bytes: &[u8]) -> Result<Hash, Status> {
    match bytes.is_empty() {
        true => Ok(Hash::NONE),
        false => hash(bytes),
    }
}

pub fn hash(bytes: &[u8]) -> Result<Hash, Status> {
    let bytes: [u8; 20] = bytes
        .try_into()
        .map_err(|_| Status::invalid_argument(format!("a hash of {} bytes, not 20", bytes.len())))?;
    Ok(Hash::from_bytes(bytes))
}

/// `previous` is what the standby has, which may be further back than the record's own.
pub fn root_message(record: &RootRecord, previous: Hash) -> wire::Root {
    wire::Root {
        sequence: record.sequence,
        root: hash_bytes(record.root),
        previous: hash_bytes(previous),
        epoch: record.epoch,
        time_micros: record.time.micros(),
    }
}

pub fn root_record(message: &wire::Root) -> Result<RootRecord, Status> {
    Ok(RootRecord {
        sequence: message.sequence,
        root: hash(&message.root)?,
        previous: hash_or_none(&message.previous)?,
        epoch: message.epoch,
        time: WallTime::from_micros(message.time_micros),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing() -> Standing {
        let server = ServerId([1; 16]);
        let epoch = Epoch::new(7).unwrap();
        Standing {
            server,
            role: Role::Standby,
            epoch,
            accepted: Some(AcceptedPrimary { epoch, server }),
        }
    }

    fn headers(changes: &[(&'static str, &str)]) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        put_headers(&mut metadata, &standing());
        for (key, value) in changes {
            metadata.insert(*key, value.parse().unwrap());
        }
        metadata
    }

    #[test]
    fn headers_read_back() {
        let peer = standing().server;
        let epoch = Epoch::new(7);
        let expected = Event::Request {
            peer,
            role: Some(Role::Standby),
            epoch,
        };
        assert_eq!(request_event(&headers(&[]), peer), Some(expected));
        let expected = Response::Member {
            peer,
            role: Role::Standby,
            epoch: epoch.unwrap(),
            accepted: standing().accepted,
        };
        assert_eq!(response_event(&headers(&[])), Event::Response(expected));
    }

    #[test]
    fn c_110_an_epoch_that_is_no_number_is_told_from_a_missing_one() {
        let peer = standing().server;
        for text in ["x", "-1", "4611686018427387905", ""] {
            let metadata = headers(&[(EPOCH, text)]);
            assert!(
                matches!(request_event(&metadata, peer), Some(Event::Request { epoch: None, .. })),
                "{text:?}"
            );
            assert_eq!(
                response_event(&metadata),
                Event::Response(Response::BadEpoch),
                "{text:?}"
            );
        }
        assert_eq!(request_event(&MetadataMap::new(), peer), None);
    }

    #[test]
    fn a_request_that_names_another_server_than_its_token_is_no_members() {
        assert_eq!(request_event(&headers(&[]), ServerId([2; 16])), None);
        assert!(message_event(Some(&stamp(&standing())), ServerId([2; 16])).is_err());
    }

    #[test]
    fn r10_warns_only_where_somebody_answered() {
        let warned = Some(Event::Response(Response::WithoutRole));
        assert_eq!(error_event(&Status::unauthenticated("")), warned);
        for code in [Code::Unavailable, Code::DeadlineExceeded, Code::Cancelled] {
            assert_eq!(error_event(&Status::new(code, "")), None);
        }
        let broken_pipe = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert_eq!(error_event(&Status::from_error(Box::new(broken_pipe))), None);
        let mut refused = Status::unavailable("");
        put_headers(refused.metadata_mut(), &standing());
        assert!(matches!(
            error_event(&refused),
            Some(Event::Response(Response::Member { .. }))
        ));
    }

    #[test]
    fn hashes_of_peers_have_their_length_checked() {
        assert!(hash(&[1; 19]).is_err());
        assert!(hash(&[1; 21]).is_err());
        assert!(hash_or_none(&[]).unwrap().is_none());
    }
}
