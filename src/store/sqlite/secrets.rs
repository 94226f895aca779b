//! Secrets and provider keys in SQLite.

use rusqlite::{ToSql, params};

use super::{
    columns::{Columns, Json, ids_json, only},
    tx::SqliteTx,
};
use crate::{
    base::{Id, UnixTime},
    store::{
        record::{Owner, ProviderKey, Sealed, Secret},
        tx::{Outcome, Secrets},
    },
};

pub(super) const SECRET: &str = "SELECT id, organization, project, name, bound_origins, shared_with, sealed, sealed_version, \
    sealed_last4, sealed_fingerprint, sealed_at, created_at, revision FROM secrets";
pub(super) const PROVIDER_KEY: &str = "SELECT id, organization, project, provider, label, base_url, sort_order, status, sealed, \
    sealed_version, sealed_last4, sealed_fingerprint, sealed_at, created_at, revision FROM provider_keys";

impl Secrets for SqliteTx<'_> {
    fn secrets(&self, owner: &Owner) -> Outcome<Vec<Secret>> {
        let Some((column, id)) = owned_by(owner) else { return Ok(Vec::new()) };
        self.all(&format!("{SECRET} WHERE {column} = ? ORDER BY name"), [id], secret)
    }

    fn secret(&self, id: &Id) -> Outcome<Option<Secret>> {
        self.first(&format!("{SECRET} WHERE id = ?"), [id], secret)
    }

    fn insert_secret(&mut self, row: &Secret) -> Outcome<()> {
        let (organization, project) = owner_columns(&row.owner);
        let sealed = SealedColumns::of(row.value.as_ref());
        self.change(
            "INSERT INTO secrets (id, organization, project, name, bound_origins, shared_with, sealed, sealed_version, \
             sealed_last4, sealed_fingerprint, sealed_at, created_at, revision) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                row.id,
                organization,
                project,
                row.name,
                Json(&row.bound_origins),
                row.shared_with.as_deref().map(ids_json),
                sealed.bytes,
                sealed.version,
                sealed.last4,
                sealed.fingerprint,
                sealed.entered_at,
                row.created_at,
                row.revision
            ],
        )
    }

    fn update_secret(&mut self, row: &Secret) -> Outcome<()> {
        let sealed = SealedColumns::of(row.value.as_ref());
        self.change(
            "UPDATE secrets SET name = ?, bound_origins = ?, shared_with = ?, sealed = ?, sealed_version = ?, \
             sealed_last4 = ?, sealed_fingerprint = ?, sealed_at = ?, revision = revision + 1 \
             WHERE id = ? AND revision = ?",
            params![
                row.name,
                Json(&row.bound_origins),
                row.shared_with.as_deref().map(ids_json),
                sealed.bytes,
                sealed.version,
                sealed.last4,
                sealed.fingerprint,
                sealed.entered_at,
                row.id,
                row.revision
            ],
        )
    }

    fn delete_secret(&mut self, id: &Id, revision: u64) -> Outcome<()> {
        self.change("DELETE FROM secrets WHERE id = ? AND revision = ?", params![id, revision])
    }

    fn provider_keys(&self, owner: &Owner) -> Outcome<Vec<ProviderKey>> {
        let Some((column, id)) = owned_by(owner) else {
            let sql = format!("{PROVIDER_KEY} WHERE organization IS NULL AND project IS NULL ORDER BY provider");
            return self.all(&sql, [], provider_key);
        };
        let sql = format!("{PROVIDER_KEY} WHERE {column} = ? ORDER BY sort_order, created_at, id");
        self.all(&sql, [id], provider_key)
    }

    fn provider_key(&self, id: &Id) -> Outcome<Option<ProviderKey>> {
        self.first(&format!("{PROVIDER_KEY} WHERE id = ?"), [id], provider_key)
    }

    fn insert_provider_key(&mut self, row: &ProviderKey) -> Outcome<()> {
        let (organization, project) = owner_columns(&row.owner);
        let sealed = SealedColumns::of(row.value.as_ref());
        self.change(
            "INSERT INTO provider_keys (id, organization, project, provider, label, base_url, sort_order, status, \
             sealed, sealed_version, sealed_last4, sealed_fingerprint, sealed_at, created_at, revision) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                row.id,
                organization,
                project,
                row.provider,
                row.label,
                row.base_url,
                row.sort_order,
                row.status,
                sealed.bytes,
                sealed.version,
                sealed.last4,
                sealed.fingerprint,
                sealed.entered_at,
                row.created_at,
                row.revision
            ],
        )
    }

    fn update_provider_key(&mut self, row: &ProviderKey) -> Outcome<()> {
        let sealed = SealedColumns::of(row.value.as_ref());
        self.change(
            "UPDATE provider_keys SET provider = ?, label = ?, base_url = ?, sort_order = ?, status = ?, sealed = ?, \
             sealed_version = ?, sealed_last4 = ?, sealed_fingerprint = ?, sealed_at = ?, revision = revision + 1 \
             WHERE id = ? AND revision = ?",
            params![
                row.provider,
                row.label,
                row.base_url,
                row.sort_order,
                row.status,
                sealed.bytes,
                sealed.version,
                sealed.last4,
                sealed.fingerprint,
                sealed.entered_at,
                row.id,
                row.revision
            ],
        )
    }

    fn delete_provider_key(&mut self, id: &Id, revision: u64) -> Outcome<()> {
        self.change("DELETE FROM provider_keys WHERE id = ? AND revision = ?", params![id, revision])
    }

    fn credential_use(&self, id: &Id) -> Outcome<Option<UnixTime>> {
        self.first("SELECT last_used_at FROM credential_uses WHERE id = ?", [id], only)
    }

    fn touch_credentials(&mut self, used: &[(Id, UnixTime)]) -> Outcome<()> {
        for (id, at) in used {
            self.run(
                "INSERT INTO credential_uses (id, last_used_at) SELECT ?1, ?2 \
                 WHERE EXISTS (SELECT 1 FROM secrets WHERE id = ?1) OR EXISTS (SELECT 1 FROM provider_keys WHERE id = ?1) \
                 ON CONFLICT (id) DO UPDATE SET last_used_at = max(last_used_at, excluded.last_used_at)",
                params![id, at],
            )?;
        }
        Ok(())
    }
}

/// The column that names the owner, and its id; none for what belongs to the platform.
fn owned_by(owner: &Owner) -> Option<(&'static str, &dyn ToSql)> {
    match owner {
        Owner::Organization(id) => Some(("organization", id)),
        Owner::Project(id) => Some(("project", id)),
        Owner::Instance => None,
    }
}

fn owner_columns(owner: &Owner) -> (Option<&Id>, Option<&Id>) {
    match owner {
        Owner::Organization(id) => (Some(id), None),
        Owner::Project(id) => (None, Some(id)),
        Owner::Instance => (None, None),
    }
}

/// The columns of a sealed value, all empty without one.
#[derive(Default)]
struct SealedColumns<'a> {
    bytes: Option<&'a [u8]>,
    version: Option<u32>,
    last4: Option<&'a str>,
    fingerprint: Option<&'a str>,
    entered_at: Option<UnixTime>,
}

impl<'a> SealedColumns<'a> {
    fn of(value: Option<&'a Sealed>) -> Self {
        value.map_or_else(Self::default, |sealed| Self {
            bytes: Some(&sealed.bytes),
            version: Some(sealed.version),
            last4: Some(&sealed.last4),
            fingerprint: Some(&sealed.fingerprint),
            entered_at: Some(sealed.entered_at),
        })
    }
}

fn owner(columns: &mut Columns<'_, '_>) -> rusqlite::Result<Owner> {
    let organization: Option<Id> = columns.take()?;
    let project: Option<Id> = columns.take()?;
    match (organization, project) {
        (Some(id), _) => Ok(Owner::Organization(id)),
        (None, Some(id)) => Ok(Owner::Project(id)),
        (None, None) => Ok(Owner::Instance),
    }
}

fn sealed(columns: &mut Columns<'_, '_>) -> rusqlite::Result<Option<Sealed>> {
    let bytes: Option<Vec<u8>> = columns.take()?;
    let version: Option<u32> = columns.take()?;
    let last4: Option<String> = columns.take()?;
    let fingerprint: Option<String> = columns.take()?;
    let entered_at: Option<UnixTime> = columns.take()?;
    let all = bytes.zip(version).zip(last4).zip(fingerprint).zip(entered_at);
    Ok(all.map(|((((bytes, version), last4), fingerprint), entered_at)| Sealed {
        bytes,
        version,
        last4,
        fingerprint,
        entered_at,
    }))
}

pub(super) fn secret(columns: &mut Columns<'_, '_>) -> rusqlite::Result<Secret> {
    Ok(Secret {
        id: columns.take()?,
        owner: owner(columns)?,
        name: columns.take()?,
        bound_origins: columns.list()?,
        shared_with: shared_with(columns)?,
        value: sealed(columns)?,
        created_at: columns.take()?,
        revision: columns.take()?,
    })
}

fn shared_with(columns: &mut Columns<'_, '_>) -> rusqlite::Result<Option<Vec<Id>>> {
    let list: Option<Json<Vec<String>>> = columns.take()?;
    Ok(list.map(|Json(ids)| ids.iter().map(|id| Id::stored(id)).collect()))
}

pub(super) fn provider_key(columns: &mut Columns<'_, '_>) -> rusqlite::Result<ProviderKey> {
    Ok(ProviderKey {
        id: columns.take()?,
        owner: owner(columns)?,
        provider: columns.take()?,
        label: columns.take()?,
        base_url: columns.take()?,
        sort_order: columns.take()?,
        status: columns.take()?,
        value: sealed(columns)?,
        created_at: columns.take()?,
        revision: columns.take()?,
    })
}
