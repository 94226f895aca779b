//! Secrets and provider keys.

use super::fixture::{Fixture, at, id};
use crate::store::{
    StoreError,
    record::{KeyStatus, Owner, ProviderKey, Sealed, Secret},
};

fn sealed(byte: u8) -> Sealed {
    Sealed {
        bytes: vec![byte; 60],
        version: 3,
        last4: "1234".to_owned(),
        fingerprint: "00ff00ff00ff00ff".to_owned(),
        entered_at: at(2_000),
    }
}

fn secret(name: &str, owner: Owner) -> Secret {
    Secret {
        id: id(&format!("sec_{name}_{}", matches!(owner, Owner::Project(_)))),
        owner,
        name: name.to_owned(),
        bound_origins: vec!["https://api.example.org:443".to_owned()],
        shared_with: Some(vec![id("prj_a"), id("prj_b")]),
        value: Some(sealed(1)),
        created_at: at(1_000),
        revision: 1,
    }
}

fn provider_key(name: &str, owner: Owner, sort_order: i32) -> ProviderKey {
    ProviderKey {
        id: id(name),
        owner,
        provider: "openai".to_owned(),
        label: "main account".to_owned(),
        base_url: Some("https://api.example.org/v1".to_owned()),
        sort_order,
        status: KeyStatus::Active,
        value: Some(sealed(2)),
        created_at: at(1_000),
        revision: 1,
    }
}

fn organization() -> Owner {
    Owner::Organization(id("org_a"))
}

fn project() -> Owner {
    Owner::Project(id("prj_a"))
}

#[test]
fn secret_name_is_unique_for_its_owner_in_exact_case() {
    let fixture = Fixture::with_project();
    for row in [secret("TOKEN", organization()), secret("TOKEN", project()), secret("token", project())] {
        fixture.write(move |tx| tx.insert_secret(&row)).unwrap();
    }
    for owner in [organization(), project()] {
        let twin = Secret { id: id("sec_twin"), ..secret("TOKEN", owner) };
        assert_eq!(fixture.write(move |tx| tx.insert_secret(&twin)), Err(StoreError::Taken("name")));
    }
    let found = fixture.read(|tx| Ok((tx.secrets(&organization())?, tx.secrets(&project())?))).unwrap();
    assert_eq!(
        found,
        (vec![secret("TOKEN", organization())], vec![secret("TOKEN", project()), secret("token", project())])
    );
}

#[test]
fn secret_without_value_is_kept_and_stale_change_refused() {
    let fixture = Fixture::with_project();
    let mut row = secret("TOKEN", project());
    let written = row.clone();
    fixture.write(move |tx| tx.insert_secret(&written)).unwrap();
    row.value = None;
    row.shared_with = None;
    row.bound_origins = Vec::new();
    let first = row.clone();
    fixture.write(move |tx| tx.update_secret(&first)).unwrap();
    let stale = row.clone();
    assert_eq!(fixture.write(move |tx| tx.update_secret(&stale)), Err(StoreError::Stale));
    row.revision = 2;
    let name = row.id.clone();
    assert_eq!(fixture.read(move |tx| tx.secret(&name)), Ok(Some(row.clone())));
    let name = row.id.clone();
    assert_eq!(fixture.write(move |tx| tx.delete_secret(&name, 1)), Err(StoreError::Stale));
    fixture.write(move |tx| tx.delete_secret(&row.id, 2)).unwrap();
    assert_eq!(fixture.read(|tx| tx.secrets(&project())), Ok(Vec::new()));
}

#[test]
fn provider_keys_are_listed_in_their_order() {
    let fixture = Fixture::with_project();
    for (name, order) in [("pk_a", 5), ("pk_b", -1), ("pk_c", 5)] {
        fixture.write(move |tx| tx.insert_provider_key(&provider_key(name, organization(), order))).unwrap();
    }
    let found = fixture.read(|tx| tx.provider_keys(&organization())).unwrap();
    assert_eq!(found.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["pk_b", "pk_a", "pk_c"]);
    assert_eq!(found[1], provider_key("pk_a", organization(), 5));
    assert_eq!(fixture.read(|tx| tx.provider_keys(&project())), Ok(Vec::new()));
}

#[test]
fn provider_key_changes_once_a_revision() {
    let fixture = Fixture::with_project();
    let mut row = provider_key("pk_a", project(), 1);
    let written = row.clone();
    fixture.write(move |tx| tx.insert_provider_key(&written)).unwrap();
    (row.value, row.base_url, row.status) = (None, None, KeyStatus::Disabled);
    let first = row.clone();
    fixture.write(move |tx| tx.update_provider_key(&first)).unwrap();
    let stale = row.clone();
    assert_eq!(fixture.write(move |tx| tx.update_provider_key(&stale)), Err(StoreError::Stale));
    row.revision = 2;
    assert_eq!(fixture.read(|tx| tx.provider_key(&id("pk_a"))), Ok(Some(row)));
    assert_eq!(fixture.write(|tx| tx.delete_provider_key(&id("pk_a"), 1)), Err(StoreError::Stale));
    fixture.write(|tx| tx.delete_provider_key(&id("pk_a"), 2)).unwrap();
    assert_eq!(fixture.read(|tx| tx.provider_key(&id("pk_a"))), Ok(None));
}

#[test]
fn use_of_a_credential_never_goes_back_and_goes_with_it() {
    let fixture = Fixture::with_project();
    let (kept, key) = (secret("TOKEN", project()), provider_key("pk_a", project(), 0));
    let ids = [kept.id.clone(), key.id.clone(), id("sec_gone")];
    fixture.write(move |tx| tx.insert_secret(&kept).and_then(|()| tx.insert_provider_key(&key))).unwrap();
    for time in [at(120_000), at(60_000)] {
        let used: Vec<_> = ids.iter().map(|id| (id.clone(), time)).collect();
        fixture.write(move |tx| tx.touch_credentials(&used)).unwrap();
    }
    let last = |at: usize| {
        let id = ids[at].clone();
        fixture.read(move |tx| tx.credential_use(&id)).unwrap()
    };
    assert_eq!([last(0), last(1), last(2)], [Some(at(120_000)), Some(at(120_000)), None]);
    let (secret, key) = (ids[0].clone(), ids[1].clone());
    fixture.write(move |tx| tx.delete_secret(&secret, 1).and_then(|()| tx.delete_provider_key(&key, 1))).unwrap();
    assert_eq!([last(0), last(1)], [None, None]);
}
