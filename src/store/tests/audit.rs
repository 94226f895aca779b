//! The audit log: append only, and every forgery found.

use rusqlite::Connection;

use super::fixture::{Fixture, at, event, id, pages};
use crate::store::{
    AuditFilter, Chain, Order,
    record::{ActorKind, AuditEntry, AuditEvent},
    verify_chain,
};

fn with_events(count: u64) -> Fixture {
    let fixture = Fixture::new();
    for sequence in 1..=count {
        let row = AuditEvent { at: at(sequence * 1_000), ..event("project.update") };
        assert_eq!(fixture.write(move |tx| tx.append_audit(&row)), Ok(sequence));
    }
    fixture
}

/// Another program that writes into the file, without the triggers.
fn forge(fixture: &Fixture, sql: &str) {
    let connection = Connection::open(fixture.path()).unwrap();
    let triggers = "DROP TRIGGER audit_no_update; DROP TRIGGER audit_no_delete; DROP TRIGGER audit_no_gap;";
    connection.execute_batch(triggers).unwrap();
    connection.execute_batch(sql).unwrap();
}

#[test]
fn untouched_chain_is_whole_over_many_pages() {
    let fixture = Fixture::new();
    assert_eq!(fixture.read(verify_chain), Ok(Chain::Whole { entries: 0, last: [0; 32] }));
    fixture.write(|tx| (0..1_203).try_for_each(|_| tx.append_audit(&event("key.create")).map(drop))).unwrap();
    let last = fixture.read(|tx| tx.audit_after(1_202, 9)).unwrap()[0].hash;
    assert_eq!(fixture.read(verify_chain), Ok(Chain::Whole { entries: 1_203, last }));
}

#[test]
fn event_of_an_undone_change_leaves_no_gap() {
    let fixture = with_events(1);
    let undone = fixture.write(|tx| {
        tx.append_audit(&event("undone"))?;
        Err::<(), _>(crate::store::StoreError::Stale)
    });
    assert!(undone.is_err());
    assert_eq!(fixture.write(|tx| tx.append_audit(&event("kept"))), Ok(2));
}

#[test]
fn every_forgery_is_found_where_it_begins() {
    for (name, sql, want) in [
        ("comment", "UPDATE audit SET comment = 'x' WHERE sequence = 3", 3),
        ("time", "UPDATE audit SET at = at + 1 WHERE sequence = 1", 1),
        ("actor kind", "UPDATE audit SET actor_kind = 'system' WHERE sequence = 2", 2),
        ("shifted text", "UPDATE audit SET actor = actor || 'x', address = substr(address, 2) WHERE sequence = 2", 2),
        ("no project instead of an empty one", "UPDATE audit SET project = NULL WHERE sequence = 4", 4),
        ("hash", "UPDATE audit SET hash = zeroblob(32) WHERE sequence = 5", 5),
        ("left out", "DELETE FROM audit WHERE sequence = 2", 2),
        ("first left out", "DELETE FROM audit WHERE sequence = 1", 1),
        (
            "swapped",
            "UPDATE audit SET sequence = -sequence WHERE sequence IN (2, 3);
                     UPDATE audit SET sequence = 5 + sequence WHERE sequence < 0",
            2,
        ),
    ] {
        let fixture = with_events(5);
        forge(&fixture, sql);
        assert_eq!(fixture.read(verify_chain), Ok(Chain::BrokenAt(want)), "{name}");
    }
}

#[test]
fn absent_id_is_not_the_empty_one() {
    let fixture = Fixture::new();
    let row = AuditEvent { project: Some(id("")), organization: None, ..event("x") };
    fixture.write(move |tx| tx.append_audit(&row)).unwrap();
    assert!(matches!(fixture.read(verify_chain), Ok(Chain::Whole { .. })));
    forge(&fixture, "UPDATE audit SET project = NULL, organization = ''");
    assert_eq!(fixture.read(verify_chain), Ok(Chain::BrokenAt(1)));
}

#[test]
fn file_itself_refuses_to_change_delete_or_skip_an_event() {
    let fixture = with_events(3);
    let connection = Connection::open(fixture.path()).unwrap();
    let columns = "at, actor_kind, actor, address, action, object, before, after, request_id, comment, previous, hash";
    for (name, sql) in [
        ("update", "UPDATE audit SET comment = 'x'".to_owned()),
        ("delete", "DELETE FROM audit".to_owned()),
        ("gap", format!("INSERT INTO audit (sequence, {columns}) SELECT 5, {columns} FROM audit LIMIT 1")),
        (
            "replace",
            format!("INSERT OR REPLACE INTO audit (sequence, {columns}) SELECT 2, {columns} FROM audit LIMIT 1"),
        ),
    ] {
        let refused = connection.execute(&sql, []).map_err(|error| error.to_string());
        assert!(matches!(&refused, Err(why) if why.contains("an audit event")), "{name}: {refused:?}");
    }
}

#[test]
fn events_are_filtered_and_listed_by_number() {
    let fixture = Fixture::new();
    for (sequence, action, organization, project) in [
        (1u64, "key.create", Some("org_a"), Some("prj_a")),
        (2, "key.delete", Some("org_a"), Some("prj_b")),
        (3, "key.create", Some("org_b"), None),
        (4, "user.create", None, None),
    ] {
        let row = AuditEvent {
            at: at(sequence * 1_000),
            actor_kind: ActorKind::Token,
            actor: format!("tok_{}", sequence % 2),
            object: format!("key_{sequence}"),
            organization: organization.map(id),
            project: project.map(id),
            ..event(action)
        };
        fixture.write(move |tx| tx.append_audit(&row)).unwrap();
    }
    let none = AuditFilter::default;
    for (name, filter, want) in [
        ("all", none(), vec![4, 3, 2, 1]),
        ("organization", AuditFilter { organization: Some(id("org_a")), ..none() }, vec![2, 1]),
        ("project", AuditFilter { project: Some(id("prj_b")), ..none() }, vec![2]),
        ("actor", AuditFilter { actor: Some("tok_1".to_owned()), ..none() }, vec![3, 1]),
        ("action", AuditFilter { action: Some("key.create".to_owned()), ..none() }, vec![3, 1]),
        ("object", AuditFilter { object: Some("key_2".to_owned()), ..none() }, vec![2]),
        ("dates", AuditFilter { since: Some(at(2_000)), until: Some(at(4_000)), ..none() }, vec![3, 2]),
    ] {
        let found = pages(
            Order::Descending,
            1,
            |row: &AuditEntry| (0, row.sequence.to_string()),
            |request| {
                let filter = filter.clone();
                fixture.read(move |tx| tx.audit(&filter, &request)).unwrap()
            },
        );
        assert_eq!(found.iter().map(|row| row.sequence).collect::<Vec<_>>(), want, "{name}");
    }
}
