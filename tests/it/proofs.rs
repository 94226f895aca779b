//! Every fault and every rule of accounting has a test.
//!
//! Ids are those of the fault matrix (F) and of the invariants of accounting (I). A test names its id in its name (`f_44_...`) or in
//! a comment (`F-44`); so whoever looks for the proof of one searches for its id. What is not built yet has no test and says so.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What proves a row.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Proof {
    /// A test names it.
    Test,
    /// A test names it, and so does the model of the whole book.
    Model,
    /// Nothing yet, for this reason.
    Open(&'static str),
}

use Proof::{Model, Open, Test};

/// Id, what it is about, proof.
const ROWS: &[(&str, &str, Proof)] = &[
    ("F-01", "provider refuses connections", Test),
    ("F-02", "provider drops connections", Test),
    ("F-03", "provider never answers", Test),
    ("F-04", "provider without valid TLS", Test),
    ("F-05", "names that do not resolve, or point inside", Test),
    ("F-06", "rate limits of providers", Test),
    ("F-07", "providers that fail", Test),
    ("F-08", "providers that refuse", Test),
    ("F-09", "success that is none", Test),
    ("F-10", "kept connections that have died", Test),
    ("F-11", "no provider is left", Test),
    ("F-12", "requests pile up", Test),
    ("F-13", "reset in an answer", Test),
    ("F-14", "end in an answer", Test),
    ("F-15", "no end mark", Test),
    ("F-16", "stall in an answer", Test),
    ("F-17", "wrong framing", Test),
    ("F-18", "broken and swollen compression", Test),
    ("F-19", "error within a stream", Test),
    ("F-20", "broken events", Test),
    ("F-21", "tiny and huge pieces", Test),
    ("F-22", "early ends, closed windows of HTTP/2", Test),
    ("F-23", "usage that is missing or wrong", Test),
    ("F-24", "client leaves before the answer", Test),
    ("F-25", "client leaves in the answer", Test),
    ("F-26", "client reads slowly", Test),
    ("F-27", "client sends no more", Test),
    ("F-28", "requests in a row, and garbage", Test),
    ("F-29", "repeated requests of the data plane", Open("`idempotency-key` of the data plane is not built")),
    ("F-30", "panic in a request", Test),
    ("F-31", "a worker ends", Test),
    ("F-32", "a worker stands still", Test),
    ("F-33", "threads wait for each other", Test),
    ("F-34", "killed under load", Test),
    ("F-35", "killed at the start", Test),
    ("F-36", "stopped under load", Test),
    ("F-37", "no memory left", Open("a budget of memory that sheds load is not built")),
    ("F-40", "disk full", Test),
    ("F-41", "disk fails", Test),
    ("F-42", "disk read-only", Test),
    ("F-43", "power lost", Test),
    ("F-44", "bits change", Test),
    ("F-45", "disk slow", Test),
    ("F-46", "other versions of the store", Test),
    ("F-50", "shared store away", Open(ONE_NODE)),
    ("F-51", "shared store slow", Open(ONE_NODE)),
    ("F-52", "commit without an answer", Open(ONE_NODE)),
    ("F-53", "shared store fails over", Open(ONE_NODE)),
    ("F-59", "clock jumps", Test),
    ("F-60", "served under load", Test),
    ("F-61", "bad configuration", Test),
    ("F-62", "stored configuration damaged", Test),
    ("F-63", "killed between two versions", Test),
    ("F-64", "two serve at once", Test),
    ("I-1", "never more than the limit", Model),
    ("I-2", "accounts are the sums of their entries", Model),
    ("I-3", "nothing stays reserved", Model),
    ("I-4", "a row for each request", Model),
    ("I-5", "an attempt for each call", Model),
    ("I-6", "settled once", Model),
    ("I-7", "answers from a cache cost nothing", Open("there is no cache")),
    ("I-8", "billed what was reported, within bounds", Model),
    ("I-9", "nothing negative, nothing that overflows", Model),
    ("I-10", "repetition changes nothing", Model),
    ("I-11", "at once as in some order", Test),
    ("I-12", "a kill forgets nothing", Model),
    ("I-13", "a kill invents nothing", Model),
    ("I-14", "lost power forgets nothing", Test),
    ("I-15", "usage that waited is sent on once", Open(ONE_NODE)),
    ("I-16", "one configuration a request", Model),
    ("I-17", "no window twice by the clock", Model),
    ("I-18", "limits over an upgrade", Open("a process does not hand over to its successor yet")),
    ("I-19", "the same with any number of workers", Model),
    ("I-20", "the same with any number of nodes", Open(ONE_NODE)),
    ("I-21", "a project has what its keys have", Model),
    ("I-22", "nothing of one project reaches another", Model),
    ("I-23", "each change is in the audit log", Model),
    ("I-24", "no refusal without a reason", Model),
    ("I-25", "guards judge the same however cut", Open("there are no guards")),
];

/// Where the model of the whole book says what it holds.
const MODEL: &str = "src/server/tests/mod.rs";

const ONE_NODE: &str = "several nodes are not built";

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs" || ending == "py") {
            found.push(path);
        }
    }
}

/// What is test code in a file: all of it, or what stands behind the mark of its tests.
fn test_code(path: &Path, text: &str) -> String {
    let name = path.file_name().unwrap().to_str().unwrap();
    let whole = path.components().any(|part| part.as_os_str() == "tests") || name.ends_with("tests.rs");
    let at = if whole { 0 } else { text.find("#[cfg(test)]").unwrap_or(text.len()) };
    text[at..].to_owned()
}

/// Ids that a text names, as `F-07` or within `f_07_`.
fn ids_in(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let bytes = text.as_bytes();
    for (at, letter) in bytes.iter().enumerate() {
        let is_name = match letter {
            b'F' | b'I' => bytes.get(at + 1) == Some(&b'-'),
            b'f' | b'i' => bytes.get(at + 1) == Some(&b'_'),
            _ => continue,
        };
        let begins = at == 0 || !bytes[at - 1].is_ascii_alphanumeric();
        let digits: String = text[at + 1..].chars().skip(1).take_while(char::is_ascii_digit).collect();
        if is_name && begins && !digits.is_empty() {
            let number: u32 = digits.parse().unwrap_or(u32::MAX);
            let letter = char::from(letter.to_ascii_uppercase());
            found.insert(if letter == 'F' { format!("F-{number:02}") } else { format!("I-{number}") });
        }
    }
    found
}

#[test]
fn every_fault_and_every_rule_of_accounting_is_named_by_a_test_or_said_to_be_open() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    ["src", "tests/it", "tests/admin"].iter().for_each(|folder| files(&root.join(folder), &mut paths));
    let own = Path::new(file!()).file_name().unwrap();
    let texts = paths.iter().filter(|path| path.file_name() != Some(own));
    let named: BTreeSet<String> =
        texts.flat_map(|path| ids_in(&test_code(path, &fs::read_to_string(path).unwrap()))).collect();
    let mut problems = Vec::new();
    for (id, about, proof) in ROWS {
        match (proof, named.contains(*id)) {
            (Test | Model, false) => problems.push(format!("{id} ({about}): no test names it")),
            (Open(why), true) => problems.push(format!("{id} ({about}): a test names it, and here it says: {why}")),
            _ => {}
        }
    }
    let held = ids_in(&fs::read_to_string(root.join(MODEL)).unwrap());
    for (id, about, proof) in ROWS {
        if held.contains(*id) != (*proof == Model) {
            problems.push(format!("{id} ({about}): `{MODEL}` and this list differ"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    let ids: BTreeSet<&str> = ROWS.iter().map(|(id, ..)| *id).collect();
    assert_eq!(ids.len(), ROWS.len(), "an id stands twice");
}

#[test]
fn ids_are_found_in_names_and_in_comments() {
    let text = "// F-07 and I-3: a\nfn f_41_f_42_b() {}\nfn i_08_c() {}\nlet if_5 = F-x; /* XF-09 */";
    let want = ["F-07", "F-41", "F-42", "I-3", "I-8"].map(str::to_owned);
    assert_eq!(ids_in(text), BTreeSet::from(want));
}
