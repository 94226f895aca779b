//! Who but us may open a file that matters.
//!
//! Only the mode is judged, of the file itself and not of a link to it. The group may read: that is how container platforms
//! and service managers hand a root-owned secret to a process that is not root.

use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt as _;

/// The permission bits that are judged.
const PERMISSIONS: u32 = 0o777;
const GROUP_WRITE: u32 = 0o020;
const OTHERS: u32 = 0o007;
const OTHERS_WRITE: u32 = 0o002;

/// The permission bits of a file.
pub(super) fn mode(seen: &Metadata) -> u32 {
    seen.permissions().mode() & PERMISSIONS
}

/// Says what is wrong with the mode of a secret, if anything: only its owner may change it, only owner and group read it.
pub(super) fn secret_fault(mode: u32) -> Option<String> {
    let who = if mode & OTHERS != 0 {
        "lets every user of this machine open the secret"
    } else if mode & GROUP_WRITE != 0 {
        "lets its group replace the secret"
    } else {
        return None;
    };
    Some(format!("mode {mode:04o} {who}; run `chmod 600` on it, or `chmod 640` where its group has to read it"))
}

/// Says what is wrong with the mode of the keys file, if anything. It holds digests, so it may be read.
pub(super) fn keys_fault(mode: u32) -> Option<String> {
    let fault = mode & OTHERS_WRITE != 0;
    fault.then(|| format!("mode {mode:04o} lets every user of this machine add a key; run `chmod o-w` on it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_judged_by_who_else_gets_in() {
        for (mode, secret_passes, keys_pass) in [
            (0o400, true, true),
            (0o600, true, true),
            (0o440, true, true),
            (0o640, true, true),
            (0o660, false, true),
            (0o644, false, true),
            (0o604, false, true),
            (0o601, false, true),
            (0o602, false, false),
            (0o666, false, false),
            (0o777, false, false),
        ] {
            assert_eq!(secret_fault(mode).is_none(), secret_passes, "{mode:o}");
            assert_eq!(keys_fault(mode).is_none(), keys_pass, "{mode:o}");
        }
    }
}
