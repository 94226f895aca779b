//! API keys: digests, use, and the keys of one who leaves.

use super::fixture::{Fixture, at, id, key, organization, pages, project};
use crate::store::{
    KeyFilter, Order, StoreError,
    record::{ApiKey, KeyStatus, Project},
};

fn add(fixture: &Fixture, row: ApiKey) -> Result<(), StoreError> {
    fixture.write(move |tx| tx.insert_key(&row))
}

#[test]
fn key_is_read_as_it_was_written() {
    let fixture = Fixture::with_project();
    let row = ApiKey { old_digest: Some([200; 32]), old_expires_at: Some(at(4_000)), ..key(1) };
    add(&fixture, row.clone()).unwrap();
    assert_eq!(fixture.read(|tx| tx.key(&id("key_001"))), Ok(Some(row.clone())));
    assert_eq!(fixture.read(|tx| tx.keys_of_project(&id("prj_a"))), Ok(vec![row]));
    assert_eq!(fixture.read(|tx| tx.key(&id("key_002"))), Ok(None));
}

#[test]
fn no_digest_present_or_old_belongs_to_two_keys() {
    let fixture = Fixture::with_project();
    add(&fixture, ApiKey { old_digest: Some([100; 32]), ..key(1) }).unwrap();
    for (name, row, taken) in [
        ("same digest", ApiKey { digest: [1; 32], ..key(2) }, "digest"),
        ("same old digest", ApiKey { old_digest: Some([100; 32]), ..key(2) }, "digest"),
        ("digest is an old one", ApiKey { digest: [100; 32], ..key(2) }, "digest"),
        ("old digest is a present one", ApiKey { old_digest: Some([1; 32]), ..key(2) }, "digest"),
        ("both its own", ApiKey { digest: [9; 32], old_digest: Some([9; 32]), ..key(2) }, "digest"),
        ("public id", ApiKey { public_id: key(1).public_id, ..key(2) }, "public_id"),
        ("id", ApiKey { id: key(1).id, ..key(2) }, "id"),
    ] {
        assert_eq!(add(&fixture, row), Err(StoreError::Taken(taken)), "{name}");
    }
    add(&fixture, key(2)).unwrap();
    let rolled = ApiKey { digest: [100; 32], old_digest: Some([2; 32]), ..key(2) };
    assert_eq!(fixture.write(move |tx| tx.update_key(&rolled)), Err(StoreError::Taken("digest")));
    let rolled = ApiKey { digest: [50; 32], old_digest: Some([2; 32]), ..key(2) };
    assert_eq!(fixture.write(move |tx| tx.update_key(&rolled)), Ok(()));
}

#[test]
fn use_of_a_key_is_no_change_of_it() {
    let fixture = Fixture::with_project();
    add(&fixture, key(1)).unwrap();
    let used = vec![(key(1).public_id, at(120_000)), ("mr_live_gone".to_owned(), at(120_000))];
    fixture.write(move |tx| tx.touch_keys(&used)).unwrap();
    let earlier = vec![(key(1).public_id, at(60_000))];
    fixture.write(move |tx| tx.touch_keys(&earlier)).unwrap();
    let found = fixture.read(|tx| tx.key(&id("key_001"))).unwrap().unwrap();
    assert_eq!((found.last_used_at, found.revision), (Some(at(120_000)), 1));
    // A change of a record that was read before the key was used.
    fixture.write(|tx| tx.update_key(&ApiKey { description: "new".to_owned(), ..key(1) })).unwrap();
    let found = fixture.read(|tx| tx.key(&id("key_001"))).unwrap().unwrap();
    assert_eq!((found.last_used_at, found.revision, found.description.as_str()), (Some(at(120_000)), 2, "new"));
}

#[test]
fn stale_change_and_deletion_are_refused() {
    let fixture = Fixture::with_project();
    add(&fixture, key(1)).unwrap();
    fixture.write(|tx| tx.update_key(&key(1))).unwrap();
    assert_eq!(fixture.write(|tx| tx.update_key(&key(1))), Err(StoreError::Stale));
    assert_eq!(fixture.write(|tx| tx.delete_key(&id("key_001"), 1)), Err(StoreError::Stale));
    fixture.write(|tx| tx.delete_key(&id("key_001"), 2)).unwrap();
    assert_eq!(fixture.write(|tx| tx.delete_key(&id("key_001"), 2)), Err(StoreError::Stale));
}

#[test]
fn keys_of_one_millisecond_are_filtered_and_all_listed_once() {
    let fixture = Fixture::with_project();
    for number in 0..23 {
        let status = if number % 2 == 0 { KeyStatus::Active } else { KeyStatus::Disabled };
        let group = (number < 5).then(|| "first".to_owned());
        let created_by = id(if number < 10 { "usr_a" } else { "usr_b" });
        add(&fixture, ApiKey { status, group, created_by, ..key(number) }).unwrap();
    }
    let none = KeyFilter::default;
    for (name, filter, want) in [
        ("all", none(), (0..23).collect::<Vec<u8>>()),
        ("status", KeyFilter { status: Some(KeyStatus::Disabled), ..none() }, (1..23).step_by(2).collect()),
        ("group", KeyFilter { group: Some("first".to_owned()), ..none() }, (0..5).collect()),
        ("creator", KeyFilter { created_by: Some(id("usr_b")), ..none() }, (10..23).collect()),
    ] {
        let found = pages(
            Order::Ascending,
            4,
            |row: &ApiKey| (1_000, row.id.to_string()),
            |request| {
                let filter = filter.clone();
                fixture.read(move |tx| tx.keys(&id("prj_a"), &filter, &request)).unwrap()
            },
        );
        assert_eq!(found.iter().map(|row| row.digest[0]).collect::<Vec<_>>(), want, "{name}");
    }
    let all = fixture.read(|tx| {
        let mut count = 0;
        tx.each_key(&mut |_| count += 1)?;
        Ok(count)
    });
    assert_eq!(all, Ok(23));
}

#[test]
fn keys_of_one_who_leaves_are_disabled_in_that_organization_only() {
    let fixture = Fixture::with_project();
    let elsewhere = Project { organization: id("org_b"), ..project("prj_b", "b") };
    fixture
        .write(move |tx| {
            tx.insert_organization(&organization("org_b"))?;
            tx.insert_project(&elsewhere)?;
            tx.insert_project(&project("prj_c", "c"))
        })
        .unwrap();
    add(&fixture, key(1)).unwrap();
    add(&fixture, ApiKey { project: id("prj_c"), ..key(2) }).unwrap();
    add(&fixture, ApiKey { project: id("prj_b"), ..key(3) }).unwrap();
    add(&fixture, ApiKey { created_by: id("usr_b"), ..key(4) }).unwrap();
    add(&fixture, ApiKey { status: KeyStatus::Disabled, ..key(5) }).unwrap();
    let count = |creator: Option<&str>| {
        let creator = creator.map(id);
        fixture.read(move |tx| tx.active_key_count(&id("org_a"), creator.as_ref())).unwrap()
    };
    assert_eq!((count(None), count(Some("usr_a")), count(Some("usr_b"))), (3, 2, 1));
    let changed = fixture.write(|tx| tx.disable_keys_of(&id("org_a"), &id("usr_a"))).unwrap();
    let changed: Vec<_> = changed.iter().map(|row| (row.id.as_str(), row.status, row.revision)).collect();
    assert_eq!(changed, [("key_001", KeyStatus::Disabled, 2), ("key_002", KeyStatus::Disabled, 2)]);
    assert_eq!((count(None), count(Some("usr_a"))), (1, 0));
    let other = fixture.read(|tx| tx.key(&id("key_003"))).unwrap().unwrap();
    assert_eq!((other.status, other.revision), (KeyStatus::Active, 1));
}
