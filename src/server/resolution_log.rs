//! What the resolver does, as lines of the log.

use crate::{
    base::log::{Level, Value, emit},
    upstream::ResolveEvent,
};

/// Logs one event of the resolver.
pub(super) fn log_resolution(event: ResolveEvent) {
    match event {
        ResolveEvent::Resolved { host, addresses } => {
            let text = format!("{addresses:?}");
            let fields = [("host", Value::Text(&host)), ("addresses", Value::Text(&text))];
            emit(Level::Info, "provider name resolved", &fields);
        }
        ResolveEvent::Failed { host, error, kept, retry_in } => {
            let text = error.to_string();
            let fields = [
                ("host", Value::Text(&host)),
                ("error", Value::Text(&text)),
                ("older_addresses_kept", Value::Flag(kept)),
                ("retry_in_s", Value::Uint(retry_in.as_secs())),
            ];
            emit(Level::Warn, "provider name not resolved", &fields);
        }
        ResolveEvent::Forgotten { host } => {
            emit(Level::Debug, "provider name forgotten", &[("host", Value::Text(&host))])
        }
        ResolveEvent::SystemUnreadable => emit(Level::Warn, "the system's resolver settings cannot be read", &[]),
    }
}
