//! Holds the bans of `deny.toml` against `Cargo.lock`.
//!
//! `cargo deny` checks more, but it is one more program to install and its advisory database may be out of reach;
//! the floors are checked with every test run, from the same file.

use std::fs;
use std::path::PathBuf;

/// One `{ crate = "name:<version", ... }` of `deny.toml`; without a version every version is banned.
#[derive(Debug, PartialEq)]
struct Ban {
    name: String,
    below: Option<[u64; 3]>,
    wrappers: Vec<String>,
}

struct Package {
    name: String,
    version: [u64; 3],
    dependencies: Vec<String>,
}

fn read(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn version(text: &str) -> [u64; 3] {
    let release = text.split(['-', '+']).next().unwrap();
    let mut parts = release.split('.').map(|part| part.parse().unwrap());
    [0; 3].map(|zero: u64| parts.next().unwrap_or(zero))
}

fn quoted(text: &str) -> Vec<String> {
    text.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

fn parse_ban(line: &str) -> Option<Ban> {
    let rest = line.trim().strip_prefix("{ crate = \"")?;
    let (spec, rest) = rest.split_once('"')?;
    assert!(!spec.contains('@'), "{spec}: `@` bans one exact version; a floor is `name:<version`");
    let (name, below) = match spec.split_once(":<") {
        Some((name, floor)) => (name, Some(version(floor))),
        None => (spec, None),
    };
    let wrappers = rest.split_once("wrappers = [").map(|(_, list)| list.split(']').next().unwrap());
    Some(Ban { name: name.to_owned(), below, wrappers: wrappers.map(quoted).unwrap_or_default() })
}

fn parse_lock(text: &str) -> Vec<Package> {
    let field = |block: &str, key: &str| {
        let line = block.lines().find(|line| line.starts_with(&format!("{key} = ")))?;
        quoted(line).pop()
    };
    text.split("[[package]]")
        .skip(1)
        .map(|block| Package {
            name: field(block, "name").unwrap(),
            version: version(&field(block, "version").unwrap()),
            dependencies: block
                .split_once("dependencies = [")
                .map(|(_, list)| quoted(list.split(']').next().unwrap()))
                .unwrap_or_default()
                .iter()
                .map(|dependency| dependency.split(' ').next().unwrap().to_owned())
                .collect(),
        })
        .collect()
}

/// Who breaks a ban: the package itself when below its floor, else each user that is no allowed wrapper.
fn broken_by(ban: &Ban, packages: &[Package]) -> Vec<String> {
    let hit = |package: &&Package| package.name == ban.name && ban.below.is_none_or(|floor| package.version < floor);
    let hits: Vec<_> = packages.iter().filter(hit).collect();
    if hits.is_empty() || ban.wrappers.is_empty() {
        return hits.iter().map(|p| format!("{} {:?}", p.name, p.version)).collect();
    }
    packages
        .iter()
        .filter(|p| p.dependencies.contains(&ban.name) && !ban.wrappers.contains(&p.name))
        .map(|p| format!("{} uses {}", p.name, ban.name))
        .collect()
}

#[test]
fn lock_file_keeps_the_floors_and_bans() {
    let bans: Vec<_> = read("deny.toml").lines().filter_map(parse_ban).collect();
    assert!(bans.len() >= 9, "deny.toml lost its bans, {} left", bans.len());
    for lock in ["Cargo.lock", "fuzz/Cargo.lock"] {
        let packages = parse_lock(&read(lock));
        assert!(packages.len() > 20, "{lock}: {} packages read", packages.len());
        for ban in &bans {
            let broken = broken_by(ban, &packages);
            assert!(broken.is_empty(), "{lock}: {ban:?} is broken: {}", broken.join(", "));
        }
    }
}

#[test]
fn direct_dependencies_stay_within_their_budget() {
    let packages = parse_lock(&read("Cargo.lock"));
    let own = packages.iter().find(|p| p.name == "millrace-gateway").unwrap();
    assert!(own.dependencies.len() <= 60, "{} direct dependencies", own.dependencies.len());
}

#[test]
fn floors_refuse_older_versions_only() {
    let lock = "[[package]]\nname = \"h2\"\nversion = \"0.4.15\"\n\n[[package]]\nname = \"app\"\nversion = \
                \"1.0.0\"\ndependencies = [\n \"h2\",\n]\n";
    for (name, line, want) in [
        ("below the floor", "{ crate = \"h2:<0.4.16\", reason = \"x\" },", 1),
        ("at the floor", "{ crate = \"h2:<0.4.15\", reason = \"x\" },", 0),
        ("banned whole", "{ crate = \"h2\", reason = \"x\" },", 1),
        ("absent", "{ crate = \"lru:<9.0.0\", reason = \"x\" },", 0),
        ("allowed user", "{ crate = \"h2\", wrappers = [\"app\"], reason = \"x\" },", 0),
        ("another user", "{ crate = \"h2\", wrappers = [\"other\"], reason = \"x\" },", 1),
    ] {
        let broken = broken_by(&parse_ban(line).unwrap(), &parse_lock(lock));
        assert_eq!(broken.len(), want, "{name}: {broken:?}");
    }
}
