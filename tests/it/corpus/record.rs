//! Recorded exchanges, as the replaying provider lists them.

use serde_json::{Value, json};

use crate::harness::{Client, Mock};

/// Which wire a record speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Chat,
    Completions,
    Embeddings,
    Responses,
}

/// One recorded exchange.
pub(super) struct Record {
    pub(super) id: String,
    pub(super) provider: String,
    pub(super) kind: Kind,
    pub(super) status: u16,
    /// Whether the answer is a stream.
    pub(super) stream: bool,
    /// The recorded request, or a small one that asks for the same form of answer.
    pub(super) request: Value,
    pub(super) body: Vec<u8>,
    /// Set on a copy whose client, unlike the recorded one, does not ask for usage.
    pub(super) unasked: bool,
}

impl Kind {
    const ALL: [(Self, &str); 4] = [
        (Self::Chat, "openai-chat"),
        (Self::Completions, "openai-completions"),
        (Self::Embeddings, "openai-embeddings"),
        (Self::Responses, "openai-responses"),
    ];

    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Embeddings => "/v1/embeddings",
            Self::Responses => "/v1/responses",
        }
    }

    /// A request for records whose own was a GET or is lost.
    fn small_request(self, stream: bool) -> Value {
        match self {
            Self::Chat => json!({"messages": [{"role": "user", "content": "hello"}], "stream": stream}),
            Self::Completions => json!({"prompt": "hello", "stream": stream}),
            Self::Embeddings => json!({"input": "hello"}),
            Self::Responses => json!({"input": "hello", "stream": stream}),
        }
    }
}

/// All records that `replay` serves.
pub(super) fn records(replay: &Mock) -> Vec<Record> {
    let mut client = Client::connect(replay.address);
    let mut found = Vec::new();
    for (kind, dialect) in Kind::ALL {
        let listing = get(&mut client, &format!("/__records?dialect={dialect}"));
        for line in listing.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let mut listed: Value = serde_json::from_slice(line).unwrap();
            let text = |name: &str| listed[name].as_str().unwrap().to_owned();
            let (id, provider) = (text("id"), text("provider"));
            let stream = listed["stream"].as_bool().unwrap();
            let request = Some(listed["request"].take()).filter(Value::is_object);
            found.push(Record {
                kind,
                status: u16::try_from(listed["status"].as_u64().unwrap()).unwrap(),
                stream,
                request: request.unwrap_or_else(|| kind.small_request(stream)),
                body: get(&mut client, &format!("/__records/{id}/body")),
                id,
                provider,
                unasked: false,
            });
        }
    }
    let unasked: Vec<Record> = found.iter().filter_map(Record::without_asking).collect();
    found.extend(unasked);
    found
}

impl Record {
    /// Every recorded client that got a usage chunk had asked for it, so hiding it takes a client that did not.
    fn without_asking(&self) -> Option<Self> {
        let mut request = self.request.clone();
        let options = request.as_object_mut()?.shift_remove("stream_options")?;
        (self.stream && options["include_usage"] == true).then(|| Self {
            request,
            unasked: true,
            id: self.id.clone(),
            provider: self.provider.clone(),
            body: self.body.clone(),
            ..*self
        })
    }
}

fn get(client: &mut Client, path: &str) -> Vec<u8> {
    client.send(format!("GET {path} HTTP/1.1\r\nhost: replay.test\r\n\r\n").as_bytes());
    let reply = client.read().expect("an answer");
    assert_eq!(reply.status, 200, "{path}");
    reply.body
}
