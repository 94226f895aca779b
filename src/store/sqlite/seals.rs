//! Sealed values by their master key, in SQLite.

use rusqlite::params;

use super::{
    access::{SECOND_FACTOR, second_factor},
    alerts::{ALERT, alert},
    notes::{ANSWER, answer},
    secrets::{PROVIDER_KEY, SECRET, provider_key, secret},
    tx::SqliteTx,
};
use crate::store::{
    record::{Alert, KeptAnswer, ProviderKey, SecondFactor, Secret},
    tx::{Outcome, SealPlace, Seals},
};

impl Seals for SqliteTx<'_> {
    fn stale_seal_count(&self, head: &[u8]) -> Outcome<u64> {
        self.count(
            "SELECT (SELECT count(*) FROM secrets WHERE substr(sealed, 1, length(?1)) <> ?1) \
             + (SELECT count(*) FROM provider_keys WHERE substr(sealed, 1, length(?1)) <> ?1) \
             + (SELECT count(*) FROM second_factors WHERE substr(sealed, 1, length(?1)) <> ?1) \
             + (SELECT count(*) FROM kept_answers WHERE substr(sealed_body, 1, length(?1)) <> ?1) \
             + (SELECT count(*) FROM alerts WHERE substr(sealed, 1, length(?1)) <> ?1) \
             + (SELECT count(*) FROM payload_keys WHERE substr(sealed, 1, length(?1)) <> ?1)",
            [head],
        )
    }

    fn stale_secrets(&self, head: &[u8], after: &str, limit: u32) -> Outcome<Vec<Secret>> {
        let sql = format!("{SECRET} WHERE substr(sealed, 1, length(?1)) <> ?1 AND id > ?2 ORDER BY id LIMIT ?3");
        self.all(&sql, params![head, after, limit], secret)
    }

    fn stale_provider_keys(&self, head: &[u8], after: &str, limit: u32) -> Outcome<Vec<ProviderKey>> {
        let sql = format!("{PROVIDER_KEY} WHERE substr(sealed, 1, length(?1)) <> ?1 AND id > ?2 ORDER BY id LIMIT ?3");
        self.all(&sql, params![head, after, limit], provider_key)
    }

    fn stale_second_factors(&self, head: &[u8], after: &str, limit: u32) -> Outcome<Vec<SecondFactor>> {
        let sql =
            format!("{SECOND_FACTOR} WHERE substr(sealed, 1, length(?1)) <> ?1 AND user > ?2 ORDER BY user LIMIT ?3");
        self.all(&sql, params![head, after, limit], second_factor)
    }

    fn stale_answers(&self, head: &[u8], (caller, key): (&str, &str), limit: u32) -> Outcome<Vec<KeptAnswer>> {
        let sql = format!(
            "{ANSWER} WHERE substr(sealed_body, 1, length(?1)) <> ?1 AND (caller, key) > (?2, ?3) \
             ORDER BY caller, key LIMIT ?4"
        );
        self.all(&sql, params![head, caller, key, limit], answer)
    }

    fn stale_alerts(&self, head: &[u8], after: &str, limit: u32) -> Outcome<Vec<Alert>> {
        let sql = format!("{ALERT} WHERE substr(sealed, 1, length(?1)) <> ?1 AND id > ?2 ORDER BY id LIMIT ?3");
        self.all(&sql, params![head, after, limit], alert)
    }

    fn reseal(&mut self, place: SealPlace<'_>, before: &[u8], after: &[u8]) -> Outcome<bool> {
        let changed = match place {
            SealPlace::Secret(id) => {
                self.run("UPDATE secrets SET sealed = ? WHERE id = ? AND sealed = ?", params![after, id, before])
            }
            SealPlace::ProviderKey(id) => {
                self.run("UPDATE provider_keys SET sealed = ? WHERE id = ? AND sealed = ?", params![after, id, before])
            }
            SealPlace::SecondFactor(user) => {
                let sql = "UPDATE second_factors SET sealed = ? WHERE user = ? AND sealed = ?";
                self.run(sql, params![after, user, before])
            }
            SealPlace::Answer(caller, key) => self.run(
                "UPDATE kept_answers SET sealed_body = ? WHERE caller = ? AND key = ? AND sealed_body = ?",
                params![after, caller, key, before],
            ),
            SealPlace::Alert(id) => {
                self.run("UPDATE alerts SET sealed = ? WHERE id = ? AND sealed = ?", params![after, id, before])
            }
            SealPlace::PayloadKey(project) => {
                let sql = "UPDATE payload_keys SET sealed = ? WHERE project = ? AND sealed = ?";
                self.run(sql, params![after, project, before])
            }
            SealPlace::Note(name) => {
                self.run("UPDATE notes SET value = ? WHERE name = ? AND value = ?", params![after, name, before])
            }
        };
        Ok(changed? > 0)
    }
}
