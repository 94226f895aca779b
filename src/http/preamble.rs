//! The PROXY protocol v2 preamble between edge and worker.
//!
//! The edge writes it once, before the first byte of a connection, and the worker's own listener for the edge is the only
//! place that reads it (rules E-01, E-02). So who the client is stands outside the bytes that a client can choose. Only what
//! our edge writes is accepted: version 2, command PROXY, a TCP address, and TLVs that fill the rest exactly.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY.
const VERSION_AND_COMMAND: u8 = 0x21;
const TCP_OVER_V4: u8 = 0x11;
const TCP_OVER_V6: u8 = 0x21;
const TLV_ALPN: u8 = 0x01;
const TLV_SSL: u8 = 0x20;
const SSL_VERSION: u8 = 0x21;
/// The client used TLS.
const CLIENT_SSL: u8 = 0x01;
/// The client showed no certificate, so none was verified.
const NOT_VERIFIED: [u8; 4] = 1u32.to_be_bytes();

/// Bytes before the addresses; they say how many follow.
pub const PREAMBLE_HEAD_BYTES: usize = 16;
/// Most bytes of a preamble.
pub const PREAMBLE_BYTES_MAX: usize = 256;

/// What the edge knows of a connection and its client does not choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preamble {
    /// The client.
    pub client: SocketAddr,
    /// The address of the edge that it called.
    pub local: SocketAddr,
    /// Version of TLS, such as `TLSv1_3`.
    pub tls_version: String,
    /// The protocol agreed on inside TLS, such as `h2`; empty without an agreement.
    pub alpn: String,
}

/// Why a preamble is refused. Only our own edge writes them, so the connection is closed without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PreambleError {
    /// Not the signature, version, command or transport that our edge writes.
    #[error("no PROXY v2 preamble of a TCP client")]
    Form,
    /// Longer than [`PREAMBLE_BYTES_MAX`].
    #[error("the preamble is longer than {PREAMBLE_BYTES_MAX} bytes")]
    TooLong,
    /// Addresses or TLVs do not fill it exactly, or one is malformed or missing.
    #[error("malformed addresses or TLVs in the preamble")]
    Fields,
}

impl Preamble {
    /// Encodes it. A name that would not fit is left out.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(96);
        let family = push_addresses(self.client, self.local, &mut body);
        push_tlv(TLV_ALPN, self.alpn.as_bytes(), &mut body);
        let mut ssl = vec![CLIENT_SSL];
        ssl.extend_from_slice(&NOT_VERIFIED);
        push_tlv(SSL_VERSION, self.tls_version.as_bytes(), &mut ssl);
        push_tlv(TLV_SSL, &ssl, &mut body);
        let mut bytes = Vec::with_capacity(PREAMBLE_HEAD_BYTES + body.len());
        bytes.extend_from_slice(SIGNATURE);
        bytes.extend_from_slice(&[VERSION_AND_COMMAND, family]);
        bytes.extend_from_slice(&u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend_from_slice(&body);
        bytes
    }

    /// Says how many bytes follow a preamble's head.
    ///
    /// # Errors
    /// When it is no head of ours, or announces more than [`PREAMBLE_BYTES_MAX`] allows.
    pub fn rest_len(head: &[u8; PREAMBLE_HEAD_BYTES]) -> Result<usize, PreambleError> {
        let [signature @ .., version, family, high, low] = head;
        let family_known = matches!(*family, TCP_OVER_V4 | TCP_OVER_V6);
        if signature != SIGNATURE || *version != VERSION_AND_COMMAND || !family_known {
            return Err(PreambleError::Form);
        }
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        if PREAMBLE_HEAD_BYTES + len > PREAMBLE_BYTES_MAX { Err(PreambleError::TooLong) } else { Ok(len) }
    }

    /// Decodes what follows the head.
    ///
    /// # Errors
    /// [`PreambleError::Fields`] when it is not exactly what our edge writes.
    pub fn decode(head: &[u8; PREAMBLE_HEAD_BYTES], rest: &[u8]) -> Result<Self, PreambleError> {
        if Self::rest_len(head)? != rest.len() {
            return Err(PreambleError::Fields);
        }
        let is_v4 = head.get(13) == Some(&TCP_OVER_V4);
        let (client, local, mut tlvs) = if is_v4 { addresses_v4(rest) } else { addresses_v6(rest) }?;
        let (mut tls_version, mut alpn) = (None, None);
        while !tlvs.is_empty() {
            let (kind, value, after) = take_tlv(tlvs)?;
            tlvs = after;
            let once = match kind {
                TLV_ALPN => alpn.replace(text(value)?).is_none(),
                TLV_SSL => tls_version.replace(version_of(value)?).is_none(),
                _ => false,
            };
            if !once {
                return Err(PreambleError::Fields);
            }
        }
        let (Some(tls_version), Some(alpn)) = (tls_version, alpn) else {
            return Err(PreambleError::Fields);
        };
        Ok(Self { client, local, tls_version, alpn })
    }
}

fn push_addresses(client: SocketAddr, local: SocketAddr, out: &mut Vec<u8>) -> u8 {
    let family = if let (IpAddr::V4(from), IpAddr::V4(to)) = (client.ip().to_canonical(), local.ip().to_canonical()) {
        out.extend_from_slice(&from.octets());
        out.extend_from_slice(&to.octets());
        TCP_OVER_V4
    } else {
        let as_v6 = |address: IpAddr| match address {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        out.extend_from_slice(&as_v6(client.ip()).octets());
        out.extend_from_slice(&as_v6(local.ip()).octets());
        TCP_OVER_V6
    };
    out.extend_from_slice(&client.port().to_be_bytes());
    out.extend_from_slice(&local.port().to_be_bytes());
    family
}

fn push_tlv(kind: u8, value: &[u8], out: &mut Vec<u8>) {
    // Versions and protocols have a few letters; nothing longer is ever agreed on.
    let value = value.get(..64).unwrap_or(value);
    out.push(kind);
    out.extend_from_slice(&u16::try_from(value.len()).unwrap_or(0).to_be_bytes());
    out.extend_from_slice(value);
}

type Addresses<'a> = (SocketAddr, SocketAddr, &'a [u8]);

fn addresses_v4(rest: &[u8]) -> Result<Addresses<'_>, PreambleError> {
    let (from, rest) = rest.split_first_chunk::<4>().ok_or(PreambleError::Fields)?;
    let (to, rest) = rest.split_first_chunk::<4>().ok_or(PreambleError::Fields)?;
    let (from_port, to_port, rest) = ports(rest)?;
    let address = |octets: &[u8; 4], port| SocketAddr::from((Ipv4Addr::from(*octets), port));
    Ok((address(from, from_port), address(to, to_port), rest))
}

fn addresses_v6(rest: &[u8]) -> Result<Addresses<'_>, PreambleError> {
    let (from, rest) = rest.split_first_chunk::<16>().ok_or(PreambleError::Fields)?;
    let (to, rest) = rest.split_first_chunk::<16>().ok_or(PreambleError::Fields)?;
    let (from_port, to_port, rest) = ports(rest)?;
    let address = |octets: &[u8; 16], port| SocketAddr::new(Ipv6Addr::from(*octets).to_canonical(), port);
    Ok((address(from, from_port), address(to, to_port), rest))
}

fn ports(rest: &[u8]) -> Result<(u16, u16, &[u8]), PreambleError> {
    let (from, rest) = rest.split_first_chunk::<2>().ok_or(PreambleError::Fields)?;
    let (to, rest) = rest.split_first_chunk::<2>().ok_or(PreambleError::Fields)?;
    Ok((u16::from_be_bytes(*from), u16::from_be_bytes(*to), rest))
}

fn take_tlv(tlvs: &[u8]) -> Result<(u8, &[u8], &[u8]), PreambleError> {
    let ([kind, high, low], rest) = tlvs.split_first_chunk::<3>().ok_or(PreambleError::Fields)?;
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    let (value, rest) = rest.split_at_checked(len).ok_or(PreambleError::Fields)?;
    Ok((*kind, value, rest))
}

/// The version inside the TLV that says what the client's TLS was.
fn version_of(ssl: &[u8]) -> Result<String, PreambleError> {
    let (head, tlvs) = ssl.split_first_chunk::<5>().ok_or(PreambleError::Fields)?;
    let [client, verified @ ..] = head;
    let (kind, value, rest) = take_tlv(tlvs)?;
    let ours = *client == CLIENT_SSL && verified == &NOT_VERIFIED && kind == SSL_VERSION && rest.is_empty();
    if ours { text(value) } else { Err(PreambleError::Fields) }
}

fn text(value: &[u8]) -> Result<String, PreambleError> {
    let printable = value.iter().all(u8::is_ascii_graphic);
    if !printable {
        return Err(PreambleError::Fields);
    }
    String::from_utf8(value.to_vec()).map_err(|_| PreambleError::Fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preamble(client: &str, local: &str) -> Preamble {
        Preamble {
            client: client.parse().unwrap(),
            local: local.parse().unwrap(),
            tls_version: "TLSv1_3".to_owned(),
            alpn: "h2".to_owned(),
        }
    }

    fn decode(bytes: &[u8]) -> Result<Preamble, PreambleError> {
        let (head, rest) = bytes.split_first_chunk().ok_or(PreambleError::Form)?;
        Preamble::decode(head, rest)
    }

    #[test]
    fn what_the_edge_writes_is_read_back() {
        for (client, local) in [
            ("192.0.2.7:51000", "198.51.100.1:443"),
            ("[2001:db8::7]:51000", "[2001:db8::1]:443"),
            ("[2001:db8::7]:1", "198.51.100.1:443"),
        ] {
            let sent = preamble(client, local);
            assert_eq!(decode(&sent.encode()), Ok(sent), "{client}");
        }
        // A client of IPv4 at a listener of IPv6 has its own address, not a mapped one.
        let seen = decode(&preamble("[::ffff:192.0.2.7]:5", "[::ffff:192.0.2.1]:443").encode()).unwrap();
        assert_eq!(seen.client, "192.0.2.7:5".parse().unwrap());
    }

    #[test]
    fn address_is_where_the_standard_has_it() {
        let bytes = preamble("1.2.3.4:258", "5.6.7.8:443").encode();
        assert_eq!(
            bytes.get(..28).unwrap(),
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x23\x01\x02\x03\x04\x05\x06\x07\x08\x01\x02\x01\xbb"
        );
    }

    #[test]
    fn everything_else_is_refused() {
        let good = preamble("1.2.3.4:5", "5.6.7.8:443").encode();
        for cut in 0..good.len() {
            assert!(decode(&good[..cut]).is_err(), "cut at {cut}");
        }
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes
        };
        let longer = [good.as_slice(), b"x"].concat();
        for (name, bytes, want) in [
            ("another signature", with(0, b'P'), PreambleError::Form),
            ("version 1", with(12, 0x11), PreambleError::Form),
            ("local command", with(12, 0x20), PreambleError::Form),
            ("a datagram", with(13, 0x12), PreambleError::Form),
            ("no address", with(13, 0x00), PreambleError::Form),
            ("too long", with(14, 0xff), PreambleError::TooLong),
            ("more than announced", longer, PreambleError::Fields),
            ("unknown tlv", with(28, 0x07), PreambleError::Fields),
            ("tlv twice", with(33, TLV_ALPN), PreambleError::Fields),
            ("no tls", with(36, 0), PreambleError::Fields),
            ("a line feed in a name", with(31, b'\n'), PreambleError::Fields),
        ] {
            assert_eq!(decode(&bytes), Err(want), "{name}");
        }
    }
}
