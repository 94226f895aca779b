//! Documents as fixtures, bombs, and texts made of noise.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;

use super::fields::Fields;
use super::project_tables::{MOCK_PARAMS, PROJECT};
use super::server_tables::{KEYS, SERVER};
use super::table::{Kind, State, Table};
use super::yaml::{Content, Node};
use super::{
    At, Code, ModelList, Position, Problem, ProjectContext, PromptRole, Provider, SecretSource, Severity, check_keys,
    check_project, check_server, keys_schema, project_schema, server_schema,
};

fn root(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn environment(name: &str) -> Option<String> {
    match name {
        "PORT" => Some("9100".to_owned()),
        "OPENAI_API_KEY" => Some("sk-canary-0123".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

/// Checks a document of the kind that its name begins with. `Ok` holds the warnings.
fn check(name: &str, text: &[u8]) -> Result<Vec<Problem>, Vec<Problem>> {
    let secrets = ["OPENAI_API_KEY", "GROQ_API_KEY"].map(str::to_owned);
    let secrets = BTreeSet::from(secrets);
    if name.starts_with("server") || name == "millrace" {
        return check_server(text, &environment).map(|checked| checked.warnings);
    }
    if name.starts_with("keys") {
        return check_keys(text).map(|checked| checked.warnings);
    }
    let context = ProjectContext { secret_names: Some(&secrets), provider_keys: &[], ..ProjectContext::default() };
    check_project(text, context).map(|checked| checked.warnings)
}

fn report(problems: &[Problem]) -> String {
    let mut out = String::new();
    for p in problems {
        let Position { line, column } = p.at;
        let (severity, code, path) = (p.severity.as_str(), p.code.as_str(), &p.path);
        let hint = p.hint.as_ref().map_or(String::new(), |h| format!(" ({h})"));
        let message = &p.message;
        writeln!(out, "{line}:{column}: {severity}: {code}: {path}: {message}{hint}").unwrap();
    }
    out
}

/// Every fixture of a folder, by name.
fn fixtures(folder: &str) -> Vec<(String, PathBuf)> {
    let mut found: Vec<_> = std::fs::read_dir(root("tests/fixtures/config").join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "{folder} has no fixtures");
    found
}

/// The expected report of a fixture; with `MILLRACE_UPDATE_EXPECTED` set, the present one becomes it.
fn expected(fixture: &Path, got: &str) -> String {
    let path = fixture.with_extension("expected");
    if std::env::var_os("MILLRACE_UPDATE_EXPECTED").is_some() && !got.is_empty() {
        std::fs::write(&path, got).unwrap();
    }
    std::fs::read_to_string(&path).unwrap_or_default()
}

#[test]
fn model_needs_no_key_where_one_of_its_provider_is_stored() {
    let text = "chat_models: [{model_id: m, model: openai/gpt}]\nroutes: {r: {chat_models: [m]}}\n";
    for (name, provider_keys, want) in [
        ("none stored", &[][..], Err(Code::NoCredential)),
        ("another provider's", &[Provider::Groq], Err(Code::NoCredential)),
        ("its own", &[Provider::Groq, Provider::OpenAi], Ok(0)),
    ] {
        let checked = check_project(
            text.as_bytes(),
            ProjectContext { secret_names: None, provider_keys, ..ProjectContext::default() },
        );
        let got = checked.map(|checked| checked.warnings.len()).map_err(|problems| problems[0].code);
        assert_eq!(got, want, "{name}");
    }
}

#[test]
fn invalid_documents_give_exactly_the_expected_problems() {
    let mut wrong = String::new();
    for (name, path) in fixtures("invalid") {
        let got = match check(&name, &read(&path)) {
            Err(problems) => report(&problems),
            Ok(_) => "accepted\n".to_owned(),
        };
        let want = expected(&path, &got);
        if got != want {
            writeln!(wrong, "{name}: expected\n{want}got\n{got}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn valid_documents_give_exactly_the_expected_warnings() {
    for (name, path) in fixtures("valid") {
        let got = match check(&name, &read(&path)) {
            Ok(warnings) => report(&warnings),
            Err(problems) => panic!("{name}: {}", report(&problems)),
        };
        let want = expected(&path, &got);
        assert_eq!(got, want, "{name}");
        assert!(got.lines().all(|line| line.contains(": warning: ")), "{name}");
    }
}

/// The commented examples of the repository, and the same text with every commented line in force.
#[test]
fn shipped_examples_are_valid_without_warnings() {
    for (name, file) in [
        ("millrace", "config/millrace.yaml"),
        ("keys", "config/keys.yaml"),
        ("project", "config/projects/example.yaml"),
    ] {
        let text = read(&root(file));
        match check(name, &text) {
            Ok(warnings) => assert_eq!(report(&warnings), "", "{file}"),
            Err(problems) => panic!("{file}: {}", report(&problems)),
        }
    }
}

#[test]
fn shipped_settings_state_the_defaults() {
    let example = check_server(&read(&root("config/millrace.yaml")), &environment).unwrap();
    let default = check_server(b"", &environment).unwrap();
    let (mut example, mut default) = (example.config, default.config);
    example.projects_dir = None;
    example.keys_file = None;
    assert_eq!(format!("{example:?}"), format!("{default:?}"));
    default.resolve_paths(Path::new("/etc/millrace"));
    assert_eq!(default.data_dir, Path::new("/etc/millrace/./millrace-data"));
}

#[test]
fn project_is_read_as_written() {
    let text = read(&root("tests/fixtures/config/valid/project-full.yaml"));
    let project = check_project(&text, ProjectContext::default()).unwrap().config;
    let large = &project.models[0];
    assert_eq!(large.id.value, "large");
    assert_eq!(large.id.path.as_ref(), "chat_models[0].model_id");
    assert_eq!((large.provider, large.name.as_str()), (Provider::OpenAi, "gpt-4o"));
    assert_eq!(large.api_key.as_ref().unwrap().value, "OPENAI_API_KEY");
    assert_eq!(large.base_url.as_ref().unwrap().value, "https://eu.example.com/v1");
    let params: Vec<String> = large.params.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(params, ["temperature=0.5", "stop=[\"a\",\"b\"]", "seed=7", "logit_bias={\"50256\":-100}"]);
    let prompt = large.prompt.as_ref().unwrap();
    assert_eq!(prompt.text, "Answer briefly.\n");
    assert_eq!(prompt.role, PromptRole::Developer);
    assert_eq!(large.timeouts.first_byte, Some(Duration::from_secs(30)));
    assert!(large.retry_safe);
    let fake = &project.models[2];
    assert_eq!(fake.mock.latency, Duration::from_millis(50));
    assert_eq!(fake.mock.token_delay, Duration::from_millis(5));
    assert_eq!(fake.mock.response_text.as_deref(), Some("ok"));
    assert_eq!((fake.mock.vector_size, fake.params.len()), (1_536, 0));
    assert_eq!(project.models[3].list, ModelList::Embedding);
    assert_eq!(project.models[3].provider, Provider::Mistral);
    assert_eq!(project.models[4].mock.vector_size, 3);
    let support = &project.routes[0];
    let listed = |list: &[At<usize>]| list.iter().map(|index| index.value).collect::<Vec<_>>();
    assert_eq!((listed(&support.chat), listed(&support.embedding)), (vec![0], vec![3]));
    assert_eq!(support.timeouts.total, Some(Duration::from_secs(600)));
    assert_eq!(project.routes[2].name.value, "fast-1.2_x");
    assert_eq!(listed(&project.routes[2].chat), [1]);
}

#[test]
fn limits_are_read_as_written() {
    use super::{LimitAlgorithm, LimitQueue, LimitScope, LimitUnit, RouteLimit};
    use crate::base::{OnCancel, OnExhausted};
    let text = read(&root("tests/fixtures/config/valid/limits.yaml"));
    let project = check_project(&text, ProjectContext::default()).unwrap().config;
    let [every, none, _] = &project.routes[..] else { panic!("three routes") };
    let shown =
        |limit: &RouteLimit| (limit.unit, limit.algorithm, limit.window, limit.max.value, limit.burst, limit.scope);
    let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3_600));
    let day = 24 * hour;
    use LimitUnit::{Concurrent, InputTokens, Money, OutputTokens, Requests};
    assert_eq!(
        every.limits.iter().map(shown).collect::<Vec<_>>(),
        [
            (Requests, LimitAlgorithm::Fixed, minute, 60, 60, LimitScope::Route),
            (Money, LimitAlgorithm::Aligned, day, 50_000_001_000, 50_000_001_000, LimitScope::Group),
            (InputTokens, LimitAlgorithm::Sliding, hour, 1_000_000, 1_000_000, LimitScope::Key),
            (OutputTokens, LimitAlgorithm::Bucket, minute, 100, 300, LimitScope::Key),
            (Concurrent, LimitAlgorithm::Fixed, Duration::ZERO, 0, 0, LimitScope::Key),
        ]
    );
    assert_eq!(every.limits.iter().map(|limit| limit.shadow).collect::<Vec<_>>(), [false, true, false, false, false]);
    assert_eq!(every.limits[4].queue, Some(LimitQueue { max: 50, wait: Duration::from_millis(100) }));
    assert_eq!(every.limits[1].max.path.as_ref(), "routes.every.budget_limiting.max_budget");
    assert_eq!((every.max_output_tokens, every.enforce_output_cap), (Some(256), Some(false)));
    assert_eq!((every.on_exhausted, none.on_exhausted), (OnExhausted::Cut, OnExhausted::Finish));
    let model = &project.models[0];
    assert_eq!((model.max_output_tokens, model.on_cancel), (Some(512), OnCancel::Drain));
    assert_eq!((&none.limits[..], none.max_output_tokens, none.enforce_output_cap), (&[][..], None, None));
}

#[test]
fn admin_hosts_are_kept_in_small_letters() {
    let text = read(&root("tests/fixtures/config/valid/server-remote-admin.yaml"));
    let server = check_server(&text, &environment).unwrap().config;
    assert_eq!(server.admin_hosts, ["gateway.internal", "admin_1.example.com", "203.0.113.7"]);
}

#[test]
fn proxies_are_trusted_by_network() {
    let text = read(&root("tests/fixtures/config/valid/server-behind-proxies.yaml"));
    let server = check_server(&text, &environment).unwrap().config;
    let networks: Vec<_> = server.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "192.0.2.7/32", "fd00::/8", "::ffff:10.9.0.0/112"]);
    assert!(check_server(b"{}", &environment).unwrap().config.trusted_proxies.is_empty());
}

#[test]
fn secrets_come_from_the_environment_and_are_not_shown() {
    let text = read(&root("tests/fixtures/config/valid/server-full.yaml"));
    let mut server = check_server(&text, &environment).unwrap().config;
    assert_eq!(server.listen.to_string(), "127.0.0.1:9100");
    assert_eq!(server.admin_listen.to_string(), "[::1]:9101");
    assert_eq!(server.runtime.workers, Some(4));
    server.resolve_paths(Path::new("/etc/millrace"));
    match &server.secrets["OPENAI_API_KEY"] {
        SecretSource::Value(secret) => assert_eq!(secret.reveal(), "sk-canary-0123"),
        SecretSource::File(_) => panic!("a variable is not a file"),
    }
    match &server.secrets["GROQ_API_KEY"] {
        SecretSource::File(path) => {
            assert_eq!(path.value, Path::new("/etc/millrace/secrets/groq"));
        }
        SecretSource::Value(_) => panic!("a file is not a variable"),
    }
    assert!(!format!("{server:?}").contains("canary"));
}

#[test]
fn no_report_repeats_a_secret() {
    for (name, path) in fixtures("invalid") {
        if let Err(problems) = check(&name, &read(&path)) {
            let report = report(&problems);
            assert!(!report.contains("sk-live") && !report.contains("canary"), "{name}: {report}");
        }
    }
}

#[test]
fn problems_render_with_file_line_and_column() {
    let problem = Problem::error("routes.r", Position { line: 3, column: 7 }, Code::UnknownKey, "unknown key `x`")
        .hint("did you mean `y`?");
    assert_eq!(problem.render("a.yaml"), "a.yaml:3:7: routes.r: unknown key `x` (did you mean `y`?)");
    let json = problem.to_json();
    assert_eq!(json["code"], "unknown_key");
    assert_eq!(json["severity"], "error");
    assert_eq!((&json["line"], &json["column"]), (&Value::from(3), &Value::from(7)));
}

#[test]
fn bombs_are_refused_at_their_limit() {
    let routes: String = (0..2_001).fold("routes:\n".to_owned(), |mut text, n| {
        writeln!(text, "  r{n}: {{chat_models: [a]}}").unwrap();
        text
    });
    let laughs = format!("a: &a [x]\n{}", (0..30).fold(String::new(), |text, _| text + "b: [*a, *a, *a, *a]\n"));
    let nested_maps: String = (0..100).fold(String::new(), |mut text, n| {
        writeln!(text, "{}a:", "  ".repeat(n)).unwrap();
        text
    });
    for (name, text, want) in [
        ("2 MiB", "# ".to_owned() + &"x".repeat(2 << 20), Code::TooLarge),
        ("depth 100", "a: ".to_owned() + &"[".repeat(100), Code::TooLarge),
        ("depth 100 in blocks", nested_maps, Code::TooLarge),
        ("depth of a million", "[".repeat(1_000_000), Code::TooLarge),
        ("maps a million deep", "{a: ".repeat(250_000), Code::TooLarge),
        ("sequences a million deep", "- ".repeat(500_000), Code::TooLarge),
        ("keys a million deep", "? ".repeat(500_000), Code::TooLarge),
        ("many nodes", format!("a: [{}]", "1,".repeat(200_000)), Code::TooLarge),
        ("2,001 routes", routes, Code::TooLarge),
        ("long key", format!("? {}\n: 1", "k".repeat(1_000)), Code::TooLarge),
        ("laughs", laughs, Code::YamlForbidden),
    ] {
        let problems = check_project(text.as_bytes(), ProjectContext::default()).unwrap_err();
        let found = problems.iter().any(|problem| problem.code == want);
        assert!(found, "{name}: {}", report(&problems));
        assert!(problems.len() <= 1_001, "{name}: {} problems", problems.len());
    }
}

/// Without bounds on the search for hints this takes minutes.
#[test]
fn flood_of_mistakes_is_cut_short() {
    let mut text = "chat_models:\n".to_owned();
    for n in 0..4_900 {
        writeln!(text, "- {{model_id: m{n}, model: mock/x}}").unwrap();
    }
    text.push_str("routes:\n");
    for n in 0..2_000 {
        writeln!(text, "  r{n}: {{chat_models: [a{n}, b{n}, c{n}, d{n}, e{n}]}}").unwrap();
    }
    let problems = check_project(text.as_bytes(), ProjectContext::default()).unwrap_err();
    assert_eq!(problems.len(), 1_001);
    let last = problems.last().unwrap();
    assert!(last.message.ends_with("more problems are not shown"), "{last}");
}

#[test]
fn two_thousand_routes_are_accepted() {
    let mut text = "chat_models: [{model_id: a, model: mock/a}]\nroutes:\n".to_owned();
    for n in 0..2_000 {
        writeln!(text, "  r{n}: {{chat_models: [a]}}").unwrap();
    }
    let project = check_project(text.as_bytes(), ProjectContext::default()).unwrap().config;
    assert_eq!(project.routes.len(), 2_000);
}

/// Walks every table below a root.
fn walk(table: &'static Table, visit: &mut dyn FnMut(&'static Table)) {
    fn kind(kind: &'static Kind, visit: &mut dyn FnMut(&'static Table)) {
        match kind {
            Kind::Table(table) | Kind::OrFile { table, .. } => walk(table, visit),
            Kind::List { of, .. } | Kind::Map { of, .. } => kind_of(of, visit),
            _ => {}
        }
    }
    fn kind_of(of: &'static Kind, visit: &mut dyn FnMut(&'static Table)) {
        kind(of, visit);
    }
    visit(table);
    for field in table.fields {
        kind(&field.kind, visit);
    }
}

#[test]
fn every_default_is_a_value_its_key_accepts() {
    let nothing = Node { at: Position::START, content: Content::Map(Vec::new()) };
    for root in [&PROJECT, &MOCK_PARAMS, &SERVER, &KEYS] {
        walk(root, &mut |table| {
            let fields = Fields::new(table, &nothing, String::new());
            for field in table.fields.iter().filter(|f| f.default.is_some()) {
                let name = field.name;
                let read = match field.kind {
                    Kind::Bool => fields.boolean(name).is_some(),
                    Kind::Int { .. } => fields.integer::<u64>(name).is_some(),
                    Kind::Size { .. } => fields.size(name).is_some(),
                    Kind::Duration { .. } => fields.duration(name).is_some(),
                    Kind::Money => fields.money(name).is_some(),
                    Kind::Choice(_) => fields.choice(name).is_some(),
                    Kind::Word(_) => fields.word(name).is_some(),
                    _ => false,
                };
                assert!(read, "{}.{name}", table.name);
            }
        });
    }
}

#[test]
fn schemas_describe_every_key_and_refuse_others() {
    for (table, schema) in [(&PROJECT, project_schema()), (&SERVER, server_schema()), (&KEYS, keys_schema())] {
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        walk(table, &mut |table| {
            let here = match &schema["$defs"][table.name] {
                Value::Null => &schema,
                definition => definition,
            };
            assert_eq!(here["additionalProperties"], false, "{}", table.name);
            for field in table.fields {
                let property = &here["properties"][field.name];
                assert!(property["description"].is_string(), "{}", field.name);
                let refused = property["type"] == "null";
                assert_eq!(refused, field.state == State::Unsupported, "{}", field.name);
            }
        });
    }
}

/// Calls every reader; what they say does not matter, that they return does.
fn check_as_everything(text: &[u8]) {
    let never_empty = |result: Result<(), Vec<Problem>>| {
        if let Err(problems) = result {
            let refused = problems.iter().any(|p| p.severity == Severity::Error);
            assert!(refused, "refused without an error");
            assert!(problems.is_sorted_by_key(|p| p.at), "not sorted");
        }
    };
    never_empty(check_project(text, ProjectContext::default()).map(drop));
    never_empty(check_server(text, &environment).map(drop));
    never_empty(check_keys(text).map(drop));
}

#[test]
fn cut_and_garbled_fixtures_never_panic() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut texts: Vec<Vec<u8>> =
        ["valid", "invalid"].into_iter().flat_map(fixtures).map(|(_, path)| read(&path)).collect();
    texts.extend(["config/millrace.yaml", "config/projects/example.yaml"].map(|f| read(&root(f))));
    let noise: &[u8] = b"\0\t\n\r\"'!#$%&*,-.:<>?@[]{}|`~ a0\xc3\xa9\xff\xef\xbb\xbf\\";
    for text in texts {
        for end in (0..text.len()).step_by(7) {
            check_as_everything(&text[..end]);
        }
        for _ in 0..200 {
            let mut garbled = text.clone();
            for _ in 0..random.usize(1..6) {
                let at = random.usize(0..=garbled.len());
                let byte = noise[random.usize(0..noise.len())];
                match random.u8(0..3) {
                    0 => garbled.insert(at, byte),
                    1 if at < garbled.len() => garbled[at] = byte,
                    2 if at < garbled.len() => drop(garbled.drain(at..)),
                    _ => {}
                }
            }
            check_as_everything(&garbled);
        }
    }
}

proptest! {
    #[test]
    fn bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        check_as_everything(&bytes);
    }

    #[test]
    fn yaml_like_texts_never_panic(text in "([a-c]|[-:?{}\\[\\],&*!|>'\"%@`#~.<]|\\n|\\t| |\\$\\{){0,80}") {
        check_as_everything(text.as_bytes());
    }
}
