//! What a client may know about its own key.
//!
//! `GET /v1/key`: read from the snapshot, no provider is asked. Nothing in it opens anything.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::{
    http::{Downstream, Gone},
    snapshot::{Grant, Snapshot},
};

use super::{
    exchange::Exchange,
    reply::{After, Local, send_local},
};

/// Answers with id, expiry, projects and routes of the key that asks.
///
/// # Errors
/// [`Gone`].
pub(super) async fn answer_own_key(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    grant: &Grant,
    after: After,
) -> Result<(), Gone> {
    let snapshot = exchange.snapshot.as_ref();
    let body = snapshot.map_or(Value::Null, |snapshot| view(snapshot, grant, exchange.client_ip)).to_string();
    let local = Local { status: 200, content_type: "application/json", body: body.as_bytes(), fields: b"" };
    send_local(exchange, down, &local, after).await
}

fn view(snapshot: &Snapshot, grant: &Grant, address: Option<IpAddr>) -> Value {
    let projects: Vec<Value> = grant
        .scope
        .ids()
        .iter()
        // A project without anything served has no slug here.
        .map(|id| json!({"id": &**id, "slug": snapshot.project(id).map(|part| part.slug())}))
        .collect();
    let routes: Vec<&str> = snapshot.usable_routes(grant, address).map(|found| &*found.route.full_name).collect();
    json!({
        "object": "key",
        "id": &*grant.caller.key_id,
        "expires_at": grant.expires.map(|time| time.rfc3339()),
        "projects": projects,
        "routes": routes,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        base::{KeyHasher, UnixTime},
        snapshot::{Edit, ProjectPart, Scope},
    };

    #[test]
    fn key_sees_itself_and_its_own_projects_only() {
        let mut edit = Edit::empty(KeyHasher::Plain);
        edit.put_project("prj_1".into(), ProjectPart::broken("mine"));
        edit.put_project("prj_2".into(), ProjectPart::broken("theirs"));
        let grant = Grant {
            caller: std::sync::Arc::new(crate::base::Caller::of_key("mr_live_abc")),
            limits: crate::limit::LimitSet::default(),
            scope: Scope::Project("prj_1".into()),
            routes: None,
            enabled: true,
            expires: Some(UnixTime(Duration::from_secs(60))),
            policy: None,
        };
        let want = json!({
            "object": "key",
            "id": "mr_live_abc",
            "expires_at": "1970-01-01T00:01:00.000Z",
            "projects": [{"id": "prj_1", "slug": "mine"}],
            "routes": [],
        });
        assert_eq!(view(&edit.finish(1), &grant, None), want);
    }
}
