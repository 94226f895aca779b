//! `serve` and `demo`: from flags to a running gateway.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use millrace::base::{KeyKind, Secret, generate_key};
use millrace::config::{check_server, secret_text};
use millrace::control::{Demo, DemoUpstream};
use millrace::server::{Launch, Listening, ServerError, Source, run};
use millrace::snapshot::Refusal;
use serde_json::Value;

use super::args::{DemoArgs, ServeArgs};
use super::documents::{Settings, read, settings};
use super::print::{REFUSED, WRONG_USAGE, out, report, report_problems};

/// A demo is for this machine until somebody says otherwise.
const DEMO_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9_000);

/// Length of a key that is given to the demo.
const KEY_CHARS: RangeInclusive<usize> = 16..=200;

/// `millrace serve`.
pub(crate) fn serve(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let text = read(&args.config).map_err(|refusal| vec![refusal]);
    let Settings { mut server, warnings } = match text.and_then(|text| settings(&text, &args.config)) {
        Ok(settings) => settings,
        Err(refusals) => return Ok(refuse(&refusals)),
    };
    report_problems(&warnings);
    args.overrides.apply(&mut server);
    if let Some(folder) = args.data_dir {
        server.data_dir = folder;
    }
    let ready = Box::new(|listening: Listening| say(&addresses(listening)));
    // Files of projects or keys are the whole configuration; without them it is what the admin API has stored.
    let has_files = server.projects_dir.is_some() || server.keys_file.is_some();
    let source = if has_files { Source::Files } else { Source::Store };
    start(Launch { server, source, ready })
}

/// `millrace demo`. Whatever is refused before the start was said by a flag or its variable.
pub(crate) fn demo(args: DemoArgs) -> anyhow::Result<ExitCode> {
    match demo_launch(args) {
        Ok(launch) => start(launch),
        Err(error) => {
            report(&error);
            Ok(ExitCode::from(WRONG_USAGE))
        }
    }
}

fn demo_launch(args: DemoArgs) -> anyhow::Result<Launch> {
    let key = match args.key {
        Some(text) => {
            check_demo_key(&text)?;
            Secret::new(text)
        }
        None => generate_key(KeyKind::Test).context("the system gave no random bytes")?,
    };
    let upstream_key = args.api_key_env.as_deref().map(key_of_variable).transpose()?;
    let upstream = args.upstream.zip(args.model).map(|(url, model)| DemoUpstream { url, model, key: upstream_key });
    let demo = Demo { key: key.clone(), upstream };
    if let Err(refusals) = demo.sources() {
        let reason = refusals.first().map_or_else(String::new, |refusal| refusal.problem.to_string());
        bail!("--upstream, --model: {reason}");
    }
    // Settings without a file: every key has its default.
    let Ok(settings) = check_server(b"", &|_| None) else {
        bail!("the defaults are refused");
    };
    let mut server = settings.config;
    server.listen = DEMO_LISTEN;
    args.overrides.apply(&mut server);
    let ready = Box::new(move |listening: Listening| {
        let host = reachable(listening.data);
        let (request, snippet) = (request_line(host, key.reveal()), python_snippet(host, key.reveal()));
        let addresses = addresses(listening);
        say(&format!("{addresses}\nTry it in a shell:\n\n{request}\nOr in Python:\n\n{snippet}\n"));
    });
    Ok(Launch { server, source: Source::Demo(demo), ready })
}

/// The demo takes keys of any form, so that a client can keep the one it has. What is refused could not be sent.
fn check_demo_key(text: &str) -> anyhow::Result<()> {
    let printable = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if !KEY_CHARS.contains(&text.len()) || !printable || text.trim() != text {
        let (min, max) = (KEY_CHARS.start(), KEY_CHARS.end());
        bail!("--key: a key has {min} to {max} printable ASCII characters, and no space at its ends");
    }
    Ok(())
}

fn key_of_variable(variable: &str) -> anyhow::Result<Secret> {
    let Ok(text) = std::env::var(variable) else {
        bail!("--api-key-env: the variable `{variable}` is not set");
    };
    secret_text(&text).with_context(|| format!("--api-key-env: `{variable}`"))
}

/// Runs the gateway until it has stopped.
fn start(launch: Launch) -> anyhow::Result<ExitCode> {
    if let Err(error) = launch.server.check_listeners() {
        report(&error.into());
        return Ok(ExitCode::from(WRONG_USAGE));
    }
    match run(launch) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(ServerError::Config(refusals)) => Ok(refuse(&refusals)),
        Err(error) => Err(error.into()),
    }
}

fn refuse(refusals: &[Refusal]) -> ExitCode {
    report_problems(refusals);
    ExitCode::from(REFUSED)
}

fn addresses(listening: Listening) -> String {
    let edge = listening.edge.map(|edge| format!("edge on https://{edge}\n")).unwrap_or_default();
    format!("listening on http://{}\n{edge}admin on http://{}\n", listening.data, listening.admin)
}

/// An address that can be called: a wildcard is no destination.
fn reachable(listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() { SocketAddr::from((Ipv4Addr::LOCALHOST, listen.port())) } else { listen }
}

/// A request that the demo answers, for a shell.
fn request_line(host: SocketAddr, key: &str) -> String {
    // Inside single quotes a shell reads everything as it stands, but for their end.
    let key = key.replace('\'', r"'\''");
    format!(
        "curl http://{host}/v1/chat/completions \\\n  -H 'authorization: Bearer {key}' \\\n  -H 'content-type: application/json' \\\n  -d '{{\"model\": \"demo/chat\", \"stream\": true, \"messages\": [{{\"role\": \"user\", \"content\": \"Hello\"}}]}}'\n"
    )
}

/// The same with the `openai` package.
fn python_snippet(host: SocketAddr, key: &str) -> String {
    // A JSON string of ASCII is a Python string.
    let key = Value::from(key);
    format!(
        r#"from openai import OpenAI

client = OpenAI(base_url="http://{host}/v1", api_key={key})
answer = client.chat.completions.create(
    model="demo/chat", messages=[{{"role": "user", "content": "Hello"}}]
)
print(answer.choices[0].message.content)
"#
    )
}

/// Prints what whoever started the gateway waits for. It serves all the same when nobody reads it.
fn say(text: &str) {
    if let Err(error) = out(text) {
        report(&error);
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::args::{Cli, Command};
    use super::*;

    fn demo_args(flags: &[&str]) -> DemoArgs {
        let Command::Demo(args) = Cli::parse_from(["millrace", "demo"].iter().chain(flags)).command else {
            panic!("another command");
        };
        args
    }

    #[test]
    fn demo_refuses_flags_before_it_starts() {
        for (flags, want) in [
            (&["--key", "fifteen-letters"][..], "--key: a key has 16 to 200 printable ASCII characters"),
            (&["--key", " a-space-before-16"], "--key: a key has 16 to 200"),
            (&["--key", "schlüssel-mit-umlaut"], "--key: a key has 16 to 200"),
            (&["--key", "a-line\nfeed-inside-it"], "--key: a key has 16 to 200"),
            (&["--upstream", "ftp://x", "--model", "m"], "--upstream, --model:"),
            (&["--upstream", "http://x/v1", "--model", "m", "--api-key-env", "NOT_SET_7"], "`NOT_SET_7` is not set"),
        ] {
            let error = demo_launch(demo_args(flags)).err().map(|error| format!("{error:#}"));
            assert!(error.as_ref().is_some_and(|text| text.contains(want)), "{flags:?}: {error:?}");
        }
    }

    #[test]
    fn demo_listens_on_loopback_unless_told() {
        let launch = demo_launch(demo_args(&[])).unwrap();
        assert_eq!(launch.server.listen, DEMO_LISTEN);
        let launch = demo_launch(demo_args(&["--listen", "0.0.0.0:1", "--workers", "3"])).unwrap();
        assert_eq!((launch.server.listen.to_string().as_str(), launch.server.runtime.workers), ("0.0.0.0:1", Some(3)));
    }

    #[test]
    fn demo_takes_a_key_of_any_form() {
        for key in ["sixteen-letters!", "sk-proj-0123456789abcdef", "with a space in it"] {
            let launch = demo_launch(demo_args(&["--key", key])).map_err(|error| format!("{error:#}"));
            assert!(matches!(launch.as_ref().map(|launch| &launch.source), Ok(Source::Demo(_))), "{key}");
        }
        assert!(check_demo_key(&"k".repeat(200)).is_ok() && check_demo_key(&"k".repeat(201)).is_err());
    }

    #[test]
    fn quotes_in_a_key_do_not_end_the_pasted_text() {
        let host = "127.0.0.1:9000".parse().unwrap();
        assert!(request_line(host, "it's").contains(r"Bearer it'\''s'"));
        let snippet = python_snippet(host, "a\"b\\c");
        assert!(snippet.contains(r#"OpenAI(base_url="http://127.0.0.1:9000/v1", api_key="a\"b\\c")"#), "{snippet}");
    }

    #[test]
    fn request_line_names_an_address_that_can_be_called() {
        for (listen, want) in [
            ("0.0.0.0:80", "http://127.0.0.1:80/"),
            ("[::]:80", "http://127.0.0.1:80/"),
            ("[::1]:80", "http://[::1]:80/"),
            ("10.0.0.1:9000", "http://10.0.0.1:9000/"),
        ] {
            let line = request_line(reachable(listen.parse().unwrap()), "k");
            assert!(line.contains(want), "{line}");
        }
    }
}
