//! A platform whose provider cannot be reached.

use std::sync::atomic::Ordering;

use serde_json::json;

use super::{PLATFORM, Scene, code, usd};
use crate::harness::BlackHole;

#[test]
fn i_08_what_never_reached_the_platforms_provider_costs_no_credits() {
    let scene = Scene::new();
    scene.enter_own_key();
    let hole = BlackHole::dig();
    let rule = json!({"network": "127.0.0.1/32", "ports": hole.address.port().to_string()});
    scene.call(("POST", "/instance/egress-rules"), &rule, 201);
    let base_url = format!("http://{}/v1", hole.address);
    let credential = json!({"provider": "openai", "value": PLATFORM, "base_url": base_url});
    scene.call(("PUT", "/instance/platform-credentials"), &credential, 200);
    scene.serve(
        "chat_models: [{model_id: m, model: openai/gpt-4o-mini}]\n\
         routes: {chat: {chat_models: [m], timeouts: {connect: 5 s}}}\n",
    );
    assert_eq!(scene.pay("topup", "first", "1").status, 200);
    scene.provider.state.refuses_own.store(true, Ordering::Relaxed);
    // The own key was sent and refused; then nothing was sent any more.
    let late = scene.ask();
    assert_eq!((late.status, code(&late).as_str()), (504, "upstream_timeout"), "{}", late.text());
    assert_eq!(
        (late.header("x-millrace-credential"), late.header("x-millrace-attempts")),
        (Some("platform"), Some("2"))
    );
    assert_eq!(scene.settled()["spent"], usd(0).as_str());
}
