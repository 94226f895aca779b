//! Alerts over sockets: a webhook that is signed, an e-mail.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ring::hmac;
use serde_json::{Value, json};

use crate::harness::{DEADLINE, Gateway, eventually};
use crate::keys::{Project, text};

const SECRET: &str = "0123456789abcdef";
/// Each request costs one cent, each key has ten.
const TEN_CENTS: &str = "chat_models: [{model_id: m, model: mock/m, max_output_tokens: 64}]\n\
    prices: [{model: mock/m, input: 0, output: 0, per_request: 0.01}]\n\
    routes:\n  chat:\n    chat_models: [m]\n    budget_limiting: {window_size: 1 day, max_budget: 0.1, scope: key}\n";

/// Head, in small letters, and body of what a receiver got.
type Got = Arc<Mutex<Vec<(String, String)>>>;

/// A receiver of webhooks that answers with these statuses, then with 204.
fn receiver(statuses: &'static [u16]) -> (SocketAddr, Got) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, got) = (listener.local_addr().unwrap(), Got::default());
    let noted = Arc::clone(&got);
    thread::spawn(move || {
        let mut statuses = statuses.iter();
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line).unwrap_or(0) <= 2 {
                    break;
                }
                let line = line.to_ascii_lowercase();
                if let Some(said) = line.strip_prefix("content-length:") {
                    length = said.trim().parse().unwrap();
                }
                head.push_str(&line);
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            noted.lock().unwrap().push((head, String::from_utf8(body).unwrap()));
            let status = statuses.next().unwrap_or(&204);
            let _ = write!(stream.get_mut(), "HTTP/1.1 {status} Said\r\ncontent-length: 0\r\n\r\n");
        }
    });
    (address, got)
}

/// A field of a head.
fn field<'a>(head: &'a str, name: &str) -> &'a str {
    let line = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("no `{name}` in {head}"))
}

/// What was sent, if its signature holds.
fn verified((head, body): &(String, String)) -> Value {
    let (time, signature) = field(head, "x-millrace-signature").split_once(",v1=").unwrap();
    let time = time.strip_prefix("t=").unwrap();
    let signature: Vec<u8> =
        (0..signature.len()).step_by(2).map(|at| u8::from_str_radix(&signature[at..at + 2], 16).unwrap()).collect();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    hmac::verify(&key, format!("{time}.{body}").as_bytes(), &signature).expect("the signature");
    serde_json::from_str(body).unwrap()
}

fn open(project: &Project, address: SocketAddr) {
    let rule = json!({"network": "127.0.0.1", "ports": address.port().to_string()});
    project.call(("POST", "/instance/egress-rules"), &[], &rule, 201);
}

fn webhook(address: SocketAddr) -> Value {
    json!({"type": "webhook", "url": format!("http://{address}/hook"), "secret": SECRET})
}

#[test]
fn spend_of_a_key_is_told_once_and_signed() {
    let project = Project::on(Gateway::stored(tempfile::tempdir().unwrap(), 1));
    project.serve(TEN_CENTS);
    let made = project.call(("POST", &project.path("/keys")), &[], &json!({"description": "app"}), 201);
    let (id, key) = (text(&made, "id"), text(&made, "key"));
    let (address, got) = receiver(&[]);
    let rule = json!({
        "name": "half", "event": "spend_threshold", "scope": "key", "target": id,
        "condition": {"percents": [50]}, "channels": [webhook(address)],
    });
    let refused = project.call(("POST", &project.path("/alerts")), &[], &rule, 422);
    assert!(refused.to_string().contains("channels[0].url"), "nobody opened the address: {refused}");
    open(&project, address);
    let alert = project.call(("POST", &project.path("/alerts")), &[], &rule, 201);
    assert!(!alert.to_string().contains(SECRET), "{alert}");

    for _ in 0..4 {
        assert_eq!(project.ask(&key).status, 200);
    }
    // Longer than two looks at limits.
    thread::sleep(Duration::from_secs(5));
    assert_eq!(got.lock().unwrap().len(), 0, "40 % are spent");
    assert_eq!(project.ask(&key).status, 200);
    assert!(eventually(DEADLINE, || !got.lock().unwrap().is_empty()), "50 % are spent");
    let told = verified(&got.lock().unwrap()[0]);
    assert_eq!((&told["state"], &told["value"]), (&json!("firing"), &json!("50 %")), "{told}");
    assert_eq!(told["alert"]["id"], alert["id"]);
    assert!(text(&told, "detail").contains("0.05 of 0.1 USD"), "{told}");

    assert_eq!(project.ask(&key).status, 200);
    thread::sleep(Duration::from_secs(5));
    assert_eq!(got.lock().unwrap().len(), 1, "exactly once");
    let history = project.call(("GET", &format!("/alerts/{}/history", text(&alert, "id"))), &[], &Value::Null, 200);
    assert_eq!(history["data"][0]["deliveries"][0]["state"], "delivered", "{history}");
    assert_eq!(history["data"].as_array().unwrap().len(), 1);
}

#[test]
fn notice_outlives_a_receiver_that_fails_and_a_gateway_that_is_killed() {
    let mut project = Project::on(Gateway::stored(tempfile::tempdir().unwrap(), 1));
    let (address, got) = receiver(&[503]);
    open(&project, address);
    let rule = json!({"name": "serves", "event": "serve", "channels": [webhook(address)]});
    let alert = project.call(("POST", &project.path("/alerts")), &[], &rule, 201);
    project.serve(TEN_CENTS);
    assert!(eventually(DEADLINE, || got.lock().unwrap().len() == 1), "the first try");
    project.gateway = project.gateway.again(1);
    assert!(eventually(DEADLINE, || got.lock().unwrap().len() >= 2), "the second try");
    let (first, second) = {
        let got = got.lock().unwrap();
        (got[0].clone(), got[1].clone())
    };
    assert_eq!(verified(&first), verified(&second), "the same notice");
    assert_eq!(field(&first.0, "x-millrace-delivery"), field(&second.0, "x-millrace-delivery"));
    let history = format!("/alerts/{}/history", text(&alert, "id"));
    let delivered = || {
        let history = project.call(("GET", &history), &[], &Value::Null, 200);
        let delivery = &history["data"][0]["deliveries"][0];
        delivery["state"] == "delivered" && history["data"].as_array().unwrap().len() == 1
    };
    assert!(eventually(DEADLINE, delivered));
}

/// A mail server that takes everything; what it took.
fn sink() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, taken) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let noted = Arc::clone(&taken);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut session = String::new();
            let say = |stream: &mut BufReader<std::net::TcpStream>, said: &str| {
                let _ = stream.get_mut().write_all(said.as_bytes());
            };
            say(&mut stream, "220 sink ESMTP\r\n");
            let mut in_text = false;
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line).unwrap_or(0) == 0 {
                    break;
                }
                session.push_str(&line);
                match line.trim_end() {
                    "." if in_text => {
                        in_text = false;
                        noted.lock().unwrap().push(session.clone());
                        say(&mut stream, "250 taken\r\n");
                    }
                    _ if in_text => {}
                    "DATA" => {
                        in_text = true;
                        say(&mut stream, "354 go on\r\n");
                    }
                    "QUIT" => say(&mut stream, "221 bye\r\n"),
                    _ => say(&mut stream, "250 sink\r\n"),
                }
            }
        }
    });
    (address, taken)
}

#[test]
fn test_of_a_rule_sends_its_one_message_by_email() {
    let (address, taken) = sink();
    let lines = format!("mail: {{smtp_url: \"smtp://{address}\", from: \"Millrace <alerts@example.com>\"}}\n");
    let project = Project::on(Gateway::stored_with(tempfile::tempdir().unwrap(), 1, &lines));
    let channel = json!({"type": "email", "to": ["ops@example.com"]});
    let rule = json!({"name": "serves", "event": "serve", "channels": [channel]});
    let path = format!("/organizations/{}/alerts", project.organization);
    let alert = project.call(("POST", &path), &[], &rule, 201);
    project.call(("POST", &format!("/alerts/{}/test", text(&alert, "id"))), &[], &Value::Null, 204);
    assert!(eventually(DEADLINE, || !taken.lock().unwrap().is_empty()), "an e-mail");
    let session = taken.lock().unwrap()[0].clone();
    for part in [
        "MAIL FROM:<alerts@example.com>",
        "RCPT TO:<ops@example.com>",
        "Subject: [Millrace] serves: test",
        "this is a test of the channels of a rule; nothing has happened",
    ] {
        assert!(session.contains(part), "no {part:?} in {session}");
    }
}
