//! Who gets in and who does not, over a store.

use std::time::Duration;

use super::super::{
    Actor, Authenticate, ControlError, MemberPatch, Presented, Proof,
    tests::{Rig, kind, page, person},
};
use super::{FirstStart, Login, NewToken, digest_of, prepare_first_start, second_factor, totp};
use crate::{
    base::{Id, Secret, UnixTime, unix_time},
    store::{AuditFilter, OrganizationRole, ProjectGrant, ProjectRole, Session},
};

const PASSWORD: &str = "correct horse battery";
const HOME: &str = "10.0.0.1";

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

async fn start(rig: &Rig, environment: Option<&str>) -> Result<FirstStart, ControlError> {
    prepare_first_start(rig.control.store(), environment.map(secret)).await
}

/// Sets the machine up; returns the session of the first operator.
async fn set_up(rig: &Rig) -> Login {
    let token = start(rig, None).await.unwrap().setup_token.unwrap();
    rig.control.set_up(&token, "ann@example.com", secret(PASSWORD), HOME).await.unwrap()
}

async fn enter(rig: &Rig, proof: Proof<'_>) -> Result<Actor, ControlError> {
    rig.control.authenticate(proof, Presented { address: HOME, request_id: "r" }).await
}

fn new_token(role: OrganizationRole) -> NewToken {
    NewToken {
        description: "ci".to_owned(),
        organization: None,
        instance_admin: false,
        role,
        grants: Vec::new(),
        expires_at: None,
    }
}

fn refused<T>(outcome: Result<T, ControlError>) -> bool {
    matches!(outcome, Err(ControlError::NotAuthenticated))
}

#[tokio::test]
async fn set_up_works_once_and_makes_the_owner_of_the_first_organization() {
    let rig = Rig::new().await;
    let replaced = start(&rig, None).await.unwrap().setup_token.unwrap();
    let token = start(&rig, None).await.unwrap().setup_token.unwrap();
    let go = |token: Secret| {
        let control = &rig.control;
        async move { control.set_up(&token, "ann@example.com", secret(PASSWORD), HOME).await }
    };
    assert!(refused(go(replaced).await), "a new start ends the token before");
    let (one, two) = tokio::join!(go(token.clone()), go(token.clone()));
    assert_eq!([one.is_ok(), two.is_ok()].iter().filter(|ok| **ok).count(), 1, "one of two at once");
    let login = one.or(two).unwrap();
    assert!(refused(go(token).await), "used");
    let actor = enter(&rig, Proof::Session(login.secret.reveal())).await.unwrap();
    assert!(actor.instance_admin);
    assert_eq!(actor.membership(&rig.organization).unwrap().role, OrganizationRole::Owner);
    assert!(start(&rig, None).await.unwrap().setup_token.is_none(), "somebody can enter");
}

#[tokio::test]
async fn wrong_password_and_unknown_user_are_the_same() {
    let rig = Rig::new().await;
    set_up(&rig).await;
    let log_in = async |email: &str, password: &str| rig.control.log_in(email, secret(password), None, HOME).await;
    let wrong = log_in("ann@example.com", "correct horse batterz").await;
    let unknown = log_in("bob@example.com", PASSWORD).await;
    assert_eq!(format!("{:?}", wrong.err()), format!("{:?}", unknown.err()));
    let login = log_in(" ANN@example.com ", PASSWORD).await.unwrap();
    let actor = enter(&rig, Proof::Session(login.secret.reveal())).await.unwrap();
    assert!(refused(enter(&rig, Proof::Bearer(login.secret.reveal())).await), "a cookie is no token");
    rig.control.log_out(&actor, login.secret.reveal()).await.unwrap();
    assert!(refused(enter(&rig, Proof::Session(login.secret.reveal())).await), "logged out");
}

#[tokio::test]
async fn ten_thousand_wrong_logins_wait_and_the_owner_gets_in_from_elsewhere() {
    let rig = Rig::new().await;
    set_up(&rig).await;
    let (mut looked_at, mut delayed) = (0, 0);
    for _ in 0..10_000 {
        match rig.control.log_in("ann@example.com", secret("guess guess guess"), None, "203.0.113.9").await {
            Err(ControlError::NotAuthenticated) => looked_at += 1,
            Err(ControlError::RateLimited(until)) if until > unix_time() => delayed += 1,
            other => panic!("{}", kind(&other)),
        }
    }
    assert!(looked_at < 20 && looked_at + delayed == 10_000, "{looked_at} guesses were looked at");
    assert!(rig.control.log_in("ann@example.com", secret(PASSWORD), None, "198.51.100.7").await.is_ok());
}

#[tokio::test]
async fn session_ends_when_idle_and_after_half_a_day() {
    let rig = Rig::new().await;
    let user = set_up(&rig).await.user.id;
    let minutes = |count: u64| UnixTime(unix_time().0.saturating_sub(Duration::from_secs(count * 60)));
    for (name, created, seen, want) in [
        ("fresh", 0, 0, true),
        ("idle for 29 minutes", 60, 29, true),
        ("idle for 30 minutes", 60, 30, false),
        ("in use for just under 12 hours", 719, 0, true),
        ("in use for 12 hours", 720, 0, false),
    ] {
        let session = Session {
            digest: digest_of(name),
            user: user.clone(),
            created_at: minutes(created),
            last_seen_at: minutes(seen),
        };
        rig.control.store().write(move |tx| tx.insert_session(&session)).await.unwrap();
        assert_eq!(enter(&rig, Proof::Session(name)).await.is_ok(), want, "{name}");
    }
    let digest = digest_of("idle for 29 minutes");
    let noted = rig.control.store().read(move |tx| tx.session(&digest)).await.unwrap().unwrap();
    assert!(noted.last_seen_at > minutes(1), "a use keeps it open");
    let organization = rig.organization.clone();
    let member = rig.control.store().read(move |tx| tx.member(&organization, &user)).await.unwrap().unwrap();
    assert!(member.last_seen_at > Some(minutes(1)), "others see when");
}

#[tokio::test]
async fn token_of_the_environment_runs_the_machine_until_it_is_replaced() {
    let rig = Rig::new().await;
    for bad in ["", "fifteen-letters", "with a space in it", &"x".repeat(201)] {
        assert_eq!(kind(&start(&rig, Some(bad)).await), "invalid", "{bad}");
    }
    let first = "mr_admin_first_0123456789";
    for _ in 0..2 {
        assert!(start(&rig, Some(first)).await.unwrap().setup_token.is_none(), "there is a way in");
    }
    let actor = enter(&rig, Proof::Bearer(first)).await.unwrap();
    assert!(actor.instance_admin && actor.membership(&rig.organization).unwrap().role == OrganizationRole::Owner);
    let made = rig.control.create_organization(&actor, "Acme").await.unwrap();
    let actor = enter(&rig, Proof::Bearer(first)).await.unwrap();
    assert_eq!(actor.membership(&made.id).unwrap().role, OrganizationRole::Owner, "it can invite the first owner");
    let (_, derived) = {
        let new = NewToken { organization: Some(made.id.clone()), ..new_token(OrganizationRole::Admin) };
        rig.control.make_token(&actor, new).await.unwrap()
    };
    let derived_actor = enter(&rig, Proof::Bearer(derived.reveal())).await.unwrap();
    assert!(!derived_actor.instance_admin);
    assert_eq!(derived_actor.membership(&made.id).unwrap().role, OrganizationRole::Admin);

    start(&rig, Some("mr_admin_second_0123456789")).await.unwrap();
    assert!(refused(enter(&rig, Proof::Bearer(first)).await), "replaced");
    assert!(refused(enter(&rig, Proof::Bearer(derived.reveal())).await), "and what was made with it");
    let second = enter(&rig, Proof::Bearer("mr_admin_second_0123456789")).await.unwrap();
    assert!(second.membership(&made.id).is_some(), "the next one owns the same");
    assert!(start(&rig, None).await.unwrap().setup_token.is_some(), "without it nobody could enter");
    assert!(refused(enter(&rig, Proof::Bearer("mr_admin_second_0123456789")).await));
}

#[tokio::test]
async fn token_is_never_more_than_its_maker_is_now() {
    let rig = Rig::new().await;
    let project = rig.project_id("chat").await;
    let owner = person(&rig, OrganizationRole::Owner, Vec::new()).await;
    let grants = vec![ProjectGrant { project: project.clone(), role: ProjectRole::ProjectAdmin }];
    let maker = person(&rig, OrganizationRole::Admin, Vec::new()).await;
    assert_eq!(kind(&rig.control.make_token(&maker, new_token(OrganizationRole::Owner)).await), "not_permitted");
    let new = NewToken { grants: grants.clone(), ..new_token(OrganizationRole::Admin) };
    let (_, token) = rig.control.make_token(&maker, new).await.unwrap();
    let role = async || {
        let actor = enter(&rig, Proof::Bearer(token.reveal())).await.unwrap();
        let membership = actor.membership(&rig.organization).unwrap().clone();
        (membership.role, membership.project_role(&project))
    };
    assert_eq!(role().await, (OrganizationRole::Admin, Some(ProjectRole::ProjectAdmin)));

    let as_editor = vec![ProjectGrant { project: project.clone(), role: ProjectRole::Editor }];
    for (name, to, held, want) in [
        ("demoted to auditor", OrganizationRole::Auditor, Vec::new(), (OrganizationRole::Auditor, None)),
        ("editor of the project", OrganizationRole::Member, as_editor, (OrganizationRole::Member, None)),
        (
            "its administrator",
            OrganizationRole::Member,
            grants,
            (OrganizationRole::Member, Some(ProjectRole::ProjectAdmin)),
        ),
    ] {
        change_role(&rig, &owner, &maker.id, (to, held)).await;
        assert_eq!(role().await, want, "{name}");
    }
    let revision = rig.control.member(&owner, rig.organization.clone(), maker.id.clone()).await.unwrap().revision;
    rig.control.remove_member(&owner, (rig.organization.clone(), maker.id.clone()), revision).await.unwrap();
    assert!(refused(enter(&rig, Proof::Bearer(token.reveal())).await), "its maker has left");
}

#[tokio::test]
async fn token_acts_as_instance_administrator_only_if_it_says_so_and_its_maker_is_one() {
    let rig = Rig::new().await;
    let login = set_up(&rig).await;
    let operator = enter(&rig, Proof::Session(login.secret.reveal())).await.unwrap();
    let owner = person(&rig, OrganizationRole::Owner, Vec::new()).await;
    let of_instance = || NewToken { instance_admin: true, ..new_token(OrganizationRole::Member) };
    assert_eq!(kind(&rig.control.make_token(&owner, of_instance()).await), "not_permitted");
    let (_, plain) = rig.control.make_token(&operator, new_token(OrganizationRole::Owner)).await.unwrap();
    let plain = enter(&rig, Proof::Bearer(plain.reveal())).await.unwrap();
    assert!(!plain.instance_admin, "nothing is said");
    assert_eq!(kind(&rig.control.make_token(&plain, of_instance()).await), "not_permitted", "not by a detour");

    let (row, token) = rig.control.make_token(&operator, of_instance()).await.unwrap();
    assert!(row.instance_admin && row.organization.as_ref() == Some(&rig.organization));
    let program = enter(&rig, Proof::Bearer(token.reveal())).await.unwrap();
    assert_eq!(program.membership(&rig.organization).map(|held| held.role), Some(OrganizationRole::Member));
    assert!(program.instance_admin && rig.control.instance_settings(&program).await.is_ok());
    let (_, second) = rig.control.make_token(&program, of_instance()).await.unwrap();
    let logged = rig.control.store().read(|tx| tx.audit(&AuditFilter::default(), &page(100))).await.unwrap().rows;
    let made = logged.iter().find(|entry| entry.event.object == row.id.as_str()).unwrap();
    assert!(made.event.after.contains(r#""instance_admin":true"#), "{}", made.event.after);

    let id = operator.id.clone();
    let demote = rig.control.store().write(move |tx| {
        let user = tx.user(&id)?.ok_or(crate::store::StoreError::Stale)?;
        tx.update_user(&crate::store::User { instance_admin: false, ..user })
    });
    demote.await.unwrap();
    for token in [&token, &second] {
        let program = enter(&rig, Proof::Bearer(token.reveal())).await.unwrap();
        assert!(!program.instance_admin, "its maker is none any more");
    }
}

#[tokio::test]
async fn token_of_the_environment_hands_on_what_it_is_until_it_is_replaced() {
    let rig = Rig::new().await;
    start(&rig, Some("mr_admin_first_0123456789")).await.unwrap();
    let first = enter(&rig, Proof::Bearer("mr_admin_first_0123456789")).await.unwrap();
    rig.control.create_organization(&first, "Acme").await.unwrap();
    let first = enter(&rig, Proof::Bearer("mr_admin_first_0123456789")).await.unwrap();
    let of_instance = |role| NewToken { instance_admin: true, ..new_token(role) };
    let unnamed = rig.control.make_token(&first, of_instance(OrganizationRole::Owner)).await;
    assert_eq!(kind(&unnamed), "invalid", "owner of which organization");
    let (row, token) = rig.control.make_token(&first, of_instance(OrganizationRole::Member)).await.unwrap();
    let program = enter(&rig, Proof::Bearer(token.reveal())).await.unwrap();
    assert!(row.organization.is_none() && program.instance_admin && program.memberships.is_empty());
    start(&rig, Some("mr_admin_second_0123456789")).await.unwrap();
    let program = enter(&rig, Proof::Bearer(token.reveal())).await;
    assert!(!program.is_ok_and(|program| program.instance_admin));
}

async fn change_role(rig: &Rig, by: &Actor, user: &Id, (role, grants): (OrganizationRole, Vec<ProjectGrant>)) {
    let revision = rig.control.member(by, rig.organization.clone(), user.clone()).await.unwrap().revision;
    let patch = MemberPatch { role: Some(role), grants: Some(grants), ..MemberPatch::default() };
    rig.control.change_member(by, (rig.organization.clone(), user.clone()), revision, patch).await.unwrap();
}

#[tokio::test]
async fn token_ends_in_time_and_does_not_make_a_longer_one() {
    let rig = Rig::new().await;
    let maker = person(&rig, OrganizationRole::Owner, Vec::new()).await;
    let later = |seconds: u64| UnixTime(unix_time().0 + Duration::from_secs(seconds));
    let ask = async |actor: &Actor, end| {
        let new = NewToken { expires_at: Some(end), ..new_token(OrganizationRole::Owner) };
        rig.control.make_token(actor, new).await
    };
    assert_eq!(kind(&ask(&maker, later(0)).await), "invalid", "now");
    assert_eq!(kind(&ask(&maker, later(367 * 86_400)).await), "invalid", "more than a year");
    let (row, token) = ask(&maker, later(3_600)).await.unwrap();
    let program = enter(&rig, Proof::Bearer(token.reveal())).await.unwrap();
    assert_eq!(kind(&ask(&program, later(7_200)).await), "invalid", "longer than the token that makes it");
    let (short, _) = ask(&program, later(1_800)).await.unwrap();
    assert!(short.expires_at < row.expires_at && short.created_by == Some(maker.id.clone()));

    let expired = crate::store::AdminToken { expires_at: Some(unix_time()), digest: digest_of("old"), ..row.clone() };
    let id = row.id.clone();
    let replace = rig.control.store().write(move |tx| {
        tx.delete_admin_token(&id)?;
        tx.insert_admin_token(&expired)
    });
    replace.await.unwrap();
    assert!(refused(enter(&rig, Proof::Bearer("old")).await), "expired");
    assert!(refused(enter(&rig, Proof::Bearer(token.reveal())).await), "gone");
    let stranger = person(&rig, OrganizationRole::Auditor, Vec::new()).await;
    assert_eq!(kind(&rig.control.end_token(&stranger, short.id.clone()).await), "not_found", "somebody else's");
    rig.control.end_token(&maker, short.id).await.unwrap();
}

#[tokio::test]
async fn changed_password_ends_every_session_and_needs_the_present_one() {
    let rig = Rig::new().await;
    let first = set_up(&rig).await;
    let other = rig.control.log_in("ann@example.com", secret(PASSWORD), None, HOME).await.unwrap();
    let actor = enter(&rig, Proof::Session(first.secret.reveal())).await.unwrap();
    let change =
        async |present: &str, new: &str| rig.control.change_password(&actor, secret(present), secret(new)).await;
    assert_eq!(kind(&change("correct horse batterz", "a new one that is long").await), "invalid");
    assert_eq!(kind(&change(PASSWORD, "short").await), "invalid");
    assert!(enter(&rig, Proof::Session(other.secret.reveal())).await.is_ok(), "nothing has changed");
    let login = change(PASSWORD, "a new one that is long").await.unwrap();
    for (name, session, want) in [("the own", &first, false), ("another", &other, false), ("the new", &login, true)] {
        assert_eq!(enter(&rig, Proof::Session(session.secret.reveal())).await.is_ok(), want, "{name}");
    }
    assert!(refused(rig.control.log_in("ann@example.com", secret(PASSWORD), None, HOME).await));
    rig.control.log_in("ann@example.com", secret("a new one that is long"), None, HOME).await.unwrap();
}

#[tokio::test]
async fn guesses_at_the_present_password_wait_like_logins() {
    let rig = Rig::new().await;
    let login = set_up(&rig).await;
    let actor = enter(&rig, Proof::Session(login.secret.reveal())).await.unwrap();
    let mut looked_at = 0;
    for _ in 0..100 {
        match rig.control.change_password(&actor, secret("guess"), secret("a new one that is long")).await {
            Err(ControlError::Invalid(_)) => looked_at += 1,
            Err(ControlError::RateLimited(_)) => {}
            other => panic!("{}", kind(&other)),
        }
    }
    assert!(looked_at < 10, "{looked_at}");
}

/// The code that an authenticator with this secret shows, so many steps from now.
async fn code_of(rig: &Rig, user: &Id, ahead: u64) -> String {
    let id = user.clone();
    let row = rig.control.store().read(move |tx| tx.second_factor(&id)).await.unwrap().unwrap();
    let key = rig.control.vault().open_seal(second_factor::place(user), &row.sealed).unwrap();
    let step = totp::step_at(unix_time()) + ahead;
    format!("{:06}", totp::code_at(&key, step).unwrap())
}

#[tokio::test]
async fn second_factor_is_asked_for_once_confirmed_and_each_code_works_once() {
    let rig = Rig::new().await;
    let login = set_up(&rig).await;
    let (control, user) = (&rig.control, login.user.id.clone());
    let actor = enter(&rig, Proof::Session(login.secret.reveal())).await.unwrap();
    let log_in = async |code: Option<&str>, address: &str| {
        control.log_in("ann@example.com", secret(PASSWORD), code, address).await
    };
    assert_eq!(kind(&control.confirm_second_factor(&actor, "000000").await), "illegal_transition", "none is offered");
    assert_eq!(kind(&control.offer_second_factor(&actor, secret("wrong")).await), "invalid");
    let offered = control.offer_second_factor(&actor, secret(PASSWORD)).await.unwrap();
    assert!(offered.url.reveal().contains(offered.secret.reveal()) && offered.secret.reveal().len() == 32);
    assert!(log_in(None, HOME).await.is_ok(), "not in force before its first code");
    assert_eq!(kind(&control.confirm_second_factor(&actor, "12345x").await), "invalid");
    let first = code_of(&rig, &user, 0).await;
    control.confirm_second_factor(&actor, &first).await.unwrap();
    assert!(control.account(&actor).await.unwrap().second_factor);
    assert_eq!(kind(&control.offer_second_factor(&actor, secret(PASSWORD)).await), "illegal_transition");

    assert!(refused(log_in(None, "10.0.0.2").await), "a code is needed");
    assert!(refused(log_in(Some(&first), "10.0.0.3").await), "the first code was used to confirm");
    let next = code_of(&rig, &user, 1).await;
    let wrong_password = control.log_in("ann@example.com", secret("no no no no no"), Some(&next), "10.0.0.4").await;
    assert!(refused(wrong_password), "a code alone is nothing, and is not used up");
    let (one, two) = tokio::join!(log_in(Some(&next), "10.0.0.5"), log_in(Some(&next), "10.0.0.6"));
    assert_eq!([one.is_ok(), two.is_ok()].iter().filter(|ok| **ok).count(), 1, "one of two at once");

    assert_eq!(kind(&control.remove_second_factor(&actor, secret("wrong")).await), "invalid");
    control.remove_second_factor(&actor, secret(PASSWORD)).await.unwrap();
    assert_eq!(kind(&control.remove_second_factor(&actor, secret(PASSWORD)).await), "illegal_transition");
    assert!(log_in(None, HOME).await.is_ok());
}

#[tokio::test]
async fn lost_second_factor_is_reset_by_who_runs_the_machine() {
    let rig = Rig::new().await;
    let login = set_up(&rig).await;
    let actor = enter(&rig, Proof::Session(login.secret.reveal())).await.unwrap();
    let owner = person(&rig, OrganizationRole::Owner, Vec::new()).await;
    rig.control.offer_second_factor(&actor, secret(PASSWORD)).await.unwrap();
    let code = code_of(&rig, &actor.id, 0).await;
    rig.control.confirm_second_factor(&actor, &code).await.unwrap();
    let reset = async |by: &Actor| kind(&rig.control.reset_second_factor(by, actor.id.clone()).await);
    assert_eq!(reset(&owner).await, "not_permitted");
    assert_eq!(reset(&actor).await, "ok");
    assert_eq!(reset(&actor).await, "illegal_transition", "there is none any more");
    assert!(rig.control.log_in("ann@example.com", secret(PASSWORD), None, HOME).await.is_ok());
}

#[tokio::test]
async fn new_role_ends_the_sessions_of_a_member() {
    let rig = Rig::new().await;
    let owner = person(&rig, OrganizationRole::Owner, Vec::new()).await;
    let member = person(&rig, OrganizationRole::Auditor, Vec::new()).await;
    let (user, at) = (member.id.clone(), unix_time());
    let session = Session { digest: digest_of("session"), user, created_at: at, last_seen_at: at };
    rig.control.store().write(move |tx| tx.insert_session(&session)).await.unwrap();
    assert!(enter(&rig, Proof::Session("session")).await.is_ok());
    change_role(&rig, &owner, &member.id, (OrganizationRole::Admin, Vec::new())).await;
    assert!(refused(enter(&rig, Proof::Session("session")).await));
}
