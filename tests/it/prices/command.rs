//! `millrace prices`, and the file of one's own prices.

use std::path::Path;

use tempfile::tempdir;

use crate::harness::program;

const HEAD: &str = "#millrace-prices 1 source=contract date=2026-11-01 unit=usd_per_million_tokens\n";

/// Runs a command in a folder; gives its exit status, and what it wrote to both outputs.
fn run(folder: &Path, args: &[&str]) -> (i32, String) {
    let output = program(folder).args(args).current_dir(folder).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

#[test]
fn prices_are_shown_with_their_source_and_date() {
    let folder = tempdir().unwrap();
    for (args, status, said) in [
        (&["prices", "show"][..], 0, "catalogue: genai-prices of 20"),
        (&["prices", "show", "openai/gpt-4o-mini"], 0, "catalogue of 20"),
        (&["prices", "show", "openai/gpt-4o-mini"], 0, "  cached_input    0.075\n"),
        (&["prices", "show", "openai/gpt-5.4"], 0, "prompts of more than 272000 tokens:\n  input           5\n"),
        (&["prices", "show", "mistral/mistral-large-latest"], 0, "mistralai/mistral-large-latest: catalogue"),
        (&["prices", "show", "openai/llama"], 1, "is in no table"),
        (&["prices", "show", "gpt-4o"], 1, "the form is"),
        (&["prices", "update"], 2, "--from"),
    ] {
        let (code, text) = run(folder.path(), args);
        assert_eq!(code, status, "{args:?}: {text}");
        assert!(text.contains(said), "{args:?}: {text}");
    }
    let (_, text) = run(folder.path(), &["prices", "show", "openai/gpt-5.4", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(shown["model"], "openai/gpt-5.4");
    assert_eq!(
        (&shown["prices"][0]["input"], &shown["prices"][1]["over_input_tokens"]),
        (&"2.5".into(), &272_000.into())
    );
}

#[test]
fn own_table_is_checked_compared_and_put_in_place() {
    let folder = tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("millrace.yaml", "prices_file: prices.txt\n");
    write("new.txt", &format!("{HEAD}@openai\ngpt-4o-mini in=0.10 out=0.60\no3 in=2 out=8\n@own\nx in=0 out=0\n"));
    write("bad.txt", &format!("{HEAD}@openai\ngpt-4o in=1\ngpt-5 in=1 out=1.1234567\n"));
    let update = ["prices", "update", "-c", "millrace.yaml", "--from"];
    let (code, text) = run(folder.path(), &[&update[..], &["bad.txt"]].concat());
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("bad.txt:3:1: a row needs") && text.contains("bad.txt:4:1: at most 6"), "{text}");
    let (code, text) = run(folder.path(), &[&update[..], &["new.txt", "--check"]].concat());
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("openai/gpt-4o-mini: 0.15 and 0.6 -> 0.1 and 0.6"), "{text}");
    assert!(text.contains("own/x: 0 and 0 (new)") && text.contains("1 names cost what they cost now"), "{text}");
    assert!(!folder.path().join("prices.txt").exists(), "a check changes nothing");
    let (code, text) = run(folder.path(), &[&update[..], &["new.txt"]].concat());
    assert_eq!(code, 0, "{text}");
    let (_, text) = run(folder.path(), &["prices", "show", "openai/gpt-4o-mini", "-c", "millrace.yaml"]);
    assert!(text.contains("prices_file of 2026-11-01") && text.contains("  input           0.1\n"), "{text}");
}

#[test]
fn unpriced_target_is_a_warning_until_a_table_has_its_host() {
    let folder = tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    std::fs::create_dir(folder.path().join("projects")).unwrap();
    let model = "{model_id: m, model: openai/llama, credentials: {base_url: \"https://models.example.com/v1\"}}";
    write("projects/p.yaml", &format!("chat_models: [{model}]\nroutes: {{r: {{chat_models: [m]}}}}\n"));
    write("millrace.yaml", "projects_dir: projects\nprices_file: prices.txt\n");
    for (rows, status, said) in [
        ("@own\nllama in=1 out=2\n", 0, "routes.r.chat_models[0]: `openai/llama` has no price"),
        ("@own hosts=models.example.com\nllama in=1 out=2\n", 0, "1 document: valid, 0 errors, 0 warnings"),
        ("@own hosts=models.example.com\nllama in=1\n", 1, "prices.txt:3:1: a row needs"),
    ] {
        write("prices.txt", &format!("{HEAD}{rows}"));
        let (code, text) = run(folder.path(), &["check", "millrace.yaml"]);
        assert_eq!(code, status, "{text}");
        assert!(text.contains(said), "{text}");
    }
}
