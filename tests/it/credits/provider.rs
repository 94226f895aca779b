//! A provider that knows two keys and bills what is asked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

/// The key of a customer of the platform.
pub(super) const OWN: &str = "sk-own-0123456789";
/// The key of the platform.
pub(super) const PLATFORM: &str = "sk-platform-0123456789";

/// Answers chat requests in threads until the test ends.
pub(super) struct Provider {
    pub(super) address: SocketAddr,
    pub(super) state: Arc<State>,
}

#[derive(Default)]
pub(super) struct State {
    /// Whether the customer's key is refused.
    pub(super) refuses_own: AtomicBool,
    /// Status of every answer to the platform's key; 0 is 200.
    pub(super) platform_status: AtomicU64,
    pub(super) by_own: AtomicU64,
    pub(super) by_platform: AtomicU64,
    /// Tokens of a prompt that it bills.
    pub(super) prompt_tokens: AtomicU64,
}

impl Provider {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, state) = (stream.unwrap(), Arc::clone(&shared));
                thread::spawn(move || serve(&stream, &state));
            }
        });
        Self { address, state }
    }
}

fn serve(stream: &TcpStream, state: &State) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut key, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim_end();
            if let Some(value) = line.strip_prefix("authorization: Bearer ") {
                key = value.to_owned();
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let status = status(&key, state);
        let text = match status {
            200 => answer(state.prompt_tokens.load(Ordering::Relaxed)),
            _ => r#"{"error":{"message":"no","type":"invalid_request_error","code":"invalid_api_key"}}"#.to_owned(),
        };
        let head = format!(
            "HTTP/1.1 {status} Any\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        );
        let mut out = stream;
        if out.write_all(head.as_bytes()).is_err() {
            return;
        }
    }
}

fn status(key: &str, state: &State) -> u64 {
    match key {
        OWN => {
            state.by_own.fetch_add(1, Ordering::Relaxed);
            if state.refuses_own.load(Ordering::Relaxed) { 401 } else { 200 }
        }
        PLATFORM => {
            state.by_platform.fetch_add(1, Ordering::Relaxed);
            match state.platform_status.load(Ordering::Relaxed) {
                0 => 200,
                status => status,
            }
        }
        _ => 403,
    }
}

fn answer(prompt_tokens: u64) -> String {
    format!(
        r#"{{"id":"c","object":"chat.completion","created":1,"model":"any","choices":[{{"index":0,"message":{{"role":"assistant","content":"hello"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":{prompt_tokens},"completion_tokens":1,"total_tokens":{}}}}}"#,
        prompt_tokens + 1
    )
}
