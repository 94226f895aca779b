//! The versions of one project, as they were answered.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::harness::{Gateway, KEY, chat};

use super::wire::{call, change};

/// A change of one project.
#[derive(Debug, Clone, Copy)]
enum Step {
    Save,
    Approve(u64),
    Serve(u64),
    RollBack(u64),
    Unserve,
}

/// What the API says of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    versions: u64,
    open: Option<(u64, bool)>,
    served: Option<u64>,
    generation: u64,
}

/// One project, changed by one thread. Version `n` has the text with the number `n`.
pub(super) struct Line {
    id: String,
    slug: String,
    key: String,
    state: State,
    ever_served: BTreeSet<u64>,
    on_its_way: Option<Step>,
    random: fastrand::Rng,
}

fn text_of(number: u64) -> String {
    format!(
        "chat_models:\n  - model_id: m\n    model: mock/model-{number}\n    params: {{response_text: text-{number}}}\nroutes:\n  \
         chat: {{chat_models: [m]}}\n"
    )
}

impl State {
    fn after(&self, step: Step) -> Self {
        let mut after = self.clone();
        match step {
            Step::Save => {
                after.versions += 1;
                after.open = Some((after.versions, false));
            }
            Step::Approve(number) => after.open = Some((number, true)),
            Step::Serve(number) => {
                after.open = None;
                after.served = Some(number);
                after.generation += 1;
            }
            Step::RollBack(number) => {
                after.served = Some(number);
                after.generation += 1;
            }
            Step::Unserve => {
                after.served = None;
                after.generation += 1;
            }
        }
        after
    }
}

impl Line {
    pub(super) fn new(id: String, slug: String, key: String) -> Self {
        // The empty draft that each project begins with.
        let state = State { versions: 1, open: Some((1, false)), served: None, generation: 0 };
        let random = fastrand::Rng::new();
        Self { id, slug, key, state, ever_served: BTreeSet::new(), on_its_way: None, random }
    }

    fn path(&self, rest: &str) -> String {
        format!("/projects/{}{rest}", self.id)
    }

    fn choose(&mut self) -> Step {
        let earlier: Vec<u64> = self.ever_served.iter().copied().filter(|at| Some(*at) != self.state.served).collect();
        match (self.state.open, self.random.u8(..10)) {
            (Some((number, true)), 0..8) => Step::Serve(number),
            (Some((number, false)), 0..8) if number > 1 => Step::Approve(number),
            (None, 0..3) if !earlier.is_empty() => Step::RollBack(*self.random.choice(&earlier).unwrap_or(&earlier[0])),
            (None, 3) if self.state.served.is_some() => Step::Unserve,
            _ => Step::Save,
        }
    }

    /// Makes one change; none when the process went away.
    pub(super) fn step(&mut self, admin: SocketAddr) -> Option<()> {
        let step = self.choose();
        let versions = self.path("/config/versions");
        match step {
            Step::Save => {
                let path = self.path("/config/draft");
                let open = call(admin, ("GET", &path), &[], &Value::Null)?;
                let condition = match open.status {
                    200 => ("if-match", open.etag.as_str()),
                    _ => ("if-none-match", "*"),
                };
                self.on_its_way = Some(step);
                let text = json!({"content": text_of(self.state.versions + 1)});
                let saved = change(admin, ("PUT", &path), &[condition], &text)?;
                assert_eq!(saved.json["version"], self.state.versions + 1);
            }
            Step::Approve(number) => {
                self.on_its_way = Some(step);
                change(admin, ("POST", &format!("{versions}/{number}/approve")), &[], &Value::Null)?;
            }
            Step::Serve(number) => {
                self.on_its_way = Some(step);
                let served = change(admin, ("POST", &format!("{versions}/{number}/serve")), &[], &Value::Null)?;
                assert_eq!(served.json["generation"], self.state.generation + 1);
            }
            Step::RollBack(number) => {
                self.on_its_way = Some(step);
                let body = json!({"to_version": number});
                change(admin, ("POST", &self.path("/config/rollback")), &[], &body)?;
            }
            Step::Unserve => {
                self.on_its_way = Some(step);
                change(admin, ("POST", &self.path("/config/unserve")), &[], &Value::Null)?;
            }
        }
        self.made(step);
        Some(())
    }

    fn made(&mut self, step: Step) {
        self.on_its_way = None;
        self.state = self.state.after(step);
        self.ever_served.extend(self.state.served);
    }

    /// Compares with what is there after a restart; returns whether the change that was on its way was made.
    pub(super) fn settle(&mut self, gateway: &Gateway, round: u32) -> bool {
        let found = self.found(gateway);
        let place = format!("round {round}, {}", self.slug);
        let step = self.on_its_way.take();
        let was_made = match step {
            Some(step) if self.state.after(step) == found => {
                self.made(step);
                true
            }
            _ => false,
        };
        assert_eq!(found, self.state, "{place}: {step:?} was on its way");
        self.check_texts(gateway, &place);
        self.check_generations(gateway, &place);
        // Each worker: connections are spread.
        for _ in 0..4 {
            self.check_served(gateway, &place);
        }
        was_made
    }

    fn found(&self, gateway: &Gateway) -> State {
        let get = |path: &str| gateway.admin("GET", &self.path(path), &[], "").json();
        let (project, versions) = (get(""), get("/config/versions?limit=1"));
        let approved = project["config_state"] == "READY_TO_SERVE";
        State {
            versions: versions["data"][0]["version"].as_u64().unwrap(),
            open: project["open_version"].as_u64().map(|number| (number, approved)),
            served: project["served_version"].as_u64(),
            generation: project["generation"].as_u64().unwrap(),
        }
    }

    /// The newest texts are those that were saved, byte for byte.
    fn check_texts(&self, gateway: &Gateway, place: &str) {
        let last = self.state.versions;
        for number in (2..=last).rev().take(3).chain(self.state.served) {
            let path = self.path(&format!("/config/versions/{number}"));
            let shown = gateway.admin("GET", &path, &[("accept", "application/yaml")], "");
            assert_eq!((shown.status, shown.text()), (200, text_of(number)), "{place}");
        }
    }

    /// The history has one step for each generation, the newest first.
    fn check_generations(&self, gateway: &Gateway, place: &str) {
        let listed = gateway.admin("GET", &self.path("/config/generations?limit=100"), &[], "").json();
        let steps: Vec<u64> =
            listed["data"].as_array().unwrap().iter().filter_map(|step| step["generation"].as_u64()).collect();
        let newest = self.state.generation;
        let want: Vec<u64> = (1..=newest).rev().take(100).collect();
        assert_eq!(steps, want, "{place}");
        if newest > 0 {
            assert_eq!(listed["data"][0]["version"].as_u64(), self.state.served, "{place}");
        }
    }

    /// The data plane serves what the API says, and nothing else.
    fn check_served(&self, gateway: &Gateway, place: &str) {
        let request = String::from_utf8(chat(&format!("{}/chat", self.slug))).unwrap().replace(KEY, &self.key);
        let reply = gateway.ask(request.as_bytes());
        let Some(number) = self.state.served else {
            assert_eq!(reply.status, 404, "{place}: {}", reply.text());
            return;
        };
        assert_eq!(reply.status, 200, "{place}: {}", reply.text());
        assert_eq!(reply.header("x-millrace-config"), Some(number.to_string().as_str()), "{place}");
        assert!(reply.text().contains(&format!("\"text-{number}\"")), "{place}: {}", reply.text());
    }
}
