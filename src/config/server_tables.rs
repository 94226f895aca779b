//! The keys of the server settings.

use super::table::{Field, Kind, Table};
use super::words;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const LIST_MAX: usize = 1_000;

pub(super) static SERVER: Table = Table {
    name: "server",
    doc: "Settings of one Millrace process. Values may hold `${NAME}` or `${NAME:-default}`; `$$` stands for `$`.",
    fields: &[
        Field::new(
            "listen",
            Kind::Word(&words::SOCKET),
            "Address of the data plane, which clients call. Default `0.0.0.0:9000`.",
        )
        .default("0.0.0.0:9000"),
        Field::new(
            "admin_listen",
            Kind::Word(&words::SOCKET),
            "Address of the admin plane. Loopback unless `admin_allow_remote` is true. Default `127.0.0.1:9001`.",
        )
        .default("127.0.0.1:9001"),
        Field::new(
            "admin_allow_remote",
            Kind::Bool,
            "Lets the admin plane listen on an address that other machines reach. Default false.",
        )
        .default("false"),
        Field::new(
            "admin_hosts",
            Kind::List { of: &Kind::Word(&words::HOST), max: LIST_MAX },
            "Names by which clients reach the admin plane, compared with their `Host` without port. `localhost`, loopback \
             addresses and the address that was connected to always pass.",
        ),
        Field::new(
            "trusted_proxies",
            Kind::List { of: &Kind::Word(&words::CIDR), max: LIST_MAX },
            "Networks of the proxies in front of this process, such as `10.0.0.0/8`. Only what they add to `X-Forwarded-For` \
             counts: the client is the right-most entry that is none of them. Default: none, and the field is ignored.",
        ),
        Field::new(
            "organization",
            Kind::Word(&words::ID),
            "Organization that owns every project of this process. Default `default`.",
        )
        .default("default"),
        Field::new(
            "projects_dir",
            Kind::Word(&words::PATH),
            "Folder with one file `SLUG.yaml` a project. Relative to this file.",
        ),
        Field::new("keys_file", Kind::Word(&words::PATH), "File with the API keys. Relative to this file."),
        Field::new(
            "prices_file",
            Kind::Word(&words::PATH),
            "File with a price table; its rows win over those that are built in. Relative to this file.",
        ),
        Field::new(
            "data_dir",
            Kind::Word(&words::PATH),
            "Folder of the store, its master key and the sockets of the edge, made at start if it does not exist. Relative to \
             this file. Default `./millrace-data`.",
        )
        .default("./millrace-data"),
        Field::new(
            "secrets",
            Kind::Map {
                names: &words::SECRET_NAME,
                of: &Kind::OrFile { text: "`${NAME}` of a variable, and nothing else", table: &FILE },
                max: 10_000,
            },
            "Secrets that projects may name: `\"${VARIABLE}\"` or `{file: PATH}`, never the text itself.",
        ),
        Field::new("runtime", Kind::Table(&RUNTIME), "Threads."),
        Field::new("limits", Kind::Table(&LIMITS), "Limits against clients and providers."),
        Field::new("upstream", Kind::Table(&UPSTREAM), "Connections to providers."),
        Field::new("egress", Kind::Table(&EGRESS), "Where connections may go beyond the public internet."),
        Field::new("tls", Kind::Table(&TLS), "Certificates of providers."),
        Field::new("log", Kind::Table(&LOG), "What is logged."),
        Field::new("usage", Kind::Table(&USAGE), "What is stored of requests."),
        Field::new("mail", Kind::Table(&MAIL), "The mail server of alerts. Without it alerts send no e-mail."),
        Field::new("drain", Kind::Table(&DRAIN), "How long what is open may take to finish."),
        Field::new("edge", Kind::Table(&EDGE), "TLS and HTTP/2 for clients. Without it there is only plain HTTP/1.1."),
        Field::unsupported("store", "Where projects, keys and usage are kept."),
        Field::unsupported("server", "Options of the chassis."),
        Field::unsupported("metrics", "Address of the metrics."),
        Field::unsupported("telemetry", "Traces."),
    ],
};

pub(super) static FILE: Table = Table {
    name: "file",
    doc: "Content of a file.",
    fields: &[Field::new("file", Kind::Word(&words::PATH), "Path of the file, relative to this document.").required()],
};

static RUNTIME: Table = Table {
    name: "runtime",
    doc: "Threads.",
    fields: &[
        Field::new(
            "workers",
            Kind::Int { min: 1, max: 256 },
            "Number of workers, 1 to 256. Default: one less than the processors this process may use; with one or two \
             processors as many.",
        ),
        Field::new("pin", Kind::Choice(&["auto", "on", "off"]), "Whether workers are pinned to cores. `on`: or the start fails. `auto`: where there is a core for each of two or \
             more workers. Default `auto`.")
            .default("auto"),
        Field::new(
            "driver",
            Kind::Choice(&["auto", "io_uring", "epoll"]),
            "How sockets are waited for. `io_uring`: or the start fails. `auto`: epoll. Default `auto`.",
        )
        .default("auto"),
    ],
};

static LIMITS: Table = Table {
    name: "limits",
    doc: "Limits against clients and providers.",
    fields: &[
        Field::new(
            "max_connections",
            Kind::Int { min: 1, max: 1_000_000 },
            "Open client connections. Default: half the file limit less 500, at most 10,000.",
        ),
        Field::new(
            "max_connections_per_address",
            Kind::Int { min: 1, max: 1_000_000 },
            "Open client connections of one address. Default 1,000.",
        )
        .default("1000"),
        Field::new(
            "header_bytes",
            Kind::Size { min: KIB, max: 64 * KIB },
            "Bytes of one request head, 1 KiB to 64 KiB. Default 32 KiB.",
        )
        .default("32 KiB"),
        Field::new(
            "header_count",
            Kind::Int { min: 1, max: 128 },
            "Header lines of one request, 1 to 128. Default 100.",
        )
        .default("100"),
        Field::new(
            "header_timeout",
            Kind::Duration { min: "100 ms", max: "60 s" },
            "Time for a whole request head, 100 ms to 60 s. Default 10 s.",
        )
        .default("10 s"),
        Field::new(
            "body_bytes",
            Kind::Size { min: KIB, max: 64 * MIB },
            "Bytes of one request body, 1 KiB to 64 MiB. Default 10 MiB.",
        )
        .default("10 MiB"),
        Field::new(
            "audio_bytes",
            Kind::Size { min: KIB, max: 100 * MIB },
            "Bytes of one form with audio, 1 KiB to 100 MiB. Default 25 MiB.",
        )
        .default("25 MiB"),
        Field::new(
            "body_timeout",
            Kind::Duration { min: "1 s", max: "10 minutes" },
            "Time for a whole request body, 1 s to 10 minutes. Default 30 s.",
        )
        .default("30 s"),
        Field::new(
            "body_rate_min_bytes",
            Kind::Size { min: 0, max: MIB },
            "Slowest accepted body in bytes a second, after its first 5 s; 0 accepts any rate. At most 1 MiB, default 16 KiB.",
        )
        .default("16 KiB"),
        Field::new(
            "write_timeout",
            Kind::Duration { min: "1 s", max: "300 s" },
            "Longest time in which a client takes no byte, 1 s to 300 s. Default 30 s.",
        )
        .default("30 s"),
        Field::new(
            "keepalive_timeout",
            Kind::Duration { min: "1 s", max: "1 hour" },
            "Idle time after which a client connection is closed, 1 s to 1 hour. Default 60 s.",
        )
        .default("60 s"),
        Field::new(
            "keepalive_requests",
            Kind::Int { min: 1, max: 1_000_000 },
            "Requests of one client connection. Default 1,000.",
        )
        .default("1000"),
        Field::new(
            "response_bytes",
            Kind::Size { min: 64 * KIB, max: 128 * MIB },
            "Bytes of one plain answer of a provider, 64 KiB to 128 MiB. Default 32 MiB.",
        )
        .default("32 MiB"),
        Field::new(
            "json_depth",
            Kind::Int { min: 8, max: 128 },
            "Nesting of a JSON body, 8 to 128. Default 64.",
        )
        .default("64"),
        Field::new(
            "sse_event_bytes",
            Kind::Size { min: 16 * KIB, max: 16 * MIB },
            "Bytes of one event of a stream, 16 KiB to 16 MiB. Default 1 MiB.",
        )
        .default("1 MiB"),
        Field::new(
            "stream_bytes",
            Kind::Size { min: 64 * KIB, max: 1024 * MIB },
            "Bytes of one stream, 64 KiB to 1 GiB. Default 64 MiB.",
        )
        .default("64 MiB"),
        Field::new(
            "admin_reads_per_minute",
            Kind::Int { min: 1, max: 1_000_000 },
            "Reads of the admin API a minute and caller. Default 100.",
        )
        .default("100"),
        Field::new(
            "admin_writes_per_minute",
            Kind::Int { min: 1, max: 1_000_000 },
            "Changes by the admin API a minute and caller. Default 30.",
        )
        .default("30"),
    ],
};

static UPSTREAM: Table = Table {
    name: "upstream",
    doc: "Connections to providers.",
    fields: &[
        Field::new(
            "pool_idle_max",
            Kind::Int { min: 0, max: 10_000 },
            "Idle connections kept per target and worker. Default 64.",
        )
        .default("64"),
        Field::new(
            "idle_timeout",
            Kind::Duration { min: "1 s", max: "1 hour" },
            "Idle time after which a kept connection is closed, 1 s to 1 hour. Default 55 s.",
        )
        .default("55 s"),
        Field::new(
            "max_age",
            Kind::Duration { min: "1 s", max: "1 day" },
            "Age after which a connection takes no new request, 1 s to 1 day. Default 10 minutes.",
        )
        .default("10 minutes"),
        Field::new(
            "dns_ttl_min",
            Kind::Duration { min: "100 ms", max: "1 hour" },
            "Shortest use of a resolved address, 100 ms to 1 hour. Default 1 s.",
        )
        .default("1 s"),
        Field::new(
            "dns_ttl_max",
            Kind::Duration { min: "1 s", max: "1 day" },
            "Longest use of a resolved address, 1 s to 1 day. Default 5 minutes.",
        )
        .default("5 minutes"),
        Field::new(
            "dns_servers",
            Kind::List { of: &Kind::Word(&words::NAME_SERVER), max: 8 },
            "Name servers to ask, each an address or `ADDRESS:PORT`, port 53 unless said. The hosts file still comes first; \
             the search list of the system does not count then. Default: those of the system.",
        ),
    ],
};

static EGRESS: Table = Table {
    name: "egress",
    doc: "Where connections may go beyond the public internet.",
    fields: &[
        Field::new(
            "allow",
            Kind::List { of: &Kind::Table(&EGRESS_ALLOW), max: LIST_MAX },
            "Private networks that projects may name, also over plain `http`.",
        ),
        Field::new("ports", PORTS, "Ports besides 443, 80, 8000 to 8999 and 11434."),
    ],
};

pub(super) static EGRESS_ALLOW: Table = Table {
    name: "egress_allow",
    doc: "One allowed network.",
    fields: &[
        Field::new("cidr", Kind::Word(&words::CIDR), "The network, such as `10.0.0.0/8`, or one address.").required(),
        Field::new("ports", PORTS, "Ports allowed in it. Default: every port."),
    ],
};

const PORTS: Kind = Kind::List { of: &Kind::Int { min: 1, max: 65_535 }, max: LIST_MAX };

static TLS: Table = Table {
    name: "tls",
    doc: "Certificates of providers.",
    fields: &[Field::new(
        "roots",
        Kind::OrFile { text: "`system`", table: &FILE },
        "Authorities that may vouch for a provider: `system`, or `{file: PATH}` of PEM certificates. Default `system`.",
    )],
};

static EDGE: Table = Table {
    name: "edge",
    doc: "TLS and HTTP/2 for clients, in front of the workers.",
    fields: &[
        Field::new("listen", Kind::Word(&words::SOCKET), "Address that clients call. Default `0.0.0.0:9443`.")
            .default("0.0.0.0:9443"),
        Field::new(
            "certificates",
            Kind::List { of: &Kind::Table(&EDGE_CERTIFICATE), max: 100 },
            "1 to 100 certificates. A client gets the first that carries the name it asks for, else the first. Read again \
             at SIGHUP and when a file changes.",
        )
        .required(),
        Field::new(
            "threads",
            Kind::Int { min: 1, max: 64 },
            "Threads for TLS and HTTP/2, 1 to 64. Default 1.",
        )
        .default("1"),
        Field::new(
            "handshake_timeout",
            Kind::Duration { min: "100 ms", max: "60 s" },
            "Longest time of a handshake of TLS, 100 ms to 60 s. Default 5 s.",
        )
        .default("5 s"),
    ],
};

pub(super) static EDGE_CERTIFICATE: Table = Table {
    name: "edge_certificate",
    doc: "One certificate and its key.",
    fields: &[
        Field::new(
            "cert",
            Kind::Word(&words::PATH),
            "PEM file of the certificate and those that lead from it to an authority. Relative to this document.",
        )
        .required(),
        Field::new(
            "key",
            Kind::Word(&words::PATH),
            "PEM file of the private key, with mode 0600 or 0640. Relative to this document.",
        )
        .required(),
    ],
};

static LOG: Table = Table {
    name: "log",
    doc: "What is logged.",
    fields: &[
        Field::new("access", Kind::Bool, "One line a request. Default true.").default("true"),
        Field::new(
            "level",
            Kind::Choice(&["error", "warn", "info", "debug"]),
            "Least severe level of the application log; the variables `MILLRACE_LOG` and `RUST_LOG` win. Default `info`.",
        )
        .default("info"),
    ],
};

static USAGE: Table = Table {
    name: "usage",
    doc: "What is stored of requests. Sums hold every request in any case.",
    fields: &[
        Field::new(
            "request_rows",
            Kind::Choice(&["errors", "sampled", "all"]),
            "Which requests are stored one by one, for the logs: those that failed or were refused, a share of the others \
             beside them, or all. Default `sampled`.",
        )
        .default("sampled"),
        Field::new(
            "sample_percent",
            Kind::Int { min: 0, max: 100 },
            "Share of the requests that did not fail which `sampled` stores, 0 to 100; their ids decide. Default 5.",
        )
        .default("5"),
        Field::new(
            "payload_bytes",
            Kind::Size { min: KIB, max: MIB },
            "Bytes kept of a request, and as many of its answer, for projects with `log_payloads`. 1 KiB to 1 MiB, default 64 KiB.",
        )
        .default("64 KiB"),
        Field::new(
            "payload_queue_bytes",
            Kind::Size { min: 64 * KIB, max: 1024 * MIB },
            "Bytes of requests and answers that are not stored yet, all together; what finds no room is dropped and counted. \
             64 KiB to 1 GiB, default 32 MiB.",
        )
        .default("32 MiB"),
    ],
};

static MAIL: Table = Table {
    name: "mail",
    doc: "The mail server of alerts.",
    fields: &[
        Field::new(
            "smtp_url",
            Kind::Word(&words::SMTP_URL),
            "Address of the server: `smtps://USER:PASSWORD@HOST:PORT`, or `smtp://...?tls=required` for STARTTLS. Without TLS \
             no password is accepted. Best given as `${SMTP_URL}`.",
        )
        .required(),
        Field::new(
            "from",
            Kind::Word(&words::MAILBOX),
            "Sender, such as `Millrace <alerts@example.com>`.",
        )
        .required(),
    ],
};

static DRAIN: Table = Table {
    name: "drain",
    doc: "How long what is open may take to finish.",
    fields: &[
        Field::new(
            "grace",
            Kind::Duration { min: "0 s", max: "2 hours" },
            "Longest time that open requests get after a stop signal, up to 2 hours. Default 300 s.",
        )
        .default("300 s"),
        Field::new(
            "replaced_grace",
            Kind::Duration { min: "0 s", max: "2 hours" },
            "Longest time that streams get whose configuration was replaced, once more than 8 replaced configurations of their \
             project are in use. Up to 2 hours, default 300 s.",
        )
        .default("300 s"),
    ],
};

pub(super) static KEYS: Table = Table {
    name: "keys",
    doc: "The API keys of one process. The keys themselves are not in it, only their digests.",
    fields: &[Field::new("keys", Kind::List { of: &Kind::Table(&KEY), max: 10_000 }, "One entry a key.").required()],
};

pub(super) static KEY: Table = Table {
    name: "key",
    doc: "One API key. `millrace key new` prints a key and its entry.",
    fields: &[
        Field::new("id", Kind::Word(&words::ID), "Name in logs and reports, unique. Never the key.").required(),
        Field::new("digest", Kind::Word(&words::DIGEST), "`sha256:` and the 64 hex digits of the SHA-256 of the key.")
            .required(),
        Field::new("description", Kind::Text { bytes_max: 1_024 }, "What the key is for. At most 1 KiB."),
        Field::new(
            "projects",
            Kind::List { of: &Kind::Word(&words::PROJECT_SLUG), max: 10_000 },
            "Slugs of the projects it may call, 1 or more. With exactly one, `model` may be the bare name of a route.",
        )
        .required(),
        Field::new(
            "routes",
            Kind::List { of: &Kind::Word(&words::PROJECT_ROUTE), max: 10_000 },
            "`project/route` it may call. Default: every route of its projects.",
        ),
        Field::new("enabled", Kind::Bool, "Whether it works at all. Default true.").default("true"),
        Field::new("expires", Kind::Word(&words::TIME), "When it stops to work, as RFC 3339. Default: never."),
    ],
};
