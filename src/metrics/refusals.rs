//! Requests that limits refused.

use std::sync::Arc;

use super::{
    cell::Counter,
    text::{head, line},
    worker::WorkerBlock,
};

/// Values of the label `scope`.
pub const LIMIT_SCOPES: [&str; 8] =
    ["organization", "project", "member", "key", "group", "route", "credits", "allowance"];
/// Values of the label `kind`.
pub const LIMIT_KINDS: [&str; 7] =
    ["requests", "tokens_input", "tokens_output", "tokens", "usd", "audio", "concurrent"];
/// Values of the label `reason`.
pub const LIMIT_REASONS: [&str; 3] = ["reached", "reserved", "unleased"];
/// The kind that has a family of its own.
const MONEY: &str = "usd";

/// What one worker counts of refusals. Indices are those of the lists above.
#[derive(Debug, Default)]
pub struct LimitRefusals {
    refused: [[[Counter; LIMIT_REASONS.len()]; LIMIT_KINDS.len()]; LIMIT_SCOPES.len()],
    shadow: [[Counter; LIMIT_KINDS.len()]; LIMIT_SCOPES.len()],
}

impl LimitRefusals {
    /// Counts a refused request.
    pub fn count(&self, scope: usize, kind: usize, reason: usize) {
        if let Some(cell) = self.refused.get(scope).and_then(|kinds| kinds.get(kind)?.get(reason)) {
            cell.inc();
        }
    }

    /// Counts a request that a limit in shadow mode would have refused.
    pub fn count_shadow(&self, scope: usize, kind: usize) {
        if let Some(cell) = self.shadow.get(scope).and_then(|kinds| kinds.get(kind)) {
            cell.inc();
        }
    }
}

/// Writes the sums over all workers.
pub(super) fn write_refusals(workers: &[Arc<WorkerBlock>], out: &mut String) {
    for (name, help, of_money) in [
        ("millrace_rate_limited_total", "Requests refused by limits of requests, tokens and concurrency.", false),
        ("millrace_budget_rejected_total", "Requests refused by limits in money.", true),
    ] {
        head(out, name, "counter", help);
        for (scope_at, scope) in LIMIT_SCOPES.iter().enumerate() {
            for (kind_at, kind) in LIMIT_KINDS.iter().enumerate().filter(|(_, kind)| (**kind == MONEY) == of_money) {
                for (reason_at, reason) in LIMIT_REASONS.iter().enumerate() {
                    let cell = |w: &WorkerBlock| {
                        w.limit_refusals.refused.get(scope_at)?.get(kind_at)?.get(reason_at).map(Counter::get)
                    };
                    let count: u64 = workers.iter().filter_map(|w| cell(w)).sum();
                    if count > 0 {
                        let labels = ["scope=\"", scope, "\",kind=\"", kind, "\",reason=\"", reason, "\""];
                        line(out, name, &labels, count);
                    }
                }
            }
        }
    }
    let name = "millrace_shadow_limited_total";
    head(out, name, "counter", "Requests that limits in shadow mode would have refused.");
    for (scope_at, scope) in LIMIT_SCOPES.iter().enumerate() {
        for (kind_at, kind) in LIMIT_KINDS.iter().enumerate() {
            let cell = |w: &WorkerBlock| w.limit_refusals.shadow.get(scope_at)?.get(kind_at).map(Counter::get);
            let count: u64 = workers.iter().filter_map(|w| cell(w)).sum();
            if count > 0 {
                line(out, name, &["scope=\"", scope, "\",kind=\"", kind, "\""], count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_summed_by_scope_kind_and_reason() {
        let now = crate::base::now();
        let workers = [Arc::new(WorkerBlock::new(now)), Arc::new(WorkerBlock::new(now))];
        for worker in &workers {
            worker.limit_refusals.count(3, 0, 0);
            worker.limit_refusals.count(3, 4, 1);
            worker.limit_refusals.count_shadow(5, 1);
        }
        workers[0].limit_refusals.count(9, 9, 9);
        let mut out = String::new();
        write_refusals(&workers, &mut out);
        for want in [
            "millrace_rate_limited_total{scope=\"key\",kind=\"requests\",reason=\"reached\"} 2\n",
            "millrace_budget_rejected_total{scope=\"key\",kind=\"usd\",reason=\"reserved\"} 2\n",
            "millrace_shadow_limited_total{scope=\"route\",kind=\"tokens_input\"} 2\n",
        ] {
            assert!(out.contains(want), "{out}");
        }
        assert_eq!(out.lines().filter(|line| !line.starts_with('#')).count(), 3);
    }
}
