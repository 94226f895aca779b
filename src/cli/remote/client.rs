//! Requests to the admin API, and what can go wrong with them.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use millrace::base::{Secret, VERSION, push_random};
use serde_json::Value;
use ureq::Agent;
use ureq::http::request::Builder;
use ureq::http::{Method, Request};

use super::failure::{Failure, Refused};

/// Where the API begins.
const BASE: &str = "/api/v1";
/// Longest time that a request takes in all; a serve waits for its workers.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(60);
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);
/// Longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// Variable with the token, so that it never stands in a list of processes.
pub(super) const TOKEN_VARIABLE: &str = "MILLRACE_ADMIN_TOKEN";
/// Longest wait that the gateway may ask for, and how often it may.
const WAIT_SECONDS_MAX: u64 = 60;
const WAITS_MAX: u32 = 3;
/// Length of a random `Idempotency-Key`.
const KEY_CHARS: usize = 24;

/// What a request proves itself with.
pub(super) enum Proof {
    /// An admin token.
    Token(Secret),
    /// The session cookie of a login, as `name=value`.
    Cookie(Secret),
    /// Nothing yet.
    None,
}

/// One gateway's admin API.
pub(super) struct Client {
    agent: Agent,
    url: String,
    proof: Proof,
}

/// One request.
pub(super) struct Call<'a> {
    method: Method,
    path: &'a str,
    body: Option<(&'static str, Vec<u8>)>,
    headers: Vec<(&'static str, String)>,
    keyed: bool,
}

/// A successful answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) etag: Option<String>,
    pub(super) cookie: Option<String>,
    retry_after: Option<u64>,
    pub(super) body: Vec<u8>,
}

impl<'a> Call<'a> {
    pub(super) fn get(path: &'a str) -> Self {
        Self::new(Method::GET, path)
    }

    /// A change that may be sent twice without acting twice.
    pub(super) fn post(path: &'a str) -> Self {
        Self { keyed: true, ..Self::new(Method::POST, path) }
    }

    /// A question that needs a body: nothing is changed, so its answer is not kept for a repetition.
    pub(super) fn ask(path: &'a str) -> Self {
        Self::new(Method::POST, path)
    }

    pub(super) fn put(path: &'a str) -> Self {
        Self::new(Method::PUT, path)
    }

    pub(super) fn patch(path: &'a str) -> Self {
        Self::new(Method::PATCH, path)
    }

    pub(super) fn delete(path: &'a str) -> Self {
        Self::new(Method::DELETE, path)
    }

    fn new(method: Method, path: &'a str) -> Self {
        Self { method, path, body: None, headers: Vec::new(), keyed: false }
    }

    pub(super) fn json(mut self, body: &Value) -> Self {
        self.body = Some(("application/json", body.to_string().into_bytes()));
        self
    }

    pub(super) fn yaml(mut self, body: Vec<u8>) -> Self {
        self.body = Some(("application/yaml", body));
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Names the state that was read; nothing for an object without one.
    pub(super) fn if_match(self, etag: Option<&str>) -> Self {
        match etag {
            Some(etag) => self.header("if-match", etag),
            None => self,
        }
    }
}

impl Reply {
    /// The body as JSON; null if there is none.
    pub(super) fn json(&self) -> Result<Value, Failure> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body)
            .map_err(|_| Failure::Unreachable("the answer is not JSON; is this the admin address?".to_owned()))
    }
}

impl Client {
    /// A client of the gateway whose admin API is at `url`.
    pub(super) fn new(url: &str, proof: Proof) -> Result<Self, Failure> {
        let url = url.trim_end_matches('/').to_owned();
        let Some((scheme, rest)) = url.split_once("://").filter(|(scheme, rest)| {
            matches!(*scheme, "http" | "https") && !rest.is_empty() && !rest.contains(['@', '?', '#'])
        }) else {
            return Err(Failure::Usage("--admin-url: expected `http://ADDRESS:PORT` or `https://NAME`".to_owned()));
        };
        if scheme == "http" && !is_loopback(rest) && !matches!(proof, Proof::None) {
            warn("warning: the admin token travels unencrypted; use https, or a tunnel to the loopback address");
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(ANSWER_WAIT_MAX))
            .timeout_connect(Some(CONNECT_WAIT_MAX))
            .user_agent(format!("millrace/{VERSION}"));
        Ok(Self { agent: config.build().new_agent(), url, proof })
    }

    /// Where the API is, for people.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Goes on with another proof.
    pub(super) fn with_proof(self, proof: Proof) -> Self {
        Self { proof, ..self }
    }

    /// Sends a request; a change whose answer is lost is sent once more with the same key.
    pub(super) fn send(&self, call: Call<'_>) -> Result<Reply, Failure> {
        let Call { method, path, body, mut headers, keyed } = call;
        let repeatable = keyed && !matches!(self.proof, Proof::None);
        if repeatable {
            let mut key = String::new();
            push_random(&mut key, KEY_CHARS).context("the system gives no random bytes")?;
            headers.push(("idempotency-key", key));
        }
        let send = || match self.send_once(&method, path, body.as_ref(), &headers) {
            Err(Lost::After(_)) if repeatable => self.send_once(&method, path, body.as_ref(), &headers),
            other => other,
        };
        let unreachable = |lost: Lost| Failure::Unreachable(format!("{}: {}", self.url, lost.text()));
        let mut waits = 0;
        loop {
            let (status, reply) = send().map_err(unreachable)?;
            // Who is not logged in is not told to come back: that would be for guessing passwords.
            let wait = reply.retry_after.filter(|wait| status == 429 && *wait <= WAIT_SECONDS_MAX);
            match wait.filter(|_| waits < WAITS_MAX && !matches!(self.proof, Proof::None)) {
                Some(wait) => {
                    warn(&format!("more requests than the gateway takes in a minute; waiting {wait} s"));
                    thread::sleep(Duration::from_secs(wait));
                    waits += 1;
                }
                None => return accepted((status, reply)),
            }
        }
    }

    /// Begins to read an answer that goes on until one side ends it.
    pub(super) fn follow(&self, path: &str, accept: &str) -> Result<impl Read + use<>, Failure> {
        let unreachable = |error: String| Failure::Unreachable(format!("{}: {error}", self.url));
        let request = self.proved(Request::builder().method(Method::GET), path).header("accept", accept);
        let request = request.body(()).map_err(|error| unreachable(error.to_string()))?;
        let request = self.agent.configure_request(request).timeout_global(None).build();
        let mut response = self.agent.run(request).map_err(|error| unreachable(Lost::from(error).text().to_owned()))?;
        let status = response.status().as_u16();
        if status != 200 {
            let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
            return Err(Failure::Refused(Box::new(Refused::read(status, &body.unwrap_or_default()))));
        }
        Ok(response.into_body().into_reader())
    }

    fn proved(&self, request: Builder, path: &str) -> Builder {
        let request = request.uri(format!("{}{BASE}{path}", self.url));
        match &self.proof {
            Proof::Token(token) => request.header("authorization", format!("Bearer {}", token.reveal())),
            // The API takes a session only from a page of its own.
            Proof::Cookie(cookie) => request
                .header("cookie", cookie.reveal())
                .header("origin", &self.url)
                .header("x-millrace-request", "millrace"),
            Proof::None => request,
        }
    }

    fn send_once(
        &self,
        method: &Method,
        path: &str,
        body: Option<&(&'static str, Vec<u8>)>,
        headers: &[(&'static str, String)],
    ) -> Result<(u16, Reply), Lost> {
        let mut request = self.proved(Request::builder().method(method), path);
        if !headers.iter().any(|(name, _)| *name == "accept") {
            request = request.header("accept", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some((kind, _)) = body {
            request = request.header("content-type", *kind);
        }
        let invalid = |error: ureq::http::Error| Lost::Before(error.to_string());
        let answered = match body {
            Some((_, bytes)) => self.agent.run(request.body(bytes.as_slice()).map_err(invalid)?),
            None => self.agent.run(request.body(()).map_err(invalid)?),
        };
        let mut response = answered.map_err(Lost::from)?;
        let text = |name: &str| response.headers().get(name)?.to_str().ok().map(str::to_owned);
        let (etag, cookie) = (text("etag"), text("set-cookie"));
        let retry_after = text("retry-after").and_then(|seconds| seconds.parse().ok());
        let read = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let body = read.map_err(|error| Lost::After(error.to_string()))?;
        Ok((response.status().as_u16(), Reply { etag, cookie, retry_after, body }))
    }
}

/// Why there is no answer.
enum Lost {
    /// Nothing was sent.
    Before(String),
    /// It may have arrived.
    After(String),
}

impl Lost {
    fn text(&self) -> &str {
        match self {
            Self::Before(text) | Self::After(text) => text,
        }
    }
}

impl From<ureq::Error> for Lost {
    fn from(error: ureq::Error) -> Self {
        let refused = matches!(&error, ureq::Error::Io(io) if io.kind() == std::io::ErrorKind::ConnectionRefused);
        let text = if refused { "connection refused; is the gateway running?".to_owned() } else { error.to_string() };
        match error {
            ureq::Error::Io(_) if !refused => Self::After(text),
            ureq::Error::Protocol(_) | ureq::Error::BodyExceedsLimit(_) => Self::After(text),
            _ => Self::Before(text),
        }
    }
}

fn accepted((status, reply): (u16, Reply)) -> Result<Reply, Failure> {
    if (200..300).contains(&status) {
        return Ok(reply);
    }
    Err(Failure::Refused(Box::new(Refused::read(status, &reply.body))))
}

/// Whether an authority names this machine.
fn is_loopback(authority: &str) -> bool {
    let host = authority.split('/').next().unwrap_or_default();
    let host = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
        .map_or(host, |(host, _)| host);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn warn(text: &str) {
    use std::io::Write as _;
    // Nobody is left to be told when standard error is closed.
    let _ = writeln!(std::io::stderr(), "millrace: {text}");
}

/// The token of the file, else of the variable, else of the login.
pub(super) fn token(file: Option<&Path>, saved: Option<&Path>) -> anyhow::Result<Option<Secret>> {
    if let Some(file) = file {
        return read_token(file).map(Some);
    }
    if let Some(token) = std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty()) {
        return Ok(Some(Secret::new(token)));
    }
    saved.filter(|saved| saved.exists()).map(read_token).transpose()
}

fn read_token(file: &Path) -> anyhow::Result<Secret> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read the token file {}", file.display()))?;
    let token = text.trim();
    if token.is_empty() || token.contains(char::is_whitespace) {
        bail!("the token file {} must hold one admin token and nothing else", file.display());
    }
    Ok(Secret::new(token.to_owned()))
}

/// Writes a text as a part of a path or a value of a query.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Writes the parameters that have a value, from `?` on.
pub(super) fn query(pairs: &[(&str, Option<&str>)]) -> String {
    let set: Vec<_> = pairs.iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded((*value)?)))).collect();
    if set.is_empty() { String::new() } else { format!("?{}", set.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_in_clear_is_fine_on_this_machine_only() {
        for (authority, local) in [
            ("127.0.0.1:9001", true),
            ("localhost", true),
            ("localhost:9001/prefix", true),
            ("[::1]:9001", true),
            ("10.0.0.1:9001", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example:80", false),
        ] {
            assert_eq!(is_loopback(authority), local, "{authority}");
        }
    }

    #[test]
    fn address_that_is_no_address_is_wrong_usage() {
        for url in ["", "gateway:9001", "ftp://x", "http://", "http://user:pass@x", "http://x?y"] {
            assert!(matches!(Client::new(url, Proof::None), Err(Failure::Usage(_))), "{url}");
        }
        assert_eq!(Client::new("http://[::1]:9001/", Proof::None).ok().unwrap().url(), "http://[::1]:9001");
    }

    #[test]
    fn values_cannot_leave_their_parameter() {
        assert_eq!(query(&[("q", Some("a&b=c d/é")), ("none", None)]), "?q=a%26b%3Dc%20d%2F%C3%A9");
        assert_eq!(query(&[("none", None)]), "");
    }
}
