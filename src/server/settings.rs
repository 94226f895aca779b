//! From the settings to what each part of the process takes.

use std::net::{IpAddr, ToSocketAddrs};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::{
    base::{
        ByteSize,
        log::{Level, level_from_env},
    },
    config::{Driver as DriverSetting, LogLevel, Pin, Runtime, Server, StoredRows, TlsRoots},
    control::{Demo, Mail},
    http::{DownstreamLimits, HeadLimits, TlsConnector},
    shared::Settings,
    upstream::{Allow, PoolLimits, Ports, Rules, TtlBounds},
    usage::{PayloadLimits, RequestRows},
    wire::{Limits as JsonLimits, SseLimits},
    worker::{Driver, Pinning},
};

use super::error::ServerError;

/// Descriptors for everything that is no connection: listeners, store, logs, timers.
const FILES_RESERVED: u64 = 500;
/// Connections when the settings name no limit and the file limit allows more.
const CONNECTIONS_DEFAULT: u64 = 10_000;

/// Which requests become a row of their own.
fn request_rows(server: &Server) -> RequestRows {
    match server.usage.request_rows {
        StoredRows::Errors => RequestRows::Errors,
        StoredRows::Sampled => RequestRows::Sampled(server.usage.sample_percent),
        StoredRows::All => RequestRows::All,
    }
}

/// Settings of the process that no other part needs. A kernel that knows one of them not is no reason to stop.
pub(super) fn prepare_process() {
    // Huge pages would round the memory of each small arena up to 2 MiB: 19 MiB instead of 4 MiB when idle.
    let _ = nix::sys::prctl::set_thp_disable(true);
    // Keys of providers are in memory: no core file may take them to a disk (threat T-63).
    let _ = nix::sys::prctl::set_dumpable(false);
}

/// Decides on the connection limit and raises the soft file limit to what it needs.
pub(super) fn check_file_limit(server: &Server) -> Result<u32, ServerError> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)
        .map_err(|error| ServerError::Io("cannot read the file limit", error.into()))?;
    // Each client connection may need one to a provider. One of the edge has a hop between, with two ends.
    let each = if server.edge.is_some() { 4 } else { 2 };
    let fits = (hard.saturating_sub(FILES_RESERVED) / each).min(CONNECTIONS_DEFAULT);
    let wanted = server.limits.max_connections.map_or(fits, u64::from);
    let needed = wanted * each + FILES_RESERVED;
    if needed > hard || wanted == 0 {
        return Err(ServerError::Limits(format!(
            "`limits.max_connections: {wanted}` needs {needed} open files, but the process may open {hard}; raise \
             `LimitNOFILE` or `ulimit -n`, or lower `limits.max_connections` to {fits}"
        )));
    }
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
        .map_err(|error| ServerError::Io("cannot raise the file limit", error.into()))?;
    u32::try_from(wanted).map_err(|_| ServerError::Limits("`limits.max_connections` is too large".to_owned()))
}

/// The processor of each worker, as many entries as there are workers.
pub(super) fn pins(server: &Server) -> Result<Vec<Pinning>, ServerError> {
    pins_among(&allowed_processors(), server.runtime)
}

fn pins_among(processors: &[usize], runtime: Runtime) -> Result<Vec<Pinning>, ServerError> {
    let available = processors.len().max(1);
    // With more than two processors one is left to the admin thread.
    let default = if available > 2 { available - 1 } else { available };
    let count = runtime.workers.map_or(default, usize::from).max(1);
    let pin: fn(usize) -> Pinning = match runtime.pin {
        Pin::On if processors.is_empty() => {
            let message = "`runtime.pin: on`: the system does not say which processors this process may use";
            return Err(ServerError::Limits(message.to_owned()));
        }
        Pin::On => Pinning::Must,
        // Pinning two workers to one processor, or one worker to one of many, would only take freedom away.
        Pin::Auto if count > 1 && count <= processors.len() => Pinning::Try,
        Pin::Auto | Pin::Off => return Ok(vec![Pinning::None; count]),
    };
    Ok(processors.iter().cycle().take(count).copied().map(pin).collect())
}

/// The processors that this process may use, for example inside `taskset` or a container.
fn allowed_processors() -> Vec<usize> {
    let Ok(set) = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)) else {
        return Vec::new();
    };
    (0..nix::sched::CpuSet::count()).filter(|index| set.is_set(*index).unwrap_or(false)).collect()
}

pub(super) fn driver(server: &Server) -> Driver {
    match server.runtime.driver {
        // epoll needs fewer instructions a request in our own comparison (ARCHITECTURE.md), and works in every container.
        DriverSetting::Auto | DriverSetting::Epoll => Driver::Epoll,
        DriverSetting::IoUring => Driver::IoUring,
    }
}

/// The level of the application log: that of a variable, else that of the settings. An empty variable counts as none.
pub(super) fn log_level(server: &Server, variable: impl Fn(&str) -> Option<String>) -> Result<Level, ServerError> {
    let variable = |name: &str| variable(name).filter(|text| !text.is_empty());
    let from_env = level_from_env(variable).map_err(|error| ServerError::Limits(format!("`MILLRACE_LOG`: {error}")))?;
    Ok(from_env.unwrap_or(match server.log.level {
        LogLevel::Error => Level::Error,
        LogLevel::Warn => Level::Warn,
        LogLevel::Info => Level::Info,
        LogLevel::Debug => Level::Debug,
    }))
}

pub(super) fn connector(server: &Server) -> Result<TlsConnector, ServerError> {
    let made = match &server.tls_roots {
        TlsRoots::System => TlsConnector::from_system(),
        TlsRoots::File(path) => TlsConnector::from_pem_file(&path.value),
    };
    made.map_err(|error| ServerError::Limits(format!("no certificates to verify providers with: {error}")))
}

/// The rules of the egress guard, as the settings give them.
///
/// # Errors
/// [`ServerError::Limits`] names the entry. Checked settings have none such.
pub fn egress_rules(server: &Server) -> Result<Rules, ServerError> {
    let mut allow = Vec::new();
    for entry in &server.egress.allow {
        let ports = if entry.ports.is_empty() { Ports::any() } else { ports(&entry.ports)? };
        allow.push(Allow { cidr: entry.network, ports });
    }
    let ports = if server.egress.ports.is_empty() { None } else { Some(ports(&server.egress.ports)?) };
    Ok(Rules { allow, ports })
}

/// What the demo opens: its upstream is named on the command line by the administrator and so allowed.
pub(super) fn demo_rules(demo: &Demo) -> Result<Vec<Allow>, ServerError> {
    let Some(upstream) = &demo.upstream else {
        return Ok(Vec::new());
    };
    let addresses = addresses_of(&upstream.url)?.into_iter();
    addresses
        .map(|(address, port)| allowed(address, if address.is_ipv4() { 32 } else { 128 }, Ports::one(port)))
        .collect()
}

/// The mail server of alerts.
///
/// # Errors
/// [`ServerError::Limits`] names the setting, never its text.
pub(super) fn mail(server: &Server) -> Result<Option<Mail>, ServerError> {
    let made = server.mail.as_ref().map(|mail| Mail::new(&mail.smtp_url, &mail.from));
    made.transpose().map_err(|error| ServerError::Limits(error.to_string()))
}

/// How long resolved names are used.
#[must_use]
pub fn ttl_bounds(server: &Server) -> TtlBounds {
    TtlBounds { min: server.upstream.dns_ttl_min, max: server.upstream.dns_ttl_max }
}

fn allowed(address: IpAddr, prefix: u8, ports: Ports) -> Result<Allow, ServerError> {
    let text = format!("{address}/{prefix}");
    let cidr = text.parse().map_err(|error| ServerError::Limits(format!("`egress.allow`: `{text}`: {error}")))?;
    Ok(Allow { cidr, ports })
}

fn ports(list: &[u16]) -> Result<Ports, ServerError> {
    let text = list.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
    text.parse().map_err(|error| ServerError::Limits(format!("`egress`: ports `{text}`: {error}")))
}

/// All addresses behind the URL given to the demo.
fn addresses_of(url: &str) -> Result<Vec<(IpAddr, u16)>, ServerError> {
    let unusable = || ServerError::Limits(format!("`--upstream {url}` is no URL such as `http://127.0.0.1:8080/v1`"));
    let (scheme, rest) = url.split_once("://").ok_or_else(unusable)?;
    let authority = rest.split('/').next().unwrap_or_default();
    let default = if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 };
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let target = if has_port { authority.to_owned() } else { format!("{authority}:{default}") };
    let resolved = target
        .to_socket_addrs()
        .map_err(|error| ServerError::Limits(format!("`--upstream {url}` cannot be resolved: {error}")))?;
    Ok(resolved.map(|address| (address.ip(), address.port())).collect())
}

pub(super) fn data_path_settings(server: &Server, connections_max: u32) -> Settings {
    let limits = &server.limits;
    let bytes = |size: ByteSize| usize::try_from(size.0).unwrap_or(usize::MAX);
    Settings {
        downstream: DownstreamLimits {
            head: HeadLimits { bytes_max: bytes(limits.header_bytes), fields_max: usize::from(limits.header_count) },
            head_timeout: limits.header_timeout,
            idle_timeout: limits.keepalive_timeout,
            body_bytes_max: limits.body_bytes.0,
            form_bytes_max: limits.audio_bytes.0,
            body_timeout: limits.body_timeout,
            body_rate_min: limits.body_rate_min_bytes.0,
            body_rate_grace: std::time::Duration::from_secs(5),
            write_timeout: limits.write_timeout,
        },
        keepalive_requests: limits.keepalive_requests,
        json: JsonLimits { depth_max: u32::from(limits.json_depth), ..JsonLimits::default() },
        sse: SseLimits {
            line_bytes_max: bytes(limits.sse_event_bytes),
            event_bytes_max: bytes(limits.sse_event_bytes),
            stream_bytes_max: limits.stream_bytes.0,
            ..SseLimits::default()
        },
        response_bytes_max: bytes(limits.response_bytes),
        pool: PoolLimits {
            idle_max: usize::try_from(server.upstream.pool_idle_max).unwrap_or(usize::MAX),
            idle_timeout: server.upstream.idle_timeout,
            age_max: server.upstream.max_age,
        },
        connections_max,
        connections_per_address_max: limits.max_connections_per_address,
        drain_grace: server.drain_grace,
        replaced_grace: server.replaced_grace,
        rows: request_rows(server),
        payloads: PayloadLimits {
            bytes_max: bytes(server.usage.payload_bytes),
            room_bytes_max: bytes(server.usage.payload_queue_bytes),
        },
    }
}

#[cfg(test)]
mod tests {
    use crate::{config::check_server, http::FIELDS_CEILING};

    use super::*;

    fn server(text: &str) -> Server {
        check_server(text.as_bytes(), &|_| None).unwrap().config
    }

    #[test]
    fn workers_leave_one_of_three_processors_and_pin_as_told() {
        use Pinning::{Must, None as Free, Try};
        for (name, text, processors, want) in [
            ("one", "", &[0][..], &[Free][..]),
            ("two", "", &[0, 1], &[Try(0), Try(1)]),
            ("three", "", &[0, 1, 4], &[Try(0), Try(1)]),
            ("more workers than processors", "runtime: {workers: 3}", &[0, 1], &[Free, Free, Free]),
            ("on", "runtime: {workers: 3, pin: on}", &[5, 7], &[Must(5), Must(7), Must(5)]),
            ("on, one worker", "runtime: {workers: 1, pin: on}", &[5, 7], &[Must(5)]),
            ("off", "runtime: {pin: off}", &[0, 1], &[Free, Free]),
            ("unknown processors", "", &[], &[Free]),
        ] {
            assert_eq!(pins_among(processors, server(text).runtime).unwrap(), want, "{name}");
        }
        assert!(pins_among(&[], server("runtime: {pin: on}").runtime).is_err());
    }

    #[test]
    fn log_variable_beats_the_settings() {
        let settings = server("log: {level: warn}");
        for (name, variables, want) in [
            ("none", &[][..], Ok(Level::Warn)),
            ("own", &[("MILLRACE_LOG", "debug"), ("RUST_LOG", "error")], Ok(Level::Debug)),
            ("shared", &[("RUST_LOG", "error")], Ok(Level::Error)),
            ("empty", &[("MILLRACE_LOG", "")], Ok(Level::Warn)),
            ("unknown", &[("MILLRACE_LOG", "loud")], Err(())),
        ] {
            let read = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, text)| (*text).to_owned());
            assert_eq!(log_level(&settings, read).map_err(|_| ()), want, "{name}");
        }
    }

    #[test]
    fn header_count_of_the_settings_ends_where_that_of_the_parser_does() {
        let accepted = |count: usize| check_server(format!("limits: {{header_count: {count}}}").as_bytes(), &|_| None);
        assert!(accepted(FIELDS_CEILING).is_ok() && accepted(FIELDS_CEILING + 1).is_err());
    }

    #[test]
    fn name_lives_reach_the_resolver() {
        let bounds = ttl_bounds(&server("upstream: {dns_ttl_min: 2 s, dns_ttl_max: 9 s}"));
        assert_eq!((bounds.min.as_secs(), bounds.max.as_secs()), (2, 9));
    }
}
