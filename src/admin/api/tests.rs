//! Rules of every endpoint, and the checked-in document.

use std::collections::BTreeSet;
use std::path::Path;

use super::{endpoints, openapi_document};
use crate::admin::rest::{Access, Method};
use crate::base::Finish;

/// Changes of what has no revision, so that there is nothing to match.
const WITHOUT_REVISION: &[&str] =
    &["/sessions/current", "/admin-tokens/{token}", "/instance/egress-rules/{egress_rule}"];
/// A value that is entered whole, whatever stood there.
const ENTERED_WHOLE: &[&str] = &[
    "/instance/platform-credentials",
    "/instance/platform-credentials/{provider_key}",
    "/organizations/{organization}/credits/fee",
];

#[test]
fn openapi_document_is_checked_in() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let document = openapi_document();
    if std::env::var_os("MILLRACE_WRITE_OPENAPI").is_some() {
        std::fs::write(&path, &document).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == document, "openapi.json differs from the code; run `make openapi` and read the difference");
}

#[test]
fn filter_of_logs_names_every_reason_for_an_end() {
    let words: Vec<_> = Finish::ALL.iter().map(|known| known.as_str()).collect();
    let pattern = format!("^({})$", words.join("|"));
    assert!(openapi_document().contains(&pattern), "no filter has the pattern {pattern}");
}

#[test]
fn endpoint_names_and_places_are_unique() {
    let mut names = BTreeSet::new();
    let mut places = BTreeSet::new();
    for endpoint in endpoints() {
        assert!(names.insert(endpoint.name.clone()), "two handlers are named {}", endpoint.name);
        assert!(places.insert((endpoint.path, endpoint.method)), "{} {}", endpoint.method.as_str(), endpoint.path);
        assert!(endpoint.summary.ends_with('.'), "{}: the summary is a sentence", endpoint.name);
    }
}

#[test]
fn what_needs_a_capability_is_told_who_calls() {
    for endpoint in endpoints() {
        assert_eq!(
            endpoint.takes_caller(),
            endpoint.access != Access::Open,
            "{}: `Caller` and `Access` belong together",
            endpoint.name
        );
    }
}

#[test]
fn path_and_arguments_name_the_same_segments() {
    for endpoint in endpoints() {
        let of_path: BTreeSet<String> = endpoint
            .path
            .split('/')
            .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}').map(str::to_owned))
            .collect();
        assert_eq!(of_path, endpoint.path_parameters(), "{}", endpoint.name);
    }
}

#[test]
fn changes_of_what_exists_need_its_revision() {
    for endpoint in endpoints() {
        let changes = matches!(endpoint.method, Method::Put | Method::Patch | Method::Delete);
        let has_none = WITHOUT_REVISION.contains(&endpoint.path) || ENTERED_WHOLE.contains(&endpoint.path);
        if changes && !has_none {
            assert!(endpoint.takes_revision(), "{} {} has no `If-Match`", endpoint.method.as_str(), endpoint.path);
        }
    }
}
