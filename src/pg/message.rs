//! What clients send, decoded strictly.
//!
//! Two steps, because they fail differently: a frame that cannot be delimited ends the connection (nobody knows where
//! the next message begins), while a delimited message with a bad body is an ordinary error. A library's decoder is not
//! used here: those at hand read past the end of a short body and so panic, or eat the next message.
//!
//! Invariants
//! - No bytes make it panic, and nothing is allocated for a length that a client only claims.
//! - A body is consumed whole or refused: trailing bytes are an error.

use bytes::{Buf, Bytes, BytesMut};

/// Longest packet before authentication, and longest message of the kinds that are always short. As PostgreSQL.
pub(super) const SMALL_BYTES_MAX: usize = 10_000;

const PROTOCOL_SSL: u32 = 80_877_103;
const PROTOCOL_GSS: u32 = 80_877_104;
const PROTOCOL_CANCEL: u32 = 80_877_102;

/// The first packet of a connection, which has no kind byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FirstPacket {
    Ssl,
    Gss,
    Cancel {
        pid: i32,
        secret: i32,
    },
    Startup {
        major: u16,
        minor: u16,
        parameters: Vec<(String, String)>,
    },
}

/// A delimited message whose body has not been looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub kind: u8,
    pub body: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Query(String),
    Parse {
        name: String,
        sql: String,
        types: Vec<u32>,
    },
    Bind(Bind),
    Describe {
        target: Target,
        name: String,
    },
    /// `rows_max` 0 is all.
    Execute {
        portal: String,
        rows_max: u32,
    },
    Close {
        target: Target,
        name: String,
    },
    Flush,
    Sync,
    Terminate,
    CopyData(Bytes),
    CopyDone,
    CopyFail(String),
    FunctionCall,
    /// Any answer to an authentication request: its meaning depends on the request.
    Password(Bytes),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bind {
    pub portal: String,
    pub statement: String,
    pub parameter_formats: Vec<i16>,
    pub parameters: Vec<Option<Bytes>>,
    pub result_formats: Vec<i16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Statement,
    Portal,
}

/// Why bytes are no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MessageError {
    #[error("invalid length of startup packet")]
    StartupLength,
    #[error("invalid startup packet layout: {0}")]
    StartupLayout(&'static str),
    #[error("invalid frontend message type {0}")]
    UnknownKind(u8),
    #[error("invalid message length {length}: messages of type \"{}\" have from 4 to {length_max} bytes", char::from(*kind))]
    Length { kind: u8, length: u32, length_max: usize },
    #[error("invalid message format: {0}")]
    Body(&'static str),
    #[error("invalid byte sequence for encoding \"UTF8\"")]
    NotUtf8,
}

/// Takes the first packet from `buffer` once all of it is there.
pub(super) fn take_first(buffer: &mut BytesMut) -> Result<Option<FirstPacket>, MessageError> {
    let Some(length) = peek_length(buffer, 0) else {
        return Ok(None);
    };
    let length = length as usize;
    if !(8..=SMALL_BYTES_MAX).contains(&length) {
        return Err(MessageError::StartupLength);
    }
    if buffer.len() < length {
        return Ok(None);
    }
    let mut body = Body(buffer.split_to(length).freeze());
    body.0.advance(4);
    let code = body.u32()?;
    let packet = match code {
        PROTOCOL_SSL => FirstPacket::Ssl,
        PROTOCOL_GSS => FirstPacket::Gss,
        // Keys may be longer since protocol 3.2; ours have four bytes in every version.
        PROTOCOL_CANCEL => FirstPacket::Cancel {
            pid: body.u32()? as i32,
            secret: body.u32()? as i32,
        },
        _ => {
            let mut parameters = Vec::new();
            // A protocol of another major version may have another layout, and is refused for its version.
            if code >> 16 == 3 {
                loop {
                    let name = body
                        .text()
                        .map_err(|_| MessageError::StartupLayout("a name is not terminated"))?;
                    if name.is_empty() {
                        break;
                    }
                    let value = body
                        .text()
                        .map_err(|_| MessageError::StartupLayout("a value is not terminated"))?;
                    parameters.push((name, value));
                }
                body.end()
                    .map_err(|_| MessageError::StartupLayout("expected terminator as last byte"))?;
            }
            FirstPacket::Startup {
                major: (code >> 16) as u16,
                minor: (code & 0xffff) as u16,
                parameters,
            }
        }
    };
    Ok(Some(packet))
}

/// Takes the next frame from `buffer` once all of it is there. An error ends the connection.
pub(super) fn take_frame(buffer: &mut BytesMut, length_max: usize) -> Result<Option<Frame>, MessageError> {
    let Some(&kind) = buffer.first() else { return Ok(None) };
    let length_max = match kind {
        b'Q' | b'P' | b'B' | b'F' | b'd' => length_max,
        b'D' | b'E' | b'C' | b'H' | b'S' | b'X' | b'c' | b'f' | b'p' => SMALL_BYTES_MAX.min(length_max),
        _ => return Err(MessageError::UnknownKind(kind)),
    };
    let Some(length) = peek_length(buffer, 1) else {
        return Ok(None);
    };
    if !(4..=length_max).contains(&(length as usize)) {
        return Err(MessageError::Length {
            kind,
            length,
            length_max,
        });
    }
    if buffer.len() < 1 + length as usize {
        return Ok(None);
    }
    let mut body = buffer.split_to(1 + length as usize).freeze();
    body.advance(5);
    Ok(Some(Frame { kind, body }))
}

fn peek_length(buffer: &BytesMut, at: usize) -> Option<u32> {
    let bytes = buffer.get(at..at + 4)?;
    Some(u32::from_be_bytes(bytes.try_into().expect("a slice of four bytes")))
}

impl Frame {
    /// Messages after whose failure everything up to the next Sync is skipped.
    pub(super) fn is_extended(&self) -> bool {
        matches!(self.kind, b'P' | b'B' | b'D' | b'E' | b'C' | b'H')
    }

    pub(super) fn decode(self) -> Result<Message, MessageError> {
        let mut body = Body(self.body);
        let message = match self.kind {
            b'Q' => Message::Query(body.text()?),
            b'P' => Message::Parse {
                name: body.text()?,
                sql: body.text()?,
                types: body.list(4, Body::u32)?,
            },
            b'B' => Message::Bind(body.bind()?),
            b'D' => Message::Describe {
                target: body.target()?,
                name: body.text()?,
            },
            b'E' => Message::Execute {
                portal: body.text()?,
                rows_max: body.u32()?,
            },
            b'C' => Message::Close {
                target: body.target()?,
                name: body.text()?,
            },
            b'H' => Message::Flush,
            b'S' => Message::Sync,
            b'X' => Message::Terminate,
            b'd' => return Ok(Message::CopyData(body.0)),
            b'c' => Message::CopyDone,
            b'f' => Message::CopyFail(body.text()?),
            b'F' => return Ok(Message::FunctionCall),
            b'p' => return Ok(Message::Password(body.0)),
            kind => return Err(MessageError::UnknownKind(kind)),
        };
        body.end()?;
        Ok(message)
    }
}

/// What is left of a body.
pub(super) struct Body(pub Bytes);

impl Body {
    fn need(&self, bytes: usize) -> Result<(), MessageError> {
        if self.0.len() < bytes {
            Err(MessageError::Body("insufficient data left in message"))
        } else {
            Ok(())
        }
    }

    fn u8(&mut self) -> Result<u8, MessageError> {
        self.need(1)?;
        Ok(self.0.get_u8())
    }

    fn i16(&mut self) -> Result<i16, MessageError> {
        self.need(2)?;
        Ok(self.0.get_i16())
    }

    fn u32(&mut self) -> Result<u32, MessageError> {
        self.need(4)?;
        Ok(self.0.get_u32())
    }

    /// Text up to a zero byte.
    pub(super) fn text(&mut self) -> Result<String, MessageError> {
        let end = self.0.iter().position(|byte| *byte == 0);
        let end = end.ok_or(MessageError::Body("a text is not terminated"))?;
        let bytes = self.0.split_to(end);
        self.0.advance(1);
        std::str::from_utf8(&bytes)
            .map(str::to_owned)
            .map_err(|_| MessageError::NotUtf8)
    }

    /// A count and as many items, of at least `item_bytes` each.
    fn list<T>(
        &mut self,
        item_bytes: usize,
        mut item: impl FnMut(&mut Body) -> Result<T, MessageError>,
    ) -> Result<Vec<T>, MessageError> {
        self.need(2)?;
        let count = usize::from(self.0.get_u16());
        self.need(count * item_bytes)?;
        (0..count).map(|_| item(self)).collect()
    }

    /// Bytes after their length, or nothing for -1.
    pub(super) fn counted(&mut self) -> Result<Option<Bytes>, MessageError> {
        match self.u32()? as i32 {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| MessageError::Body("a length is negative"))?;
                self.need(length)?;
                Ok(Some(self.0.split_to(length)))
            }
        }
    }

    fn target(&mut self) -> Result<Target, MessageError> {
        match self.u8()? {
            b'S' => Ok(Target::Statement),
            b'P' => Ok(Target::Portal),
            _ => Err(MessageError::Body("neither a statement nor a portal is meant")),
        }
    }

    fn bind(&mut self) -> Result<Bind, MessageError> {
        Ok(Bind {
            portal: self.text()?,
            statement: self.text()?,
            parameter_formats: self.list(2, Body::i16)?,
            parameters: self.list(4, Body::counted)?,
            result_formats: self.list(2, Body::i16)?,
        })
    }

    pub(super) fn end(&self) -> Result<(), MessageError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(MessageError::Body("data is left over at its end"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BufMut;
    use proptest::prelude::*;

    fn frame(kind: u8, body: &[u8]) -> BytesMut {
        let mut buffer = BytesMut::new();
        buffer.put_u8(kind);
        buffer.put_u32(body.len() as u32 + 4);
        buffer.put_slice(body);
        buffer
    }

    fn startup(body: &[u8]) -> BytesMut {
        let mut buffer = BytesMut::new();
        buffer.put_u32(body.len() as u32 + 4);
        buffer.put_slice(body);
        buffer
    }

    fn decoded(kind: u8, body: &[u8]) -> Result<Message, MessageError> {
        take_frame(&mut frame(kind, body), 1 << 20).unwrap().unwrap().decode()
    }

    #[test]
    fn every_kind_decodes() {
        let bind = b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x02hi\xff\xff\xff\xff\0\x01\0\x00";
        let bind_message = Message::Bind(Bind {
            portal: "p".into(),
            statement: "s".into(),
            parameter_formats: vec![1],
            parameters: vec![Some(Bytes::from_static(b"hi")), None],
            result_formats: vec![0],
        });
        let parse = Message::Parse {
            name: "n".into(),
            sql: "select $1".into(),
            types: vec![23],
        };
        let cases: Vec<(u8, &[u8], Message)> = vec![
            (b'Q', b"select 1\0", Message::Query("select 1".into())),
            (b'P', b"n\0select $1\0\0\x01\0\0\0\x17", parse),
            (b'B', bind, bind_message),
            (
                b'D',
                b"S\0",
                Message::Describe {
                    target: Target::Statement,
                    name: String::new(),
                },
            ),
            (
                b'E',
                b"p\0\0\0\0\x05",
                Message::Execute {
                    portal: "p".into(),
                    rows_max: 5,
                },
            ),
            (
                b'C',
                b"Px\0",
                Message::Close {
                    target: Target::Portal,
                    name: "x".into(),
                },
            ),
            (b'H', b"", Message::Flush),
            (b'S', b"", Message::Sync),
            (b'X', b"", Message::Terminate),
            (b'd', b"1\t2\n", Message::CopyData(Bytes::from_static(b"1\t2\n"))),
            (b'c', b"", Message::CopyDone),
            (b'f', b"why\0", Message::CopyFail("why".into())),
            (b'F', b"\0\0", Message::FunctionCall),
            (b'p', b"secret\0", Message::Password(Bytes::from_static(b"secret\0"))),
        ];
        for (kind, body, expected) in cases {
            assert_eq!(decoded(kind, body), Ok(expected), "{}", kind as char);
        }
    }

    #[test]
    fn bad_bodies_are_errors_that_leave_the_next_message_alone() {
        let cases: [(u8, &[u8]); 9] = [
            (b'Q', b"select 1"),
            (b'Q', b"a\0b"),
            (b'P', b"n\0q\0\0\x05\0\0"),
            (b'P', b"n\0q\0"),
            (b'B', b"p\0s\0\0\0\0\x01\x7f\xff\xff\xff"),
            (b'B', b"p\0s\0\0\0\0\x01\xff\xff\xff\xfe\0\0"),
            (b'D', b"Z\0"),
            (b'E', b"p\0\0"),
            (b'S', b"x"),
        ];
        for (kind, body) in cases {
            let mut buffer = frame(kind, body);
            buffer.extend_from_slice(&frame(b'S', b""));
            assert!(
                take_frame(&mut buffer, 1 << 20).unwrap().unwrap().decode().is_err(),
                "{}",
                kind as char
            );
            assert_eq!(
                take_frame(&mut buffer, 1 << 20).unwrap().unwrap().decode(),
                Ok(Message::Sync)
            );
        }
        assert_eq!(decoded(b'Q', b"\xff\xfe\0"), Err(MessageError::NotUtf8));
    }

    #[test]
    fn a_claimed_length_is_judged_before_its_bytes_arrive() {
        let mut long = BytesMut::from(&b"Q\x7f\xff\xff\xff"[..]);
        assert!(matches!(
            take_frame(&mut long, 1 << 20),
            Err(MessageError::Length { .. })
        ));
        let mut short = BytesMut::from(&b"Q\0\0\0\x03"[..]);
        assert!(matches!(
            take_frame(&mut short, 1 << 20),
            Err(MessageError::Length { .. })
        ));
        let mut small = BytesMut::from(&b"S\0\0\xff\xff"[..]);
        assert!(matches!(
            take_frame(&mut small, 1 << 20),
            Err(MessageError::Length { .. })
        ));
        assert_eq!(
            take_frame(&mut BytesMut::from(&b"?"[..]), 1 << 20),
            Err(MessageError::UnknownKind(b'?'))
        );
        assert_eq!(
            take_frame(&mut BytesMut::from(&b"Q\0\0\0\x09abc"[..]), 1 << 20),
            Ok(None)
        );
    }

    #[test]
    fn first_packets() {
        let parameters = vec![
            ("user".to_owned(), "u".to_owned()),
            ("database".to_owned(), String::new()),
        ];
        assert_eq!(
            take_first(&mut startup(b"\0\x03\0\x02user\0u\0database\0\0\0")),
            Ok(Some(FirstPacket::Startup {
                major: 3,
                minor: 2,
                parameters
            }))
        );
        assert_eq!(
            take_first(&mut startup(b"\x04\xd2\x16\x2f")),
            Ok(Some(FirstPacket::Ssl))
        );
        assert_eq!(
            take_first(&mut startup(b"\x04\xd2\x16\x30")),
            Ok(Some(FirstPacket::Gss))
        );
        let cancel = b"\x04\xd2\x16\x2e\0\0\0\x07\xff\xff\xff\xff";
        assert_eq!(
            take_first(&mut startup(cancel)),
            Ok(Some(FirstPacket::Cancel { pid: 7, secret: -1 }))
        );
        assert_eq!(
            take_first(&mut BytesMut::from(&b"GET / HTTP/1.1\r\n"[..])),
            Err(MessageError::StartupLength)
        );
        assert_eq!(take_first(&mut startup(b"")), Err(MessageError::StartupLength));
        for layout in [
            &b"\0\x03\0\0user\0u\0"[..],
            b"\0\x03\0\0user\0",
            b"\0\x03\0\0user\0u\0\0x",
            b"\0\x03\0\0u",
        ] {
            assert!(
                matches!(take_first(&mut startup(layout)), Err(MessageError::StartupLayout(_))),
                "{layout:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), kind in 0usize..15) {
            let _ = take_first(&mut BytesMut::from(&bytes[..]));
            let _ = take_frame(&mut BytesMut::from(&bytes[..]), 1 << 20);
            let _ = decoded(b"QPBDECHSXdcfFpp"[kind], &bytes);
            let _ = take_first(&mut startup(&bytes));
        }
    }
}
