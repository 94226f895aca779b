//! Server settings: the checks of meaning.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::base::{ByteSize, Cidr, Secret};

use super::expand::{Lookup, expand, expand_scalar, whole_variable};
use super::fields::{Fields, Item};
use super::problem::{At, Checked, Code, Problem, Problems};
use super::server_tables::{EDGE_CERTIFICATE, EGRESS_ALLOW, FILE, SERVER};
use super::settings::{
    Driver, Edge, EdgeCertificate, Egress, EgressAllow, Limits, ListenerError, Log, LogLevel, MailServer, Pin, Runtime,
    SecretSource, Server, StoredRows, TlsRoots, Upstream, Usage,
};
use super::shape::check_table;
use super::value;
use super::words::{self, parse_cidr, parse_name_server};
use super::yaml::{self, Content, Form, Node};

/// Checks server settings. `env` looks up one variable of the environment.
///
/// Relative paths stay as written; [`Server::resolve_paths`] makes them relative to the folder of the file.
///
/// # Errors
/// Every problem of the document, warnings included, sorted by position. At least one of them is an error.
pub fn check_server(text: &[u8], env: &dyn Fn(&str) -> Option<String>) -> Result<Checked<Server>, Vec<Problem>> {
    let mut problems = Problems::default();
    let Some(mut root) = yaml::read(text, &mut problems) else {
        return problems.finish(None);
    };
    expand(&mut root, "", env, &mut problems);
    check_table(&SERVER, &root, "", &mut problems);
    let root = Fields::new(&SERVER, &root, String::new());
    let server = read_server(&root, env, &mut problems);
    problems.finish(server)
}

/// `None` only when a problem is reported.
fn read_server(root: &Fields<'_>, env: Lookup<'_>, problems: &mut Problems) -> Option<Server> {
    let secrets = read_secrets(root, env, problems);
    let egress = read_egress(root, problems);
    let tls_roots = read_roots(root, problems);
    let upstream = read_upstream(&root.table("upstream"), problems);
    let limits = read_limits(&root.table("limits"));
    let edge = read_edge(root, problems);
    let mail = read_mail(root);
    let admin_allow_remote = root.boolean("admin_allow_remote")?;
    let admin_listen = address(root.word("admin_listen").as_ref());
    let listen = address(root.word("listen").as_ref());
    let server = Server {
        listen: listen?,
        admin_listen: admin_listen?,
        admin_allow_remote,
        admin_hosts: read_hosts(root, problems),
        trusted_proxies: read_trusted_proxies(root, problems),
        organization: root.word("organization")?.value,
        projects_dir: root.word("projects_dir").map(into_path),
        keys_file: root.word("keys_file").map(into_path),
        prices_file: root.word("prices_file").map(into_path),
        data_dir: into_path(root.word("data_dir")?).value,
        secrets,
        runtime: read_runtime(&root.table("runtime"))?,
        limits: limits?,
        upstream: upstream?,
        egress,
        tls_roots,
        edge: edge?,
        log: read_log(&root.table("log"))?,
        usage: read_usage(&root.table("usage"))?,
        mail: mail?,
        drain_grace: root.table("drain").duration("grace")?,
        replaced_grace: root.table("drain").duration("replaced_grace")?,
    };
    if let Err(error) = server.check_listeners() {
        problems.extend(refuse_listeners(root, error));
    }
    Some(server)
}

/// Blames the key that is written; `admin_listen` when both are.
fn refuse_listeners(root: &Fields<'_>, error: ListenerError) -> Option<Problem> {
    let name = if root.has("admin_listen") || !root.has("listen") { "admin_listen" } else { "listen" };
    let problem = root.word(name)?.refuse(Code::Conflict, error.to_string());
    Some(match error {
        ListenerError::RemoteAdmin(_) => problem.hint("set `admin_allow_remote: true` if other machines must reach it"),
        ListenerError::SamePort { .. } => problem,
    })
}

/// Names are compared in small letters, so two that differ in case only are one.
fn read_hosts(root: &Fields<'_>, problems: &mut Problems) -> Vec<String> {
    let mut hosts = Vec::new();
    for written in root.list("admin_hosts").iter().filter_map(Item::word) {
        let host = written.value.to_ascii_lowercase();
        if (words::HOST.check)(&host).is_err() {
            continue;
        }
        if hosts.contains(&host) {
            problems.push(written.refuse(Code::Duplicate, format!("`{host}` is listed twice")));
            continue;
        }
        hosts.push(host);
    }
    hosts
}

/// The form is checked by the table already.
fn read_trusted_proxies(root: &Fields<'_>, problems: &mut Problems) -> Vec<Cidr> {
    let mut networks = Vec::new();
    for written in root.list("trusted_proxies").iter().filter_map(Item::word) {
        let Ok(network) = parse_cidr(&written.value) else { continue };
        if networks.contains(&network) {
            problems.push(written.refuse(Code::Duplicate, format!("`{}` is listed twice", written.value)));
            continue;
        }
        networks.push(network);
    }
    networks
}

fn read_runtime(fields: &Fields<'_>) -> Option<Runtime> {
    Some(Runtime {
        workers: fields.integer("workers"),
        pin: match fields.choice("pin")? {
            "on" => Pin::On,
            "off" => Pin::Off,
            _ => Pin::Auto,
        },
        driver: match fields.choice("driver")? {
            "io_uring" => Driver::IoUring,
            "epoll" => Driver::Epoll,
            _ => Driver::Auto,
        },
    })
}

fn read_usage(fields: &Fields<'_>) -> Option<Usage> {
    Some(Usage {
        request_rows: match fields.choice("request_rows")? {
            "errors" => StoredRows::Errors,
            "all" => StoredRows::All,
            _ => StoredRows::Sampled,
        },
        sample_percent: fields.integer("sample_percent")?,
        payload_bytes: fields.size("payload_bytes")?,
        payload_queue_bytes: fields.size("payload_queue_bytes")?,
    })
}

fn read_log(fields: &Fields<'_>) -> Option<Log> {
    Some(Log {
        access: fields.boolean("access")?,
        level: match fields.choice("level")? {
            "error" => LogLevel::Error,
            "warn" => LogLevel::Warn,
            "debug" => LogLevel::Debug,
            _ => LogLevel::Info,
        },
    })
}

fn address(word: Option<&At<String>>) -> Option<SocketAddr> {
    word?.value.parse().ok()
}

fn into_path(word: At<String>) -> At<PathBuf> {
    At { value: PathBuf::from(word.value), at: word.at, path: word.path }
}

fn read_secrets(root: &Fields<'_>, env: Lookup<'_>, problems: &mut Problems) -> BTreeMap<String, SecretSource> {
    let mut secrets = BTreeMap::new();
    for (entry, path) in root.map("secrets") {
        let item = Item { node: &entry.value, path };
        match read_secret(&item, env) {
            Ok(Some(source)) => {
                secrets.insert(entry.key.clone(), source);
            }
            Ok(None) => {}
            Err((code, message)) => {
                problems.push(Problem::error(item.path, item.node.at, code, message));
            }
        }
    }
    secrets
}

/// Reads one secret; `None` when its shape is refused already.
fn read_secret(item: &Item<'_>, env: Lookup<'_>) -> Result<Option<SecretSource>, (Code, String)> {
    match &item.node.content {
        Content::Refused => Ok(None),
        Content::Map(_) => {
            // The path of a file may hold variables; the tree is left as it is.
            let mut node = item.node.clone();
            let mut problems = Problems::default();
            expand(&mut node, "-", env, &mut problems);
            if let Err(found) = problems.finish(Some(())) {
                let first = found.into_iter().next();
                return Err(first.map_or((Code::BadValue, String::new()), |p| (p.code, p.message)));
            }
            Ok(read_file(&node, &item.path).map(SecretSource::File))
        }
        Content::Scalar(scalar) if scalar.form != Form::Secret && !scalar.is_null() => {
            if whole_variable(&scalar.text).is_none() {
                let message = "a secret is not written into the document; use `\"${VARIABLE}\"` or `{file: PATH}`";
                return Err((Code::LiteralSecret, message.to_owned()));
            }
            let mut scalar = scalar.clone();
            expand_scalar(&mut scalar, env)?;
            let secret = secret_text(&scalar.text);
            secret.map(|secret| Some(SecretSource::Value(secret))).map_err(|error| (Code::BadValue, error.to_string()))
        }
        _ => Err((
            Code::WrongType,
            format!("expected `\"${{VARIABLE}}\"` or `{{file: PATH}}`, found {}", value::describe(item.node)),
        )),
    }
}

/// Why a text cannot be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretTextError {
    /// Nothing, or only space.
    #[error("the secret is empty")]
    Empty,
    /// A line feed inside it, for example: it could not be sent in a header.
    #[error("the secret holds a character that cannot be sent in a header")]
    Character,
    /// Longer than 8 KiB.
    #[error("the secret has more than 8 KiB")]
    TooLong,
}

/// Takes the content of a variable or file as secret, without the space around it.
///
/// # Errors
/// [`SecretTextError`] when it cannot stand in a header. The text is never repeated.
pub fn secret_text(text: &str) -> Result<Secret, SecretTextError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(SecretTextError::Empty);
    }
    if text.len() > 8 << 10 {
        return Err(SecretTextError::TooLong);
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        return Err(SecretTextError::Character);
    }
    Ok(Secret::new(text.to_owned()))
}

fn read_file(node: &Node, path: &str) -> Option<At<PathBuf>> {
    let fields = Fields::new(&FILE, node, path.to_owned());
    fields.word("file").map(into_path)
}

fn read_roots(root: &Fields<'_>, problems: &mut Problems) -> TlsRoots {
    let tls = root.table("tls");
    let Some(item) = tls.item("roots") else {
        return TlsRoots::System;
    };
    match &item.node.content {
        Content::Refused => TlsRoots::System,
        Content::Map(_) => read_file(item.node, &item.path).map_or(TlsRoots::System, TlsRoots::File),
        _ => {
            let text = value::text(item.node).unwrap_or_default();
            if !text.eq_ignore_ascii_case("system") {
                let message = "expected `system` or `{file: PATH}`";
                problems.push(Problem::error(item.path, item.node.at, Code::BadValue, message));
            }
            TlsRoots::System
        }
    }
}

/// `Some(None)` without an edge; `None` only when a problem is reported.
fn read_edge(root: &Fields<'_>, problems: &mut Problems) -> Option<Option<Edge>> {
    if !root.has("edge") {
        return Some(None);
    }
    let edge = root.table("edge");
    let mut certificates = Vec::new();
    for item in edge.list("certificates") {
        let fields = Fields::new(&EDGE_CERTIFICATE, item.node, item.path);
        let (cert, key) = (fields.word("cert").map(into_path)?, fields.word("key").map(into_path)?);
        certificates.push(EdgeCertificate { cert, key });
    }
    if certificates.is_empty() {
        let item = edge.item("certificates")?;
        let message = "the edge needs a certificate: `[{cert: FILE, key: FILE}]`";
        problems.push(Problem::error(item.path, item.node.at, Code::OutOfRange, message));
        return None;
    }
    let listen = address(edge.word("listen").as_ref())?;
    let (threads, handshake_timeout) = (edge.integer("threads"), edge.duration("handshake_timeout"));
    Some(Some(Edge { listen, certificates, threads: threads?, handshake_timeout: handshake_timeout? }))
}

/// `Some(None)` without a mail server; `None` only when a problem is reported.
fn read_mail(root: &Fields<'_>) -> Option<Option<MailServer>> {
    if !root.has("mail") {
        return Some(None);
    }
    let mail = root.table("mail");
    let (smtp_url, from) = (mail.word("smtp_url"), mail.word("from"));
    Some(Some(MailServer { smtp_url: Secret::new(smtp_url?.value), from: from?.value }))
}

fn read_egress(root: &Fields<'_>, problems: &mut Problems) -> Egress {
    let egress = root.table("egress");
    let mut allow = Vec::new();
    for item in egress.list("allow") {
        let fields = Fields::new(&EGRESS_ALLOW, item.node, item.path);
        let ports = read_ports(&fields, problems);
        let network = fields.word("cidr").and_then(|word| parse_cidr(&word.value).ok());
        if let Some(network) = network {
            allow.push(EgressAllow { network, ports });
        }
    }
    Egress { allow, ports: read_ports(&egress, problems) }
}

fn read_ports(fields: &Fields<'_>, problems: &mut Problems) -> Vec<u16> {
    let mut ports = Vec::new();
    for item in fields.list("ports") {
        let port = value::integer(item.node, 1, 65_535).ok().and_then(|port| u16::try_from(port).ok());
        let Some(port) = port else { continue };
        if ports.contains(&port) {
            let message = format!("port {port} is listed twice");
            problems.push(Problem::error(item.path, item.node.at, Code::Duplicate, message));
            continue;
        }
        ports.push(port);
    }
    ports
}

fn read_upstream(fields: &Fields<'_>, problems: &mut Problems) -> Option<Upstream> {
    let dns_servers = read_name_servers(fields, problems);
    let upstream = Upstream {
        pool_idle_max: fields.integer("pool_idle_max")?,
        idle_timeout: fields.duration("idle_timeout")?,
        max_age: fields.duration("max_age")?,
        dns_ttl_min: fields.duration("dns_ttl_min")?,
        dns_ttl_max: fields.duration("dns_ttl_max")?,
        dns_servers,
    };
    if upstream.dns_ttl_min > upstream.dns_ttl_max {
        let written = fields.item("dns_ttl_min").or_else(|| fields.item("dns_ttl_max"));
        if let Some(item) = written {
            let message = "`dns_ttl_min` must be <= `dns_ttl_max`";
            problems.push(Problem::error(item.path, item.node.at, Code::OutOfRange, message));
        }
    }
    Some(upstream)
}

fn read_name_servers(fields: &Fields<'_>, problems: &mut Problems) -> Vec<SocketAddr> {
    let mut servers = Vec::new();
    for written in fields.list("dns_servers").iter().filter_map(Item::word) {
        let Some(server) = parse_name_server(&written.value) else { continue };
        if servers.contains(&server) {
            problems.push(written.refuse(Code::Duplicate, format!("`{server}` is listed twice")));
            continue;
        }
        servers.push(server);
    }
    servers
}

fn read_limits(fields: &Fields<'_>) -> Option<Limits> {
    let size = |name| -> Option<ByteSize> { fields.size(name) };
    Some(Limits {
        max_connections: fields.integer("max_connections"),
        max_connections_per_address: fields.integer("max_connections_per_address")?,
        header_bytes: size("header_bytes")?,
        header_count: fields.integer("header_count")?,
        header_timeout: fields.duration("header_timeout")?,
        body_bytes: size("body_bytes")?,
        audio_bytes: size("audio_bytes")?,
        body_timeout: fields.duration("body_timeout")?,
        body_rate_min_bytes: size("body_rate_min_bytes")?,
        write_timeout: fields.duration("write_timeout")?,
        keepalive_timeout: fields.duration("keepalive_timeout")?,
        keepalive_requests: fields.integer("keepalive_requests")?,
        response_bytes: size("response_bytes")?,
        json_depth: fields.integer("json_depth")?,
        sse_event_bytes: size("sse_event_bytes")?,
        stream_bytes: size("stream_bytes")?,
        admin_reads_per_minute: fields.integer("admin_reads_per_minute")?,
        admin_writes_per_minute: fields.integer("admin_writes_per_minute")?,
    })
}
