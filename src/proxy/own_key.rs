//! What a client may know about its own key.
//!
//! `GET /v1/key`: read from the snapshot and the counters of limits, no provider is asked, and nothing is taken from a limit.
//! Nothing in it opens anything, and of what keys share it says what is left, not who used it.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::{
    base::{NanoUsd, UnixTime},
    http::{Downstream, Gone},
    limit::{Kind, LimitState, Mode, Moment, Scope},
    snapshot::{Grant, Snapshot},
};

use super::{
    exchange::Exchange,
    reply::{After, Local, send_local},
};

/// Answers with id, expiry, projects, routes and limits of the key that asks.
///
/// # Errors
/// [`Gone`].
pub(super) async fn answer_own_key(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    grant: &Grant,
    after: After,
) -> Result<(), Gone> {
    let received = exchange.received_at();
    let at = (exchange.limit_moment(received), exchange.context.unix_at(received));
    let snapshot = exchange.snapshot.as_ref();
    let body = snapshot.map_or(Value::Null, |snapshot| view(snapshot, grant, exchange.client_ip, at)).to_string();
    let local = Local { status: 200, content_type: "application/json", body: body.as_bytes(), fields: b"" };
    send_local(exchange, down, &local, after).await
}

fn view(snapshot: &Snapshot, grant: &Grant, address: Option<IpAddr>, (at, now): (Moment, UnixTime)) -> Value {
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
        "limits": limits(grant, at, now),
    })
}

/// The limits that can refuse, the widest first.
fn limits(grant: &Grant, at: Moment, now: UnixTime) -> Vec<Value> {
    let enforced = grant.limits.states(at).filter(|state| state.mode == Mode::Enforce);
    enforced.map(|state| limit(&state, now)).collect()
}

fn limit(state: &LimitState, now: UnixTime) -> Value {
    let amount = |units: u64| match state.kind {
        Kind::Money => Value::from(NanoUsd(i64::try_from(units).unwrap_or(i64::MAX)).to_string()),
        Kind::AudioMillis => Value::from(units.div_ceil(1_000)),
        _ => Value::from(units),
    };
    let remaining = match state.kind {
        Kind::AudioMillis => Value::from(state.remaining / 1_000),
        _ => amount(state.remaining),
    };
    let resets_in = state.resets_in.filter(|left| !left.is_zero());
    let mut shown = json!({
        "scope": state.scope.name(),
        "kind": state.kind.name(),
        "algorithm": state.window.algorithm(),
        "window_seconds": state.window.length().map(|length| length.as_secs()),
        "limit": amount(state.max),
        "remaining": remaining,
        "resets_at": resets_in.map(|left| UnixTime(now.0.saturating_add(left)).rfc3339()),
    });
    if let (Scope::Key, Some(fields)) = (state.scope, shown.as_object_mut()) {
        fields.insert("posted".to_owned(), amount(state.posted));
        fields.insert("pending".to_owned(), amount(state.pending));
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        base::{KeyHasher, UnixTime},
        limit::{Claim, Held, Kinds, Limit, LimitSet, MeterKey, Meters, Terms, Window},
        snapshot::{self, Edit, ProjectPart},
    };

    #[test]
    fn key_sees_itself_and_its_own_projects_only() {
        let mut edit = Edit::empty(KeyHasher::Plain);
        edit.put_project("prj_1".into(), ProjectPart::broken("mine"));
        edit.put_project("prj_2".into(), ProjectPart::broken("theirs"));
        let meters = Meters::in_memory();
        let limit = |owner: &str, kind, window, (scope, max)| Limit {
            meter: meters.meter(&MeterKey { owner: owner.into(), kind, window }),
            terms: Terms::max(max),
            scope,
            mode: Mode::Enforce,
            queue: None,
        };
        let minute = Window::Fixed(Duration::from_secs(60));
        let limits = LimitSet::new(vec![
            limit("project:prj_1", Kind::Requests, minute, (Scope::Project, 10)),
            limit("key:key_1", Kind::Money, Window::Total, (Scope::Key, 5_000_000_000)),
        ]);
        let now = UnixTime(Duration::from_secs(60));
        limits.take(Kinds::ARRIVAL, &Claim::request(), now.into(), &mut Held::default()).unwrap();
        let grant = Grant {
            caller: std::sync::Arc::new(crate::base::Caller::of_key("mr_live_abc")),
            limits,
            scope: snapshot::Scope::Project("prj_1".into()),
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
            "limits": [
                {
                    "scope": "project", "kind": "requests", "algorithm": "fixed_window", "window_seconds": 60,
                    "limit": 10, "remaining": 9, "resets_at": "1970-01-01T00:02:00.000Z",
                },
                {
                    "scope": "key", "kind": "usd", "algorithm": "total", "window_seconds": null,
                    "limit": "5.000000000", "remaining": "5.000000000", "resets_at": null,
                    "posted": "0.000000000", "pending": "0.000000000",
                },
            ],
        });
        assert_eq!(view(&edit.finish(1), &grant, None, (now.into(), now)), want);
    }
}
