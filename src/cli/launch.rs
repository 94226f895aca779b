//! `serve` and `demo`: from flags to a running gateway.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use millrace::base::{KeyKind, Secret, generate_key, verify_key_form};
use millrace::config::{check_server, secret_text};
use millrace::control::{Demo, DemoUpstream};
use millrace::server::{Launch, ServerError, Source, run};
use millrace::snapshot::Refusal;

use super::args::{DemoArgs, ServeArgs};
use super::documents::{Settings, read, settings};
use super::print::{REFUSED, WRONG_USAGE, out, report, report_problems};

/// A demo is for this machine until somebody says otherwise.
const DEMO_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9_000);

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
    let ready = Box::new(|listen, admin_listen| say(&addresses(listen, admin_listen)));
    start(Launch { server, source: Source::Files, ready })
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
            verify_key_form(&text).context("--key")?;
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
    let ready = Box::new(move |listen: SocketAddr, admin_listen| {
        let request = request_line(listen, key.reveal());
        say(&format!("{}\nTry it:\n\n{request}\n", addresses(listen, admin_listen)));
    });
    Ok(Launch { server, source: Source::Demo(demo), ready })
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

fn addresses(listen: SocketAddr, admin_listen: SocketAddr) -> String {
    format!("listening on http://{listen}\nadmin on http://{admin_listen}\n")
}

/// A request that the demo answers, for a shell.
fn request_line(listen: SocketAddr, key: &str) -> String {
    // A wildcard address is no destination.
    let host =
        if listen.ip().is_unspecified() { SocketAddr::from((Ipv4Addr::LOCALHOST, listen.port())) } else { listen };
    format!(
        "curl http://{host}/v1/chat/completions \\\n  -H 'authorization: Bearer {key}' \\\n  -H 'content-type: application/json' \\\n  -d '{{\"model\": \"demo/chat\", \"stream\": true, \"messages\": [{{\"role\": \"user\", \"content\": \"Hello\"}}]}}'\n"
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
            (&["--key", "x"][..], "--key: a key starts with"),
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
    fn request_line_names_an_address_that_can_be_called() {
        for (listen, want) in [
            ("0.0.0.0:80", "http://127.0.0.1:80/"),
            ("[::]:80", "http://127.0.0.1:80/"),
            ("[::1]:80", "http://[::1]:80/"),
            ("10.0.0.1:9000", "http://10.0.0.1:9000/"),
        ] {
            let line = request_line(listen.parse().unwrap(), "k");
            assert!(line.contains(want), "{line}");
        }
    }
}
