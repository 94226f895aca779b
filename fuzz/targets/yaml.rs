//! Any text is a configuration or a list of problems.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace::config::{Problem, ProjectContext, Severity, check_keys, check_project, check_server};

fuzz_target!(|text: &[u8]| {
    if let Err(problems) = check_project(text, ProjectContext::default()) {
        holds(&problems);
    }
    if let Err(problems) = check_server(text, &|name| (name == "SET").then(|| "value".to_owned())) {
        holds(&problems);
    }
    if let Err(problems) = check_keys(text) {
        holds(&problems);
    }
});

fn holds(problems: &[Problem]) {
    assert!(problems.iter().any(|problem| problem.severity == Severity::Error), "refused without an error");
    for problem in problems {
        assert!(!problem.render("project.yaml").is_empty());
    }
}
