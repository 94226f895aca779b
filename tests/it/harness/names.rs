//! A name server that answers as the test says.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What it says to every question from now on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Says {
    /// These IPv4 addresses, to be used for so many seconds.
    Addresses(&'static [[u8; 4]], u32),
    /// The name exists and has no address.
    NoAddress,
    /// NXDOMAIN.
    NoName,
    /// SERVFAIL.
    Failure,
    /// Nothing at all.
    Silence,
}

/// A name server on loopback, over UDP. Over TCP it accepts and stays silent.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    script: Arc<Mutex<Says>>,
    asked: Arc<Mutex<Vec<String>>>,
    ended: Arc<()>,
    _tcp: TcpListener,
}

impl NameServer {
    pub(crate) fn start(says: Says) -> Self {
        let (socket, tcp) = both_sockets();
        let address = socket.local_addr().unwrap();
        let (script, ended) = (Arc::new(Mutex::new(says)), Arc::new(()));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (says, names, alive) = (Arc::clone(&script), Arc::clone(&asked), Arc::downgrade(&ended));
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        thread::spawn(move || {
            let mut packet = [0; 1500];
            while alive.strong_count() > 0 {
                let Ok((bytes, from)) = socket.recv_from(&mut packet) else { continue };
                let (name, answer) = answer(&packet[..bytes], *says.lock().unwrap());
                names.lock().unwrap().push(name);
                if let Some(answer) = answer {
                    // A test that has ended closes its sockets.
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Self { address, script, asked, ended, _tcp: tcp }
    }

    pub(crate) fn say(&self, says: Says) {
        *self.script.lock().unwrap() = says;
        self.asked.lock().unwrap().clear();
    }

    /// Names asked for since the last [`NameServer::say`].
    pub(crate) fn asked(&self) -> Vec<String> {
        debug_assert_eq!(Arc::strong_count(&self.ended), 1);
        self.asked.lock().unwrap().clone()
    }
}

/// The same port over UDP and TCP.
fn both_sockets() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        if let Ok(tcp) = TcpListener::bind(socket.local_addr().unwrap()) {
            return (socket, tcp);
        }
    }
    panic!("no port is free over both");
}

/// The asked name, and a whole answer (RFC 1035, section 4) to one question.
fn answer(question: &[u8], says: Says) -> (String, Option<Vec<u8>>) {
    let mut labels = Vec::new();
    let mut at = 12;
    while question[at] > 0 {
        let end = at + 1 + usize::from(question[at]);
        labels.push(String::from_utf8_lossy(&question[at + 1..end]).into_owned());
        at = end;
    }
    let kind = u16::from_be_bytes([question[at + 1], question[at + 2]]);
    let name = labels.join(".");
    let (code, addresses, seconds): (u8, &[[u8; 4]], u32) = match says {
        Says::Silence => return (name, None),
        Says::Addresses(addresses, seconds) => (0, addresses, seconds),
        Says::NoAddress => (0, &[], 0),
        Says::Failure => (2, &[], 0),
        Says::NoName => (3, &[], 0),
    };
    let addresses = if kind == 1 { addresses } else { &[] };
    let mut packet = question[..2].to_vec();
    packet.extend([0x81, 0x80 | code, 0, 1, 0, u8::try_from(addresses.len()).unwrap(), 0, 0, 0, 0]);
    packet.extend(&question[12..at + 5]);
    for address in addresses {
        packet.extend([0xc0, 12, 0, 1, 0, 1]);
        packet.extend(seconds.to_be_bytes());
        packet.extend([0, 4]);
        packet.extend(address);
    }
    (name, Some(packet))
}
