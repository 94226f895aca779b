//! Logging in: which token is made, and where it is kept.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use super::admin::{Admin, told};
use super::{finish, found};
use crate::harness::program;

#[test]
fn login_saves_a_token_for_its_owner_only() {
    let admin = Admin::start(|asked, _| match (found(asked), asked.line.as_str()) {
        (Some(told), _) => told,
        (_, "POST /sessions") => told(201, &json!({})).with("set-cookie: __Host-millrace_session=s1; Secure; Path=/"),
        (_, "POST /admin-tokens") => told(201, &json!({"id": "tok_00000000000000000001", "token": "mr_admin_new"})),
        (_, "DELETE /sessions/current") => told(204, &Value::Null),
        _ => told(200, &json!({"role": "owner", "project_grants": []})),
    });
    let folder = tempfile::tempdir().unwrap();
    let command = || {
        let mut command = program(&std::env::temp_dir());
        command.env("XDG_CONFIG_HOME", folder.path());
        command
    };
    let ran = finish(command(), &admin.url(), &["login", "--email", "a@example.org"], "pass word\n");
    assert_eq!(ran.exit, 0, "{}", ran.err);
    let asked = admin.asked();
    assert_eq!(asked[0].json(), json!({"email": "a@example.org", "password": "pass word"}));
    let made = asked.iter().find(|asked| asked.line == "POST /admin-tokens").unwrap();
    assert_eq!(made.header("cookie"), "__Host-millrace_session=s1");
    assert_eq!((made.header("origin"), made.header("x-millrace-request")), (admin.url().as_str(), "millrace"));
    assert_eq!(made.json()["role"], "owner");
    assert_eq!(asked.last().unwrap().line, "DELETE /sessions/current");
    let saved = folder.path().join("millrace/admin-token");
    assert_eq!(fs::read_to_string(&saved).unwrap(), "mr_admin_new\n");
    assert_eq!(fs::metadata(&saved).unwrap().permissions().mode() & 0o777, 0o600);
    finish(command(), &admin.url(), &["org", "list"], "");
    assert_eq!(admin.asked().last().unwrap().header("authorization"), "Bearer mr_admin_new");
}

#[test]
fn login_for_the_instance_asks_for_its_rights_with_and_without_an_organization() {
    for (has_organization, want) in [
        (true, json!({"role": "owner", "project_grants": [], "organization_id": "org_00000000000000000001"})),
        (false, json!({"role": "member"})),
    ] {
        let admin = Admin::start(move |asked, _| match (found(asked), asked.line.as_str()) {
            (Some(_), _) if !has_organization => {
                told(200, &json!({"data": [], "next_cursor": null, "has_more": false}))
            }
            (Some(told), _) => told,
            (_, "POST /sessions") => {
                told(201, &json!({})).with("set-cookie: __Host-millrace_session=s1; Secure; Path=/")
            }
            (_, "POST /admin-tokens") => told(201, &json!({"id": "tok_00000000000000000001", "token": "mr_admin_new"})),
            (_, "DELETE /sessions/current") => told(204, &Value::Null),
            _ => told(200, &json!({"role": "owner", "project_grants": []})),
        });
        let folder = tempfile::tempdir().unwrap();
        let go = |more: &[&str]| {
            let mut command = program(&std::env::temp_dir());
            command.env("XDG_CONFIG_HOME", folder.path());
            let args = [&["login", "--email", "a@example.org"], more].concat();
            let ran = finish(command, &admin.url(), &args, "pass word\n");
            let made = admin.asked().into_iter().rev().find(|asked| asked.line == "POST /admin-tokens");
            (ran.exit, made.map(|asked| asked.json()))
        };
        let (exit, plain) = go(&[]);
        assert_eq!(exit == 0, has_organization);
        assert!(plain.is_none_or(|plain| plain["instance_admin"] == false));
        let (exit, made) = go(&["--instance"]);
        let made = made.unwrap();
        assert_eq!((exit, &made["instance_admin"]), (0, &json!(true)));
        for name in ["role", "project_grants", "organization_id"] {
            assert_eq!(made.get(name), want.get(name), "{name}");
        }
    }
}

#[test]
fn set_up_makes_the_first_operator_and_logs_in() {
    let admin = Admin::start(|asked, _| match (found(asked), asked.line.as_str()) {
        (Some(told), _) => told,
        (_, "POST /setup") => told(201, &json!({})).with("set-cookie: __Host-millrace_session=s1; Secure; Path=/"),
        (_, "POST /admin-tokens") => told(201, &json!({"id": "tok_00000000000000000001", "token": "mr_admin_new"})),
        (_, "DELETE /sessions/current") => told(204, &Value::Null),
        _ => told(200, &json!({"role": "owner", "project_grants": []})),
    });
    let folder = tempfile::tempdir().unwrap();
    let go = |input: &str| {
        let mut command = program(&std::env::temp_dir());
        command.env("XDG_CONFIG_HOME", folder.path());
        finish(command, &admin.url(), &["setup", "--email", "a@example.org"], input)
    };
    let ran = go("mr_setup_x\n");
    assert_eq!((ran.exit, admin.asked().len()), (1, 0), "{}", ran.err);
    assert!(ran.err.contains("the new password is missing"), "{}", ran.err);
    let ran = go("mr_setup_x\ncorrect horse battery\n");
    assert_eq!(ran.exit, 0, "{}", ran.err);
    let want = json!({"token": "mr_setup_x", "email": "a@example.org", "password": "correct horse battery"});
    assert_eq!(admin.asked()[0].json(), want);
    assert_eq!(fs::read_to_string(folder.path().join("millrace/admin-token")).unwrap(), "mr_admin_new\n");
}
