//! Which key sent a request, decided before its body is read.

use crate::{
    http::{Part, RequestHead},
    wire::ErrorCase,
};

use super::reply::Refusal;

/// Finds the one key of a request in the headers that may carry it.
///
/// # Errors
/// A refusal when there is none, or when two headers name different keys.
pub(super) fn key_of<'a>(head: &RequestHead, bytes: &'a [u8]) -> Result<&'a [u8], Refusal> {
    let part = |part: Option<Part>| part.map(|part| part.of(bytes));
    let bearer =
        match part(head.authorization) {
            None => None,
            Some(value) => Some(strip_bearer(value).ok_or_else(|| {
                Refusal::new(ErrorCase::InvalidKey, "`Authorization` must be `Bearer` and an API key")
            })?),
        };
    let mut found: Option<&[u8]> = None;
    for key in [bearer, part(head.x_api_key), part(head.api_key)].into_iter().flatten() {
        match found {
            Some(first) if first != key => {
                return Err(Refusal::new(ErrorCase::TwoKeys, "the request carries two different API keys; send one"));
            }
            _ => found = Some(key),
        }
    }
    match found {
        Some(key) if !key.is_empty() => Ok(key),
        _ => {
            Err(Refusal::new(ErrorCase::InvalidKey, "no API key was sent; send it as `Authorization: Bearer YOUR_KEY`"))
        }
    }
}

fn strip_bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| rest.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{HeadLimits, parse_request};

    #[test]
    fn one_key_is_found_in_any_of_its_headers() {
        let limits = HeadLimits { bytes_max: 4096, fields_max: 20 };
        for (fields, want) in [
            ("Authorization: Bearer k1\r\n", Ok("k1")),
            ("authorization: bearer  k1\r\n", Ok("k1")),
            ("x-api-key: k1\r\n", Ok("k1")),
            ("api-key: k1\r\n", Ok("k1")),
            ("x-api-key: k1\r\nAuthorization: Bearer k1\r\n", Ok("k1")),
            ("x-api-key: k1\r\nAuthorization: Bearer k2\r\n", Err(ErrorCase::TwoKeys)),
            ("Authorization: Basic k1\r\n", Err(ErrorCase::InvalidKey)),
            ("Authorization: Bearer \r\n", Err(ErrorCase::InvalidKey)),
            ("", Err(ErrorCase::InvalidKey)),
        ] {
            let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
            let head = parse_request(text.as_bytes(), limits).unwrap();
            let got = key_of(&head, text.as_bytes()).map_err(|refusal| refusal.case);
            assert_eq!(got, want.map(str::as_bytes), "{fields}");
        }
    }
}
