//! A provider that holds every answer until it is told.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// It begins each stream with the event `begun`, answers nothing else, and ends all when told to.
pub(crate) struct Holding {
    pub(crate) address: SocketAddr,
    told: Arc<Told>,
}

#[derive(Default)]
struct Told {
    is_told: Mutex<bool>,
    bell: Condvar,
}

impl Holding {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, told) = (listener.local_addr().unwrap(), Arc::new(Told::default()));
        let heard = Arc::clone(&told);
        // It ends with the test binary, and so do its connections.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let heard = Arc::clone(&heard);
                thread::spawn(move || hold(stream, &heard));
            }
        });
        Self { address, told }
    }

    /// Answers all that wait, and whoever comes from now on.
    pub(crate) fn let_go(&self) {
        *self.told.is_told.lock().unwrap() = true;
        self.told.bell.notify_all();
    }
}

/// The exchanges of one connection. A peer that closes ends them, and so does its error.
fn hold(mut stream: TcpStream, told: &Told) {
    loop {
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            let mut buffer = [0; 4096];
            match stream.read(&mut buffer) {
                Ok(count) if count > 0 => request.extend_from_slice(&buffer[..count]),
                _ => return,
            }
        }
        let is_stream = memchr::memmem::find(&request, br#""stream":true"#).is_some();
        let (begin, end) = if is_stream { of_stream() } else { of_plain() };
        if stream.write_all(begin.as_bytes()).is_err() {
            return;
        }
        let is_told = told.is_told.lock().unwrap();
        drop(told.bell.wait_while(is_told, |is_told| !*is_told).unwrap());
        if stream.write_all(end.as_bytes()).is_err() {
            return;
        }
    }
}

fn of_plain() -> (String, String) {
    let body = super::COMPLETION;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    (String::new(), head + body)
}

fn of_stream() -> (String, String) {
    let event = |content: &str, finish: &str| {
        format!(
            "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\
             \"delta\":{{\"content\":\"{content}\"}},\"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let begin = head.to_owned() + &chunk(&event("begun", "null"));
    (begin, chunk(&event("finished", "\"stop\"")) + &chunk("data: [DONE]\n\n") + "0\r\n\r\n")
}
