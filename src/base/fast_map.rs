//! Hash maps of the data path and of its records.
//!
//! For keys that an operator chose: ids, names, addresses in memory. A client can look such a key up but not put one in, so
//! that the table cannot be filled with keys that collide; what clients can put in belongs into a plain `HashMap`. The hash
//! costs a tenth of the standard library's, which every request pays several times.

use std::collections::HashMap;

/// Hashes for [`FastMap`], seeded by the process.
pub type FastHash = foldhash::fast::RandomState;

/// A hash map for keys that no client can put in.
pub type FastMap<K, V> = HashMap<K, V, FastHash>;
