//! Organizations, users, members and invitations.

use super::fixture::{Fixture, at, id, member, organization, page, pages, project, user};
use crate::store::{
    Order, StoreError,
    record::{Invitation, InvitationStatus, OrganizationRole, OrganizationStatus, ProjectGrant, ProjectRole},
};

fn invitation(name: &str) -> Invitation {
    Invitation {
        id: id(name),
        organization: id("org_a"),
        email: "New@Example.ORG".to_owned(),
        role: OrganizationRole::Auditor,
        grants: vec![ProjectGrant { project: id("prj_a"), role: ProjectRole::Editor }],
        token_digest: [u8::try_from(name.len()).unwrap(); 32],
        status: InvitationStatus::Pending,
        expires_at: at(9_000),
        created_by: id("usr_a"),
        created_at: at(1_000),
        revision: 1,
    }
}

#[test]
fn organization_is_read_as_it_was_written() {
    let fixture = Fixture::with_organization();
    let found = fixture.read(|tx| tx.organization(&id("org_a"))).unwrap();
    assert_eq!(found, Some(organization("org_a")));
    assert_eq!(fixture.read(|tx| tx.organization(&id("org_b"))), Ok(None));
}

#[test]
fn changed_organization_has_the_next_revision_and_refuses_the_old_one() {
    let fixture = Fixture::with_organization();
    let mut row = organization("org_a");
    row.status = OrganizationStatus::Suspended;
    row.active_key_limit = None;
    let first = row.clone();
    fixture.write(move |tx| tx.update_organization(&first)).unwrap();
    let stale = row.clone();
    assert_eq!(fixture.write(move |tx| tx.update_organization(&stale)), Err(StoreError::Stale));
    row.revision = 2;
    assert_eq!(fixture.read(|tx| tx.organization(&id("org_a"))), Ok(Some(row)));
}

#[test]
fn organizations_of_one_millisecond_are_all_listed_once() {
    let fixture = Fixture::new();
    let names: Vec<String> = (0..25).map(|index| format!("org_{index:02}")).collect();
    for name in names.clone() {
        fixture.write(move |tx| tx.insert_organization(&organization(&name))).unwrap();
    }
    for (order, limit) in
        [(Order::Ascending, 1), (Order::Descending, 4), (Order::Ascending, 25), (Order::Descending, 100)]
    {
        let found = pages(
            order,
            limit,
            |row: &crate::store::Organization| (1_000, row.id.to_string()),
            |request| fixture.read(move |tx| tx.organizations(None, &request)).unwrap(),
        );
        let mut found: Vec<String> = found.iter().map(|row| row.id.to_string()).collect();
        if order == Order::Descending {
            found.reverse();
        }
        assert_eq!(found, names, "{order:?} by {limit}");
    }
}

#[test]
fn only_organizations_among_those_given_are_listed() {
    let fixture = Fixture::with_organization();
    fixture.write(|tx| tx.insert_organization(&organization("org_b"))).unwrap();
    for (among, want) in [(vec![], 0), (vec!["org_b"], 1), (vec!["org_a", "org_b", "org_c"], 2)] {
        let ids: Vec<_> = among.iter().map(|name| id(name)).collect();
        let found = fixture.read(move |tx| tx.organizations(Some(&ids), &page(10, Order::Ascending))).unwrap();
        assert_eq!(found.rows.len(), want, "{among:?}");
    }
}

#[test]
fn deleted_organization_takes_members_and_projects_along_but_none_that_is_served() {
    let fixture = Fixture::with_project();
    fixture.write(|tx| tx.insert_user(&user("usr_a", "a@example.org"))).unwrap();
    fixture.write(|tx| tx.insert_member(&member("org_a", "usr_a", ""))).unwrap();
    fixture.write(|tx| tx.insert_invitation(&invitation("inv_a"))).unwrap();
    let mut served = project("prj_a", "a");
    served.served_version = Some(1);
    fixture.write(move |tx| tx.update_project(&served)).unwrap();
    assert_eq!(fixture.write(|tx| tx.delete_organization(&id("org_a"))), Err(StoreError::Stale));
    let mut unserved = project("prj_a", "a");
    unserved.revision = 2;
    fixture.write(move |tx| tx.update_project(&unserved)).unwrap();
    fixture.write(|tx| tx.delete_organization(&id("org_a"))).unwrap();
    assert_eq!(fixture.read(|tx| tx.project(&id("prj_a"))), Ok(None));
    assert_eq!(fixture.read(|tx| tx.memberships(&id("usr_a"))), Ok(Vec::new()));
    assert_eq!(fixture.read(|tx| tx.invitation(&id("inv_a"))), Ok(None));
    assert!(fixture.read(|tx| tx.user(&id("usr_a"))).unwrap().is_some(), "the person is still there");
    assert_eq!(fixture.write(|tx| tx.delete_organization(&id("org_a"))), Err(StoreError::Stale));
}

#[test]
fn email_is_unique_and_found_in_any_case() {
    let fixture = Fixture::new();
    fixture.write(|tx| tx.insert_user(&user("usr_a", "Äda@Example.org"))).unwrap();
    let found = fixture.read(|tx| tx.user_by_email("äDA@example.ORG")).unwrap().unwrap();
    assert_eq!((found.id.as_str(), found.email.as_str()), ("usr_a", "äda@example.org"));
    let taken = fixture.write(|tx| tx.insert_user(&user("usr_b", "ÄDA@EXAMPLE.ORG")));
    assert_eq!(taken, Err(StoreError::Taken("email")));
}

#[test]
fn user_change_is_refused_when_stale_and_administrators_are_counted() {
    let fixture = Fixture::new();
    fixture.write(|tx| tx.insert_user(&user("usr_a", "a@example.org"))).unwrap();
    assert_eq!(fixture.read(|tx| tx.instance_admin_count()), Ok(0));
    let mut row = user("usr_a", "a@example.org");
    row.instance_admin = true;
    row.password_hash = None;
    let first = row.clone();
    fixture.write(move |tx| tx.update_user(&first)).unwrap();
    assert_eq!(fixture.read(|tx| tx.instance_admin_count()), Ok(1));
    let stale = row.clone();
    assert_eq!(fixture.write(move |tx| tx.update_user(&stale)), Err(StoreError::Stale));
    row.revision = 2;
    assert_eq!(fixture.read(|tx| tx.user(&id("usr_a"))), Ok(Some(row)));
}

#[test]
fn member_has_the_email_of_the_user_and_keeps_its_grants() {
    let fixture = Fixture::with_organization();
    fixture.write(|tx| tx.insert_user(&user("usr_a", "a@example.org"))).unwrap();
    let mut row = member("org_a", "usr_a", "a@example.org");
    row.role = OrganizationRole::Owner;
    row.grants = ProjectRole::ALL.iter().map(|role| ProjectGrant { project: id("prj_a"), role: *role }).collect();
    row.last_seen_at = Some(at(3_000));
    let written = row.clone();
    fixture.write(move |tx| tx.insert_member(&written)).unwrap();
    assert_eq!(fixture.read(|tx| tx.member(&id("org_a"), &id("usr_a"))), Ok(Some(row.clone())));
    assert_eq!(fixture.read(|tx| tx.memberships(&id("usr_a"))), Ok(vec![row.clone()]));
    assert_eq!(fixture.read(|tx| tx.owner_count(&id("org_a"))), Ok(1));
    let again = row.clone();
    assert_eq!(fixture.write(move |tx| tx.insert_member(&again)), Err(StoreError::Taken("member")));

    row.role = OrganizationRole::Admin;
    let first = row.clone();
    fixture.write(move |tx| tx.update_member(&first)).unwrap();
    assert_eq!(fixture.write(move |tx| tx.update_member(&row)), Err(StoreError::Stale));
    assert_eq!(fixture.read(|tx| tx.owner_count(&id("org_a"))), Ok(0));
    fixture.write(|tx| tx.delete_member(&id("org_a"), &id("usr_a"))).unwrap();
    assert_eq!(fixture.write(|tx| tx.delete_member(&id("org_a"), &id("usr_a"))), Err(StoreError::Stale));
}

#[test]
fn member_without_user_or_organization_is_refused() {
    let fixture = Fixture::with_organization();
    let refused = fixture.write(|tx| tx.insert_member(&member("org_a", "usr_gone", "")));
    assert_eq!(refused, Err(StoreError::Stale));
}

#[test]
fn members_are_listed_page_by_page() {
    let fixture = Fixture::with_organization();
    for index in 0..7 {
        let name = format!("usr_{index}");
        fixture
            .write(move |tx| {
                tx.insert_user(&user(&name, &format!("{name}@example.org")))?;
                tx.insert_member(&member("org_a", &name, ""))
            })
            .unwrap();
    }
    let found = pages(
        Order::Ascending,
        3,
        |row: &crate::store::Member| (1_000, row.user.to_string()),
        |request| fixture.read(move |tx| tx.members(&id("org_a"), &request)).unwrap(),
    );
    let emails: Vec<&str> = found.iter().map(|row| row.email.as_str()).collect();
    assert_eq!(emails.len(), 7);
    assert!(emails.is_sorted());
}

#[test]
fn invitation_is_found_by_its_token_until_it_changes() {
    let fixture = Fixture::with_organization();
    let mut row = invitation("inv_a");
    let written = row.clone();
    fixture.write(move |tx| tx.insert_invitation(&written)).unwrap();
    row.email = "new@example.org".to_owned();
    let digest = row.token_digest;
    assert_eq!(fixture.read(move |tx| tx.invitation_by_token(&digest)), Ok(Some(row.clone())));
    assert_eq!(fixture.read(|tx| tx.invitation_by_token(&[0; 32])), Ok(None));
    let mut twin = invitation("inv_b");
    assert_eq!(fixture.write(move |tx| tx.insert_invitation(&twin)), Err(StoreError::Taken("digest")));
    twin = invitation("inv_longer");
    fixture.write(move |tx| tx.insert_invitation(&twin)).unwrap();

    row.status = InvitationStatus::Accepted;
    let first = row.clone();
    fixture.write(move |tx| tx.update_invitation(&first)).unwrap();
    assert_eq!(fixture.write(move |tx| tx.update_invitation(&row)), Err(StoreError::Stale));
    let listed = fixture.read(|tx| tx.invitations(&id("org_a"), &page(1, Order::Ascending))).unwrap();
    assert_eq!(listed.rows.first().map(|row| (row.status, row.revision)), Some((InvitationStatus::Accepted, 2)));
    assert!(listed.has_more);
}
