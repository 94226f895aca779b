//! A scripted admin API: answers by rule, remembers the asks.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

/// One request as it came in.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) line: String,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// What is answered; status 0 closes the connection without an answer.
pub(super) struct Told {
    status: u16,
    headers: Vec<String>,
    body: Vec<u8>,
}

pub(super) fn told(status: u16, body: &Value) -> Told {
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    Told { status, headers: Vec::new(), body }
}

pub(super) fn yaml(text: &str) -> Told {
    Told { status: 200, headers: vec!["content-type: application/yaml".into()], body: text.into() }
}

impl Told {
    pub(super) fn with(mut self, header: &str) -> Self {
        self.headers.push(header.into());
        self
    }
}

/// The server; ends with its test process.
pub(super) struct Admin {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Admin {
    /// `rule` answers a request; it is told how many came before.
    pub(super) fn start(rule: impl Fn(&Asked, usize) -> Told + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &rule, &seen);
            }
        });
        Self { address, asked }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked, in order.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Request lines of the changes, in order.
    pub(super) fn changes(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).filter(|line| !line.starts_with("GET ")).collect()
    }
}

fn answer(mut stream: TcpStream, rule: &impl Fn(&Asked, usize) -> Told, seen: &Mutex<Vec<Asked>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_owned(), value.to_owned()));
    }
    let mut asked =
        Asked { line: first.replace("/api/v1", "").replace(" HTTP/1.1\r\n", ""), headers, body: Vec::new() };
    let length: usize = asked.header("content-length").parse().unwrap_or(0);
    asked.body.resize(length, 0);
    lines.read_exact(&mut asked.body).unwrap();
    let before = seen.lock().unwrap().len();
    seen.lock().unwrap().push(asked.clone());
    let Told { status, headers, body } = rule(&asked, before);
    if status == 0 {
        return;
    }
    let more: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n{more}\r\n", body.len());
    stream.write_all(&[head.as_bytes(), &body].concat()).unwrap();
}
