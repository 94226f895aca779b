//! Admin tokens and sessions.

use super::fixture::{Fixture, at, id, organization, page, pages, user};
use crate::{
    base::Id,
    store::{
        Order, StoreError,
        record::{AdminToken, OrganizationRole, ProjectGrant, ProjectRole, SecondFactor, Session},
    },
};

fn token(number: u8, organization: Option<&str>, creator: Option<&str>) -> AdminToken {
    AdminToken {
        id: id(&format!("tok_{number}")),
        digest: [number; 32],
        last4: "wxyz".to_owned(),
        description: "pipeline".to_owned(),
        organization: organization.map(id),
        instance_admin: organization.is_none(),
        role: OrganizationRole::Admin,
        grants: vec![ProjectGrant { project: id("prj_a"), role: ProjectRole::Viewer }],
        created_by: creator.map(id),
        expires_at: Some(at(9_000)),
        created_at: at(1_000),
        last_used_at: None,
    }
}

#[test]
fn token_is_found_by_its_digest_and_goes_with_its_organization() {
    let fixture = Fixture::with_organization();
    let mut row = token(1, Some("org_a"), Some("usr_a"));
    let written = row.clone();
    fixture.write(move |tx| tx.insert_admin_token(&written)).unwrap();
    let twin = AdminToken { id: id("tok_2"), ..row.clone() };
    assert_eq!(fixture.write(move |tx| tx.insert_admin_token(&twin)), Err(StoreError::Taken("digest")));
    fixture.write(|tx| tx.touch_admin_token(&id("tok_1"), at(60_000))).unwrap();
    row.last_used_at = Some(at(60_000));
    assert_eq!(fixture.read(|tx| tx.admin_token_by_digest(&[1; 32])), Ok(Some(row.clone())));
    assert_eq!(fixture.read(|tx| tx.admin_token(&id("tok_1"))), Ok(Some(row)));
    assert_eq!(fixture.read(|tx| tx.admin_token_by_digest(&[2; 32])), Ok(None));
    fixture.write(|tx| tx.delete_organization(&id("org_a"))).unwrap();
    assert_eq!(fixture.read(|tx| tx.admin_token(&id("tok_1"))), Ok(None));
    assert_eq!(fixture.write(|tx| tx.delete_admin_token(&id("tok_1"))), Err(StoreError::Stale));
}

#[test]
fn tokens_are_listed_by_organization_and_creator() {
    let fixture = Fixture::with_organization();
    fixture.write(|tx| tx.insert_organization(&organization("org_b"))).unwrap();
    let rows = [(Some("org_a"), Some("usr_a")), (Some("org_a"), Some("usr_b")), (Some("org_b"), None), (None, None)];
    for (number, (organization, creator)) in (1..).zip(rows) {
        fixture.write(move |tx| tx.insert_admin_token(&token(number, organization, creator))).unwrap();
    }
    for (organization, creator, want) in [
        (None, None, "1234"),
        (Some("org_a"), None, "12"),
        (None, Some("usr_b"), "2"),
        (Some("org_b"), Some("usr_a"), ""),
    ] {
        let found = pages(
            Order::Ascending,
            1,
            |row: &AdminToken| (1_000, row.id.to_string()),
            |request| {
                let (organization, creator): (Option<Id>, Option<Id>) = (organization.map(id), creator.map(id));
                fixture.read(move |tx| tx.admin_tokens(organization.as_ref(), creator.as_ref(), &request)).unwrap()
            },
        );
        let found: String = found.iter().map(|row| row.id.as_str().trim_start_matches("tok_")).collect();
        assert_eq!(found, want, "{organization:?} {creator:?}");
    }
    fixture.write(|tx| tx.delete_admin_token(&id("tok_4"))).unwrap();
    let left = fixture.read(|tx| tx.admin_tokens(None, None, &page(9, Order::Descending))).unwrap();
    assert_eq!(left.rows.len(), 3);
}

#[test]
fn sessions_end_one_by_one_by_user_and_by_age() {
    let fixture = Fixture::new();
    for (number, name) in [(1u8, "usr_a"), (2, "usr_a"), (3, "usr_b"), (4, "usr_b")] {
        let user = user(name, &format!("{name}@example.org"));
        let time = at(u64::from(number) * 1_000);
        let row = Session { digest: [number; 32], user: id(name), created_at: time, last_seen_at: time };
        fixture
            .write(move |tx| {
                if tx.user(&user.id)?.is_none() {
                    tx.insert_user(&user)?;
                }
                tx.insert_session(&row)
            })
            .unwrap();
    }
    let alive = |fixture: &Fixture| {
        let count = |tx: &dyn crate::store::Tx| {
            let found: Result<Vec<_>, _> = (1..=4u8).map(|number| tx.session(&[number; 32])).collect();
            Ok(found?.into_iter().flatten().map(|row| row.digest[0]).collect::<Vec<_>>())
        };
        fixture.read(count).unwrap()
    };
    assert_eq!(alive(&fixture), [1, 2, 3, 4]);
    fixture.write(|tx| tx.delete_session(&[2; 32])).unwrap();
    fixture.write(|tx| tx.delete_session(&[2; 32])).unwrap();
    assert_eq!(alive(&fixture), [1, 3, 4]);
    fixture.write(|tx| tx.touch_session(&[3; 32], at(9_000))).unwrap();
    // Number 4 was not seen since 5 s; number 1 began before 2 s.
    fixture.write(|tx| tx.delete_old_sessions(at(2_000), at(5_000))).unwrap();
    assert_eq!(alive(&fixture), [3]);
    assert_eq!(fixture.read(|tx| tx.session(&[3; 32])).unwrap().unwrap().last_seen_at, at(9_000));
    fixture.write(|tx| tx.delete_sessions_of(&id("usr_b"))).unwrap();
    assert_eq!(alive(&fixture), [0u8; 0]);
}

#[test]
fn step_of_a_second_factor_only_rises() {
    let fixture = Fixture::new();
    fixture.write(|tx| tx.insert_user(&user("usr_a", "a@example.com"))).unwrap();
    let row = SecondFactor {
        user: id("usr_a"),
        sealed: vec![1, 2, 3],
        confirmed_at: None,
        last_step: 0,
        created_at: at(1_000),
    };
    for confirmed_at in [None, Some(at(2_000))] {
        let written = SecondFactor { confirmed_at, ..row.clone() };
        let again = written.clone();
        fixture.write(move |tx| tx.put_second_factor(&written)).unwrap();
        assert_eq!(fixture.read(|tx| tx.second_factor(&id("usr_a"))), Ok(Some(again)));
    }
    for (step, want) in [(7, Ok(())), (7, Err(StoreError::Stale)), (6, Err(StoreError::Stale)), (8, Ok(()))] {
        assert_eq!(fixture.write(move |tx| tx.use_step(&id("usr_a"), step)), want, "{step}");
    }
    fixture.write(|tx| tx.delete_second_factor(&id("usr_a"))).unwrap();
    assert_eq!(fixture.read(|tx| tx.second_factor(&id("usr_a"))), Ok(None));
}
