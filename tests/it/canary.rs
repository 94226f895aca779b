//! What is secret stands nowhere that somebody can read.
//!
//! Each secret field gets a value of its own; then answers, errors, logs on debug level, metrics, the audit log, exports, the
//! arguments of the process, the files of the store and a backup are searched for it: as it is, in base64, hex, URL and JSON
//! form, and each half of it alone. `MILLRACE_CANARY_CORE=1` also forces two core dumps by `gcore` and prints what is in them.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{Client, DEADLINE, Gateway, KEY, Reply, chat, chat_with, program};

/// A secret and every form in which it is searched.
struct Canary {
    name: &'static str,
    needles: Vec<Vec<u8>>,
}

impl Canary {
    fn new(name: &'static str, secret: &str) -> Self {
        let half = secret.len() / 2;
        assert!(half >= 12, "{name} is too short to be told from chance");
        let parts = [secret, &secret[..half], &secret[half..]];
        Self { name, needles: parts.iter().flat_map(|part| forms(part)).collect() }
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        self.needles.iter().any(|needle| memchr::memmem::find(bytes, needle).is_some())
    }
}

fn forms(part: &str) -> Vec<Vec<u8>> {
    let bytes = part.as_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let percent = |keep: fn(&u8) -> bool| -> String {
        bytes
            .iter()
            .map(|byte| if keep(byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") })
            .collect()
    };
    let json = json!(part).to_string();
    let mut forms = vec![
        part.to_owned(),
        hex.to_uppercase(),
        hex,
        percent(u8::is_ascii_alphanumeric),
        percent(|_| false),
        json[1..json.len() - 1].to_owned(),
    ];
    for alphabet in ["+/", "-_"] {
        forms.extend((0..3).map(|offset| base64_at(bytes, offset, alphabet)));
    }
    forms.into_iter().map(String::into_bytes).collect()
}

/// The characters that these bytes alone decide on when they stand behind `offset` others.
fn base64_at(bytes: &[u8], offset: usize, last_two: &str) -> String {
    let alphabet: Vec<u8> = (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').chain(last_two.bytes()).collect();
    let bit = |at: usize| if at < offset * 8 { 0 } else { bytes[at / 8 - offset] >> (7 - at % 8) & 1 };
    let whole = (offset + bytes.len()) * 8 / 6;
    let character = |index: usize| {
        let value = (0..6).fold(0, |value, at| value << 1 | bit(index * 6 + at));
        char::from(alphabet[usize::from(value)])
    };
    ((offset * 8).div_ceil(6)..whole).map(character).collect()
}

/// Printable ASCII whose URL and JSON forms differ from it.
fn random_secret() -> String {
    let letters = |count| (0..count).map(|_| fastrand::alphanumeric()).collect::<String>();
    format!("cn-{}\"/+\\%{}", letters(24), letters(24))
}

/// A gateway with a secret in every field, and what was seen of it.
struct Site {
    gateway: Gateway,
    organization: String,
    project: String,
    key: String,
    canaries: Vec<Canary>,
    seen: Vec<(String, Vec<u8>)>,
}

impl Site {
    fn new() -> Self {
        let token = format!("mr_admin_{}", (0..40).map(|_| fastrand::alphanumeric()).collect::<String>());
        let variables = [("MILLRACE_ADMIN_TOKEN", token.as_str()), ("MILLRACE_LOG", "debug")];
        let gateway = Gateway::stored_as(tempfile::tempdir().unwrap(), &token, &variables);
        let (organization, canaries) = (gateway.organization(), vec![Canary::new("first admin token", &token[9..])]);
        let project = gateway.make_project(&organization, "demo");
        // What is said is kept: sealed, and without secrets.
        let keeps = json!({"log_payloads": true}).to_string();
        let set = gateway.admin("PATCH", &format!("/projects/{project}"), &[("if-match", "\"1\"")], &keeps);
        assert_eq!(set.status, 200, "{}", set.text());
        Self { gateway, organization, project, key: String::new(), canaries, seen: Vec::new() }
    }

    /// A new secret that must not be seen from now on.
    fn canary(&mut self, name: &'static str) -> String {
        let secret = random_secret();
        self.canaries.push(Canary::new(name, &secret));
        secret
    }

    /// A secret that the gateway made. Its first characters name it and its last four are shown.
    fn made(&mut self, name: &'static str, text: &str) {
        self.canaries.push(Canary::new(name, &text[text.len() - 36..text.len() - 4]));
    }

    fn saw(&mut self, place: &str, reply: &Reply) {
        let head: String = reply.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        self.seen.push((place.to_owned(), [head.as_bytes(), &reply.body].concat()));
    }

    /// A call whose answer may hold no secret.
    fn call(&mut self, (method, path): (&str, &str), extra: &[(&str, &str)], body: &Value) -> Reply {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let reply = self.gateway.admin(method, path, extra, &body);
        self.saw(&format!("{method} {}", path.split('?').next().unwrap()), &reply);
        reply
    }

    /// A call whose answer shows a secret once.
    fn issue(&self, path: &str, body: &Value) -> Reply {
        let reply = self.gateway.admin("POST", path, &[], &body.to_string());
        assert!((200..300).contains(&reply.status), "{path}: {}", reply.text());
        reply
    }

    fn owners(&self) -> [String; 2] {
        [format!("/projects/{}", self.project), format!("/organizations/{}", self.organization)]
    }

    /// Values of secrets and provider keys, entered and entered again.
    fn enter_values(&mut self) {
        for owner in self.owners() {
            let value = self.canary("secret");
            let name = if owner.starts_with("/p") { "OWN" } else { "SHARED" };
            let body = json!({"name": name, "value": value, "bound_origins": ["https://llm.example"]});
            let made = self.call(("POST", &format!("{owner}/secrets")), &[], &body);
            assert_eq!(made.status, 201, "{}", made.text());
            let value = self.canary("replaced secret");
            let at = format!("{owner}/secrets/{}", made.json()["id"].as_str().unwrap());
            let set = self.call(("PUT", &format!("{at}/value")), &[("if-match", "\"1\"")], &json!({"value": value}));
            assert_eq!(set.status, 200, "{}", set.text());
            let value = self.canary("provider key");
            let body = json!({"provider": "openai", "label": "l", "value": value});
            let made = self.call(("POST", &format!("{owner}/provider-keys")), &[], &body);
            assert_eq!(made.status, 201, "{}", made.text());
        }
    }

    /// Tokens, keys, a password and a session.
    fn enter_people(&mut self) {
        let keys = format!("/projects/{}/keys", self.project);
        let made = self.issue(&keys, &json!({"description": "app"})).json();
        self.made("API key", made["key"].as_str().unwrap());
        let rolled =
            self.issue(&format!("{keys}/{}/roll", made["id"].as_str().unwrap()), &json!({"overlap_seconds": 60}));
        self.key = rolled.json()["key"].as_str().unwrap().to_owned();
        self.made("rolled API key", &self.key.clone());
        let organization = self.organization.clone();
        let body = json!({"description": "ci", "organization_id": organization, "role": "auditor"});
        let token = self.issue("/admin-tokens", &body).json()["token"].as_str().unwrap().to_owned();
        self.made("admin token", &token);
        let invitations = format!("/organizations/{}/invitations", self.organization);
        let body = json!({"email": "ada@example.com", "role": "admin"});
        let token = self.issue(&invitations, &body).json()["token"].as_str().unwrap().to_owned();
        self.made("invitation", &token);
        let password = self.canary("password");
        let wrong = self.canary("wrong password");
        let refused = json!({"token": wrong, "password": wrong});
        self.call(("POST", "/invitations/accept"), &[], &refused);
        let joined = self.issue("/invitations/accept", &json!({"token": token, "password": password}));
        self.made_session(&joined);
        let login = self.issue("/sessions", &json!({"email": "ada@example.com", "password": password}));
        self.made_session(&login);
        let body = json!({"email": "ada@example.com", "password": wrong});
        assert_eq!(self.call(("POST", "/sessions"), &[], &body).status, 401);
    }

    fn made_session(&mut self, reply: &Reply) {
        let cookie = reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        self.canaries.push(Canary::new("session", &cookie[cookie.len() - 32..]));
    }

    fn serve(&mut self) {
        let text = "chat_models:\n  - {model_id: m, model: mock/m}\n  - {model_id: own, model: openai/m, credentials: {api_key: \
                    !secret OWN, base_url: \"https://llm.example/v1\"}}\n  - {model_id: shared, model: openai/m, credentials: \
                    {api_key: !secret SHARED, base_url: \"https://llm.example/v1\"}}\n  - {model_id: key, model: \
                    openai/m}\nroutes:\n  chat: {chat_models: [m]}\n  own: {chat_models: [own]}\n  shared: {chat_models: \
                    [shared]}\n  key: {chat_models: [key]}\n";
        let config = format!("/projects/{}/config", self.project);
        let draft = self.gateway.admin("GET", &format!("{config}/draft"), &[], "");
        let condition = ("if-match", draft.header("etag").unwrap());
        let saved = self.call(("PUT", &format!("{config}/draft")), &[condition], &json!({"content": text})).json();
        for action in ["approve", "serve"] {
            let path = format!("{config}/versions/{}/{action}", saved["version"]);
            let done = self.call(("POST", &path), &[], &Value::Null);
            assert_eq!(done.status, 200, "{}", done.text());
        }
    }

    /// Requests that fail, with secrets where they do not belong.
    fn provoke(&mut self) {
        let lost = self.canary("secret in a wrong place");
        let owner = self.owners()[0].clone();
        for body in [
            json!({"name": "X", "value": [lost], "bound_origins": []}),
            json!({"name": "X", "value": format!("{lost}\n{lost}"), "bound_origins": ["https://llm.example"]}),
            json!({"name": "X", "value": lost.repeat(200), "bound_origins": ["https://llm.example"]}),
            json!({"name": "OWN", "value": lost, "bound_origins": ["https://llm.example"]}),
        ] {
            let refused = self.call(("POST", &format!("{owner}/secrets")), &[], &body);
            assert!(refused.status >= 400, "{}", refused.text());
        }
        let cut = self.gateway.admin("POST", &format!("{owner}/secrets"), &[], &format!("{{\"value\":{}", json!(lost)));
        self.saw("a body that ends too early", &cut);
        let query: String = lost.bytes().map(|byte| format!("%{byte:02X}")).collect();
        self.call(("GET", &format!("/organizations?token={query}")), &[], &Value::Null);
        let literal =
            format!("chat_models: [{{model_id: m, model: openai/m, credentials: {{api_key: {}}}}}]\n", json!(lost));
        self.call(("POST", &format!("{owner}/config/validate")), &[], &json!({"content": literal}));
        for name in ["authorization: Bearer", "x-api-key:", "api-key:", "cookie: a="] {
            let head =
                format!("GET /v1/models?key={query} HTTP/1.1\r\nhost: g\r\n{name} {lost}\r\nconnection: close\r\n\r\n");
            let reply = self.gateway.ask(head.as_bytes());
            assert_eq!(reply.status, 401, "{}", reply.text());
            self.saw("the data plane, without a key", &reply);
            let head = head.replace("/v1/models", "/api/v1/organizations");
            let mut client = Client::connect(self.gateway.admin);
            client.send(head.as_bytes());
            let reply = client.read().unwrap();
            self.saw("the admin plane, without a token", &reply);
        }
        let prompt = self.canary("prompt");
        let more = format!(",\"metadata\":{{\"a\":{}}},\"stream\":true", json!(prompt));
        for route in ["demo/chat", "demo/own", "demo/shared", "demo/key", "demo/none"] {
            for request in [chat(route), chat_with(route, &more)] {
                let request = String::from_utf8(request).unwrap().replace(KEY, &self.key);
                let reply = self.gateway.ask(request.as_bytes());
                self.saw(&format!("the data plane, {route}"), &reply);
            }
        }
    }

    /// Everything that can be read over the network.
    fn read_all(&mut self) {
        let organization = format!("/organizations/{}", self.organization);
        let project = format!("/projects/{}", self.project);
        let ends = ["", "/secrets", "/provider-keys", "/audit?limit=100"];
        let mut paths: Vec<String> =
            ends.iter().flat_map(|end| [&organization, &project].map(|at| format!("{at}{end}"))).collect();
        for end in [
            "keys",
            "export",
            "routes",
            "config/versions",
            "config/versions/2",
            "config/diff?from=1&to=2",
            "config/generations",
        ] {
            paths.push(format!("{project}/{end}"));
        }
        paths.extend(["members", "invitations", "projects"].map(|end| format!("{organization}/{end}")));
        paths.extend(
            ["/instance/audit?limit=100", "/audit/verify", "/admin-tokens", "/organizations"].map(str::to_owned),
        );
        for path in paths {
            let reply = self.call(("GET", &path), &[], &Value::Null);
            assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        }
        for path in ["/metrics", "/readyz?verbose", "/livez", "/openapi.json"] {
            let mut client = Client::connect(self.gateway.admin);
            client.send(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes());
            let reply = client.read().unwrap();
            self.saw(path, &reply);
        }
    }

    fn saw_output(&mut self, place: &str, command: &mut Command) {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{place}: {}", String::from_utf8_lossy(&output.stderr));
        self.seen.push((place.to_owned(), [output.stdout, output.stderr].concat()));
    }

    fn saw_files(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            // Sockets cannot be read.
            if let Ok(bytes) = fs::read(&path) {
                self.seen.push((path.display().to_string(), bytes));
            }
        }
    }
}

/// Names of the secrets that stand in these bytes.
fn found(canaries: &[Canary], bytes: &[u8]) -> Vec<&'static str> {
    canaries.iter().filter(|canary| canary.is_in(bytes)).map(|canary| canary.name).collect()
}

/// Forces a core dump, which needs a superuser, and says what is in it.
fn force_core(site: &Site, state: &str) {
    let at = site.gateway.folder().join("core");
    let id = site.gateway.id().to_string();
    let made = Command::new("gcore").arg("-o").arg(&at).arg(&id).output();
    let Ok(bytes) = fs::read(at.with_extension(&id)) else {
        println!("no forced core dump, {state}: {made:?}");
        return;
    };
    println!("forced core dump, {state}: {} bytes, with: {:?}", bytes.len(), found(&site.canaries, &bytes));
}

#[test]
fn secrets_are_found_in_the_forms_that_are_searched() {
    let secret = random_secret();
    let canary = Canary::new("secret", &secret);
    let half = &secret[secret.len() / 2..];
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    for (name, text) in
        [("raw", secret.clone()), ("half", half.to_owned()), ("hex", hex), ("JSON", json!(secret).to_string())]
    {
        assert!(canary.is_in(format!("... {text} ...").as_bytes()), "{name}");
    }
    // As an own encoder has it: "any carnal pleas" is the example of every description of base64.
    assert_eq!(base64_at(b"any carnal pleas", 0, "+/"), "YW55IGNhcm5hbCBwbGVhc");
    assert_eq!(base64_at(b"ny carnal pleas", 1, "+/"), "55IGNhcm5hbCBwbGVhc");
    assert_eq!(base64_at(b"y carnal pleas", 2, "+/"), "5IGNhcm5hbCBwbGVhc");
    assert!(!canary.is_in(random_secret().as_bytes()));
}

#[test]
fn no_secret_stands_anywhere_that_somebody_can_read() {
    let mut site = Site::new();
    site.enter_values();
    site.enter_people();
    site.serve();
    if env::var_os("MILLRACE_CANARY_CORE").is_some() {
        force_core(&site, "idle");
    }
    site.provoke();
    site.read_all();
    if env::var_os("MILLRACE_CANARY_CORE").is_some() {
        force_core(&site, "after requests");
    }
    let folder = site.gateway.folder().to_owned();
    site.saw_output("--help", program(&folder).arg("--help"));
    site.saw_output("serve --help", program(&folder).args(["serve", "--help"]));
    site.saw_output("backup", program(&folder).args(["backup", "copy.db", "--data-dir", "stored"]));
    let arguments = fs::read(format!("/proc/{}/cmdline", site.gateway.id())).unwrap();
    site.seen.push(("arguments of the process".to_owned(), arguments));
    let printed = site.gateway.printed().join("\n");
    assert!(
        printed.contains("\"level\":\"debug\"") || printed.contains("\"status\":"),
        "no log to be searched: {printed}"
    );
    site.seen.push(("log".to_owned(), printed.into_bytes()));
    site.seen.push(("standard error".to_owned(), site.gateway.stderr_text().into_bytes()));
    site.saw_files(&folder.join("stored"));
    site.seen.push(("backup file".to_owned(), fs::read(folder.join("copy.db")).unwrap()));
    let hits: Vec<_> = site.seen.iter().map(|(place, bytes)| (place, found(&site.canaries, bytes))).collect();
    let hits: Vec<_> = hits.into_iter().filter(|(_, names)| !names.is_empty()).collect();
    let bytes: usize = site.seen.iter().map(|(_, bytes)| bytes.len()).sum();
    println!("{} secrets in {} places, {bytes} bytes: {} hits", site.canaries.len(), site.seen.len(), hits.len());
    assert!(hits.is_empty(), "{hits:?}");
    assert!(site.canaries.len() >= 17 && site.seen.len() >= 60, "{} {}", site.canaries.len(), site.seen.len());
}

#[test]
fn process_that_is_aborted_leaves_no_core_dump() {
    let aborted = |script: &str, folder: &Path| {
        let script = format!("ulimit -c unlimited || exit 0; {script}");
        Command::new("sh").args(["-c", &script]).current_dir(folder).status().unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    if !aborted("kill -ABRT $$", folder.path()).core_dumped() {
        println!("skipped: no process of this machine leaves a core dump");
        return;
    }
    let mut gateway = Gateway::demo_without_limit_of_cores();
    gateway.signal(Signal::SIGABRT);
    let status = gateway.wait(DEADLINE);
    assert_eq!((status.signal(), status.core_dumped()), (Some(6), false), "{status}");
}
