//! Tells the linker which functions the start runs.
//!
//! The kernel maps a program in blocks of 64 KiB around what runs. What the start runs is an eighth of the program, but spread
//! over all of it, so that most of its blocks would stay in memory. `start.ld` names these functions, and the linker puts them
//! side by side. A name that is not there any more, or a list that lacks some, costs memory and nothing else; `make start-list`
//! writes it anew.

use std::env;

/// The list, which the linkers of GNU and LLVM read.
const LIST: &str = "build/start.ld";
/// Linkers that read no such list. Who chooses one does so with flags of the compiler.
const WITHOUT_LISTS: [&str; 3] = ["mold", "wild", "gold"];

fn main() {
    println!("cargo:rerun-if-changed=build/main.rs");
    println!("cargo:rerun-if-changed={LIST}");
    println!("cargo:rerun-if-env-changed=MILLRACE_START_LIST");
    let said = |name: &str| env::var(name).unwrap_or_default();
    let flags = said("CARGO_ENCODED_RUSTFLAGS");
    let is_read = !WITHOUT_LISTS.iter().any(|linker| flags.contains(linker) || said("RUSTC_LINKER").contains(linker));
    let is_wanted = said("PROFILE") == "release" && said("MILLRACE_START_LIST") != "off";
    if is_read && is_wanted && said("CARGO_CFG_TARGET_OS") == "linux" {
        println!("cargo:rustc-link-arg-bin=millrace=-Wl,-T,{}/{LIST}", said("CARGO_MANIFEST_DIR"));
    }
}
