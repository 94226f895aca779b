//! A provider of transcriptions, told what to say by a model.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// A provider that keeps what it was sent.
pub(super) struct Provider {
    /// Where it listens.
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    count: Arc<AtomicUsize>,
}

/// One request as it came.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// The head with its empty line.
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Provider {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, count) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (kept, counted) = (Arc::clone(&seen), Arc::clone(&count));
        // Ends with the process of the tests.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (kept, counted) = (Arc::clone(&kept), Arc::clone(&counted));
                thread::spawn(move || serve(stream.unwrap(), &kept, &counted));
            }
        });
        Self { address, seen, count }
    }

    /// The newest request.
    pub(super) fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().unwrap().clone()
    }

    /// How many requests came.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

fn serve(mut stream: TcpStream, kept: &Mutex<Vec<Seen>>, counted: &AtomicUsize) {
    let mut unread = Vec::new();
    while let Some(seen) = read(&mut stream, &mut unread) {
        counted.fetch_add(1, Ordering::Relaxed);
        let answer = answer(&seen.body);
        let closes = !seen.body.is_empty() && answer.windows(7).any(|part| part == b": close");
        {
            let mut kept = kept.lock().unwrap();
            // A burst has many, and nobody asks for them.
            if kept.len() >= 64 {
                kept.clear();
            }
            kept.push(seen);
        }
        if stream.write_all(&answer).is_err() || closes {
            return;
        }
    }
}

fn read(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<Seen> {
    let mut more = |unread: &mut Vec<u8>| {
        let mut bytes = [0; 16 << 10];
        let count = stream.read(&mut bytes).unwrap_or(0);
        unread.extend_from_slice(&bytes[..count]);
        count > 0
    };
    let end = loop {
        if let Some(at) = memchr::memmem::find(unread, b"\r\n\r\n") {
            break at + 4;
        }
        if !more(unread) {
            return None;
        }
    };
    let head = String::from_utf8(unread[..end].to_vec()).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse::<usize>().unwrap();
    while unread.len() < end + length {
        if !more(unread) {
            return None;
        }
    }
    let rest = unread.split_off(end + length);
    let body = unread.split_off(end);
    *unread = rest;
    Some(Seen { head, body })
}

const DELTA: &str = "data: {\"type\":\"transcript.text.delta\",\"delta\":\"Hello\"}\n\n";

fn answer(body: &[u8]) -> Vec<u8> {
    let at = memchr::memmem::find(body, b"name=\"model\"\r\n\r\n").unwrap() + 16;
    let end = memchr::memchr(b'\r', &body[at..]).unwrap() + at;
    let model = std::str::from_utf8(&body[at..end]).unwrap();
    let json = "application/json";
    match model {
        "seconds" => whole(200, json, r#"{"text":"Hello","usage":{"type":"duration","seconds":4}}"#),
        "exact" => whole(200, json, r#"{"text":"Hello","usage":{"type":"duration","seconds":1}}"#),
        "long" => whole(200, json, r#"{"text":"Hello","usage":{"type":"duration","seconds":600}}"#),
        "verbose" => whole(200, json, r#"{"task":"transcribe","language":"english","duration":3.3,"text":"Hello"}"#),
        "silent" => whole(200, json, r#"{"text":"Hello"}"#),
        "tokens" => whole(
            200,
            json,
            r#"{"text":"Hello","usage":{"type":"tokens","input_tokens":33,"input_token_details":{"text_tokens":0,"audio_tokens":33},"output_tokens":2,"total_tokens":35}}"#,
        ),
        "text" => whole(200, "text/plain; charset=utf-8", "Hello\n"),
        "vtt" => whole(200, "text/vtt", "WEBVTT\n\n00:00.000 --> 00:03.300\nHello\n"),
        "odd-type" => whole(200, &"x/".repeat(60), "Hello\n"),
        "page" => whole(200, "text/html", "<!DOCTYPE html><title>Sign in</title>"),
        "error" => whole(
            400,
            json,
            r#"{"error":{"message":"bad file","type":"invalid_request_error","param":"file","code":"invalid_value"}}"#,
        ),
        "down" => whole(500, json, r#"{"error":{"message":"oops"}}"#),
        "false-200" => whole(200, json, r#"{"error":{"message":"oops"}}"#),
        "stream" => stream(&format!(
            "{DELTA}{DELTA}data: {{\"type\":\"transcript.text.done\",\"text\":\"HelloHello\",\"usage\":{{\"type\":\"duration\",\"seconds\":4}}}}\n\n"
        )),
        "marked" => stream(&format!(
            "{DELTA}data: {{\"type\":\"transcript.text.done\",\"text\":\"Hello\"}}\n\ndata: [DONE]\n\n"
        )),
        "cut" => stream(DELTA),
        other => panic!("no model {other}"),
    }
}

fn whole(status: u16, content_type: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

/// Ends with its connection.
fn stream(events: &str) -> Vec<u8> {
    let length = events.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n\
         {length:x}\r\n{events}\r\n0\r\n\r\n"
    )
    .into_bytes()
}
