//! Rows of requests as a stream, page by page.
//!
//! One page is read while the one before is sent; a client that leaves ends the reading.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::Frame;
use serde_json::Value;
use tokio::sync::mpsc;

use super::logs::RequestView;
use super::projects::millis;
use crate::admin::rest::Streamed;
use crate::base::Id;
use crate::control::{Actor, Control};
use crate::store::{Order, Page, PageRequest, RequestFilter, RequestRow};

/// Rows of one export at most.
const ROWS_MAX: usize = 1_000_000;
/// Pages that wait to be sent.
const PAGES_MAX: usize = 2;

/// The columns of CSV: heading, and pointer into a row.
const COLUMNS: &[&str] = &[
    "/request_id",
    "/at",
    "/trace_id",
    "/organization",
    "/project",
    "/route",
    "/key_id",
    "/member_id",
    "/group",
    "/endpoint",
    "/requested_model",
    "/provider",
    "/model",
    "/target",
    "/generation",
    "/config_version",
    "/status",
    "/error_code",
    "/finish_reason",
    "/duration_ms",
    "/first_byte_ms",
    "/ttft_ms",
    "/overhead_ms",
    "/upstream_ms",
    "/phases",
    "/attempt_count",
    "/attempts",
    "/decisions",
    "/streamed",
    "/cancelled",
    "/tokens/input",
    "/tokens/output",
    "/tokens/cache_read",
    "/tokens/cache_write",
    "/cache_write_1h",
    "/tokens/reasoning",
    "/tokens/image_input",
    "/tokens/image_output",
    "/tokens/images",
    "/tokens/web_searches",
    "/tokens/audio_ms",
    "/bytes_in",
    "/bytes_out",
    "/credential",
    "/fallback",
    "/cost",
    "/cost_parts",
    "/fee",
    "/price_source",
    "/price_date",
    "/estimated",
    "/usage_suspect",
    "/unpriced",
    "/client_ip",
    "/user_agent",
    "/tags",
    "/metadata",
    "/corrected",
];

/// The form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// An object a line.
    Lines,
    /// A heading, and a line a row.
    Csv,
}

/// What is exported.
pub(super) struct Export {
    pub(super) control: Arc<Control>,
    pub(super) actor: Actor,
    pub(super) project: Id,
    pub(super) filter: RequestFilter,
    pub(super) form: Form,
}

impl Export {
    /// Sends the first page and whatever is behind it.
    pub(super) fn start(self, first: Page<RequestRow>) -> Streamed {
        let (sender, receiver) = mpsc::channel(PAGES_MAX);
        let content_type = match self.form {
            Form::Lines => "application/x-ndjson",
            Form::Csv => "text/csv; charset=utf-8",
        };
        tokio::spawn(async move { self.send(first, sender).await });
        Streamed { content_type, body: Body::new(Pages(receiver)) }
    }

    /// A page that cannot be read ends the stream with an error: what came is not all.
    async fn send(self, mut page: Page<RequestRow>, sender: mpsc::Sender<Result<Bytes, Broken>>) {
        let mut text = String::new();
        if self.form == Form::Csv {
            heading(&mut text);
        }
        let mut rows = 0;
        loop {
            rows += page.rows.len();
            let last = page.rows.last().map(|row| (millis(row.at), row.id.to_string()));
            page.rows.into_iter().for_each(|row| self.push(row, &mut text));
            if sender.send(Ok(std::mem::take(&mut text).into())).await.is_err() {
                return;
            }
            let (true, Some(last)) = (page.has_more && rows < ROWS_MAX, last) else { return };
            let request = PageRequest { limit: 100, after: Some(last), order: Order::Ascending };
            page = match self.control.requests(&self.actor, &self.project, self.filter.clone(), request).await {
                Ok(page) => page,
                Err(_) => {
                    let _ = sender.send(Err(Broken)).await;
                    return;
                }
            };
        }
    }

    fn push(&self, row: RequestRow, text: &mut String) {
        let value = serde_json::to_value(RequestView::from(row)).unwrap_or_default();
        match self.form {
            Form::Lines => text.push_str(&value.to_string()),
            Form::Csv => {
                for (index, column) in COLUMNS.iter().enumerate() {
                    if index > 0 {
                        text.push(',');
                    }
                    push_cell(text, value.pointer(column).unwrap_or(&Value::Null));
                }
                text.push('\r');
            }
        }
        text.push('\n');
    }
}

fn heading(text: &mut String) {
    let names: Vec<_> = COLUMNS.iter().map(|column| column.trim_start_matches('/').replace('/', "_")).collect();
    text.push_str(&names.join(","));
    text.push_str("\r\n");
}

/// A cell that no spreadsheet takes for a formula, quoted where needed (RFC 4180).
fn push_cell(text: &mut String, value: &Value) {
    let cell = match value {
        Value::Null => return,
        Value::String(cell) => cell.clone(),
        Value::Object(pairs) if pairs.is_empty() => return,
        Value::Array(items) if items.is_empty() => return,
        other => return push_quoted(text, &other.to_string()),
    };
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        return push_quoted(text, &format!("'{cell}"));
    }
    push_quoted(text, &cell);
}

fn push_quoted(text: &mut String, cell: &str) {
    if !cell.contains([',', '"', '\r', '\n']) {
        return text.push_str(cell);
    }
    text.push('"');
    text.push_str(&cell.replace('"', "\"\""));
    text.push('"');
}

/// The rest of an export could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the export broke off; ask again for the rest")]
struct Broken;

struct Pages(mpsc::Receiver<Result<Bytes, Broken>>);

impl HttpBody for Pages {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.0.poll_recv(context).map(|page| page.map(|page| page.map(Frame::data)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cells_are_no_formulas_and_keep_their_column() {
        for (value, want) in [
            (json!("plain"), "plain"),
            (json!("=1+1"), "'=1+1"),
            (json!("+1"), "'+1"),
            (json!("-1"), "'-1"),
            (json!("@x"), "'@x"),
            (json!("=a,b"), "\"'=a,b\""),
            (json!("a\"b"), "\"a\"\"b\""),
            (json!("a\nb"), "\"a\nb\""),
            (json!({"team": "=x"}), "\"{\"\"team\"\":\"\"=x\"\"}\""),
            (json!({}), ""),
            (json!([]), ""),
            (json!(null), ""),
            (json!(12.5), "12.5"),
        ] {
            let mut text = String::new();
            push_cell(&mut text, &value);
            assert_eq!(text, want);
        }
    }
}
