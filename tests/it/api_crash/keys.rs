//! The API keys of one project, as they were answered.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::harness::Gateway;

use super::wire::{call, change};

/// Keys of one project at most.
const KEYS_MAX: usize = 8;
/// Deleted keys that are tried again.
const GONE_MAX: usize = 10;

/// A change of one key.
#[derive(Debug, Clone)]
enum Step {
    Make,
    Disable(String),
    Enable(String),
    Roll(String),
    Delete(String),
}

struct Key {
    text: String,
    enabled: bool,
}

/// The keys of one project, changed by one thread.
pub(super) struct Ring {
    project: String,
    keys: BTreeMap<String, Key>,
    /// Texts that must not work any more.
    gone: Vec<String>,
    on_its_way: Option<Step>,
    random: fastrand::Rng,
}

impl Ring {
    pub(super) fn new(project: String) -> Self {
        let random = fastrand::Rng::new();
        Self { project, keys: BTreeMap::new(), gone: Vec::new(), on_its_way: None, random }
    }

    fn path(&self, id: &str, rest: &str) -> String {
        format!("/projects/{}/keys/{id}{rest}", self.project)
    }

    fn choose(&mut self) -> Step {
        let ids: Vec<&String> = self.keys.keys().collect();
        let Some(id) = self.random.choice(&ids).map(|id| (*id).clone()) else { return Step::Make };
        let enabled = self.keys[&id].enabled;
        match self.random.u8(..10) {
            0..4 if self.keys.len() < KEYS_MAX => Step::Make,
            4 | 5 => Step::Delete(id),
            6 | 7 if enabled => Step::Roll(id),
            _ if enabled => Step::Disable(id),
            _ => Step::Enable(id),
        }
    }

    /// Makes one change; none when the process went away.
    pub(super) fn step(&mut self, admin: SocketAddr) -> Option<()> {
        let step = self.choose();
        let post = |path: &str| change(admin, ("POST", path), &[], &Value::Null);
        let text = |shown: &Value| shown["key"].as_str().unwrap().to_owned();
        self.on_its_way = Some(step.clone());
        match &step {
            Step::Make => {
                let path = format!("/projects/{}/keys", self.project);
                let made = change(admin, ("POST", &path), &[], &json!({"description": "ring"}))?.json;
                let id = made["id"].as_str().unwrap().to_owned();
                self.keys.insert(id, Key { text: text(&made), enabled: true });
            }
            Step::Disable(id) => {
                post(&self.path(id, "/disable"))?;
                self.set(id, false);
            }
            Step::Enable(id) => {
                post(&self.path(id, "/enable"))?;
                self.set(id, true);
            }
            Step::Roll(id) => {
                let rolled = post(&self.path(id, "/roll"))?.json;
                let key = self.keys.get_mut(id)?;
                let old = std::mem::replace(&mut key.text, text(&rolled));
                self.forget(old);
            }
            Step::Delete(id) => {
                let shown = call(admin, ("GET", &self.path(id, "")), &[], &Value::Null)?;
                change(admin, ("DELETE", &self.path(id, "")), &[("if-match", &shown.etag)], &Value::Null)?;
                self.remove(id);
            }
        }
        self.on_its_way = None;
        Some(())
    }

    fn set(&mut self, id: &str, enabled: bool) {
        if let Some(key) = self.keys.get_mut(id) {
            key.enabled = enabled;
        }
    }

    fn remove(&mut self, id: &str) {
        if let Some(key) = self.keys.remove(id) {
            self.forget(key.text);
        }
    }

    fn forget(&mut self, text: String) {
        self.gone.push(text);
        if self.gone.len() > GONE_MAX {
            self.gone.remove(0);
        }
    }

    /// Compares with what is there after a restart; returns whether the change that was on its way was made.
    pub(super) fn settle(&mut self, gateway: &Gateway, round: u32) -> bool {
        let step = self.on_its_way.take();
        let was_made = match &step {
            // Nobody has its text; it stays, and is of no use.
            None | Some(Step::Make) => false,
            Some(Step::Disable(id)) => self.settle_state(gateway, id, false),
            Some(Step::Enable(id)) => self.settle_state(gateway, id, true),
            Some(Step::Roll(id)) => {
                let was_made = !works(gateway, &self.keys[id].text);
                if was_made {
                    // The new text was lost with the answer.
                    self.remove(id);
                }
                was_made
            }
            Some(Step::Delete(id)) => {
                let was_made = gateway.admin("GET", &self.path(id, ""), &[], "").status == 404;
                if was_made {
                    self.remove(id);
                }
                was_made
            }
        };
        for (id, key) in &self.keys {
            let place = format!("round {round}, {id}: {step:?} was on its way");
            let shown = gateway.admin("GET", &self.path(id, ""), &[], "");
            let status = if key.enabled { "active" } else { "disabled" };
            assert_eq!((shown.status, shown.json()["status"].as_str()), (200, Some(status)), "{place}");
            assert_eq!(works(gateway, &key.text), key.enabled, "{place}");
        }
        assert!(self.gone.iter().all(|text| !works(gateway, text)), "round {round}: a key that was given up works");
        was_made
    }

    fn settle_state(&mut self, gateway: &Gateway, id: &str, enabled: bool) -> bool {
        let was_made = works(gateway, &self.keys[id].text) == enabled;
        if was_made {
            self.set(id, enabled);
        }
        was_made
    }
}

/// Whether the data plane takes a key.
fn works(gateway: &Gateway, key: &str) -> bool {
    let request =
        format!("GET /v1/key HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\r\n");
    let status = gateway.ask(request.as_bytes()).status;
    assert!(matches!(status, 200 | 401), "{status}");
    status == 200
}
