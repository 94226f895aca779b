//! Requests of a history: how they come, and how they end.

use std::collections::BTreeMap;

use super::{
    bill::{Terms, stated},
    expected::{Bound, Expected, Known},
    history::{Ask, Finish, How, Reply},
    model::Clocks,
    world::{OUTPUT_MAX, PLATFORM, project_of},
};
use crate::{
    proxy::{Answer, Cause, Ending, StreamEnd},
    usage::Record,
};

/// A request that is open, as the model sees it.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) request: usize,
    pub(super) key: usize,
    pub(super) terms: Terms,
    /// Tokens of input and output that would be reserved.
    reserve: (u64, u64),
    bounds: Vec<Bound>,
    pub(super) generation: u64,
}

/// The text of a request.
pub(super) fn text(expected: &Expected, ask: &Ask) -> (Vec<u8>, u64) {
    let state = &expected.keys[ask.key];
    let key = match (&state.old, ask.old_text) {
        (Some((old, _)), true) => old.reveal(),
        (None, true) => "mr_live_unknown",
        (_, false) => state.text.reveal(),
    };
    let body = format!(
        "{{\"model\":\"chat\",\"max_tokens\":{},\"n\":{},\"stream\":{},\"messages\":[{{\"role\":\"user\",\"content\":\"{}\"}}]}}",
        ask.cap,
        ask.answers,
        ask.stream,
        "x".repeat(ask.padding)
    );
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx-api-key: {key}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    ((head + &body).into_bytes(), length(&body))
}

fn length(text: &str) -> u64 {
    u64::try_from(text.len()).unwrap()
}

fn amount(kind: &str, (input, output): (u64, u64), money: u64) -> u64 {
    match kind {
        "requests" | "concurrent" => 1,
        "tokens_input" => input,
        "tokens_output" => output,
        "tokens" => input + output,
        "usd" => money,
        other => panic!("{other}"),
    }
}

/// The name of what an account counts.
fn kind(account: &str) -> &str {
    account.rsplit('/').nth(1).unwrap()
}

impl Expected {
    /// A request comes: whether it is admitted, and what it is then.
    /// `order` are its limits in the order in which they are asked; `early` so many of them before the body is read, as far as
    /// they can be.
    pub(super) fn asked(
        &mut self,
        ask: &Ask,
        (body_len, generation): (u64, u64),
        (order, early): (&[Bound], usize),
    ) -> Result<Pending, &'static str> {
        let at = self.at();
        let request = self.known.len();
        self.known.push(Known { at: at.wall, ..Known::default() });
        if !self.is_good(ask.key, ask.old_text) {
            return Err("invalid_key");
        }
        self.known[request].key = Some(ask.key);
        let bounds = self.bounds(ask.key);
        let (project, served) = (project_of(ask.key), self.served[project_of(ask.key)]);
        let is_amount = |bound: &Bound| !matches!(kind(&bound.account), "requests" | "concurrent");
        let is_bounded = bounds.iter().any(is_amount);
        let reserve = (body_len + 16, ask.cap.min(OUTPUT_MAX) * ask.answers);
        let terms = Terms {
            own: (project != 1).then_some(served.price),
            paid: (project != 0).then_some(PLATFORM),
            fee: self.fee,
            input_most: is_bounded.then_some(reserve.0),
            output_most: is_bounded.then_some(reserve.1),
            on_cancel: served.on_cancel,
            body_len,
            stream: ask.stream,
        };
        let pending = Pending { request, key: ask.key, terms, reserve, bounds, generation };
        let money = terms.most(reserve.0, reserve.1);
        let fits = |bound: &Bound| {
            self.meters[&bound.account].fits(amount(kind(&bound.account), reserve, money), bound.max, at)
        };
        if pending.bounds.iter().all(|bound| bound.is_shadow || fits(bound)) {
            return Ok(pending);
        }
        let refuses = |bound: &&Bound| !bound.is_shadow && !fits(bound);
        let is_refused_early = order.iter().take(early).filter(|bound| !is_amount(bound)).any(|bound| refuses(&bound));
        let late =
            order.iter().filter(|bound| is_amount(bound) || order.iter().skip(early).any(|other| other == *bound));
        let touched: Vec<&Bound> =
            late.take_while(|bound| !is_refused_early && !refuses(bound)).filter(|bound| fits(bound)).collect();
        for bound in &pending.bounds {
            let is_touched = touched.contains(&bound);
            let meter = self.meters.get_mut(&bound.account).unwrap();
            meter.pass_by(at);
            if is_touched {
                meter.touch(bound.max, at);
            }
        }
        Err("limit")
    }

    /// It was admitted at a time. `began` says when windows of counters have begun.
    pub(super) fn admitted(&mut self, pending: &Pending, began: &BTreeMap<String, u64>, at: Clocks) {
        let money = pending.terms.most(pending.reserve.0, pending.reserve.1);
        for bound in &pending.bounds {
            self.take(pending, bound, money, (began, at));
        }
    }

    fn take(&mut self, pending: &Pending, bound: &Bound, money: u64, (began, at): (&BTreeMap<String, u64>, Clocks)) {
        let amount = amount(kind(&bound.account), pending.reserve, money);
        let meter = self.meters.get_mut(&bound.account).unwrap();
        if !meter.fits(amount, bound.max, at) || amount == 0 {
            return meter.pass_by(at);
        }
        let began = began.get(&bound.account).copied();
        meter.take(pending.request, (amount, bound.max), began, at);
        if bound.is_shadow {
            meter.keep_out(pending.request);
        }
    }

    /// Whether the platform's credential takes over when the own one is refused: it takes what that costs.
    pub(super) fn falls_back(&mut self, pending: &mut Pending, how: &How) -> bool {
        if project_of(pending.key) != 2 || !matches!(how, How::OwnRefused(_)) {
            return false;
        }
        let bound = self.credit_bound();
        let at = self.at();
        pending.terms.fee = self.fee;
        let money = pending.terms.most(pending.reserve.0, pending.reserve.1);
        if !self.meters[&bound.account].fits(money, bound.max, at) {
            return false;
        }
        self.take(pending, &bound, money, (&BTreeMap::new(), at));
        pending.bounds.push(bound);
        (pending.terms.input_most, pending.terms.output_most) = (Some(pending.reserve.0), Some(pending.reserve.1));
        true
    }

    /// It ended: what its record must say.
    pub(super) fn ended(&mut self, pending: &Pending, how: &How, falls_back: bool) {
        let at = self.at();
        let is_paid = project_of(pending.key) == 1;
        let bill = pending.terms.bill(how, |reply| whole(reply).map_or(0, |body| length(&body)), (is_paid, falls_back));
        let money = bill.cost.unwrap_or(0) + bill.fee;
        let mut dues = Vec::new();
        for bound in &pending.bounds {
            let used = match kind(&bound.account) {
                "concurrent" => 0,
                kind => amount(kind, (bill.input, bill.output), money),
            };
            let meter = self.meters.get_mut(&bound.account).unwrap();
            let due = meter.end(pending.request, (used, bound.max), at);
            dues.extend(due.map(|due| (bound.account.clone(), due)));
        }
        let known = &mut self.known[pending.request];
        (known.bill, known.dues, known.is_ended) = (Some(bill), dues, true);
    }

    /// The record says what the bill says.
    pub(super) fn check_record(&mut self, request: usize, record: &Record, generation: u64) {
        let known = &mut self.known[request];
        known.id = record.request_id.as_str().to_owned();
        known.is_ended = true;
        let mut charges: Vec<(String, u64, u64)> = Vec::new();
        for charge in record.charges.iter().flatten() {
            charges.push((charge.account.to_string(), charge.period, charge.amount));
        }
        let mut dues: Vec<(String, u64, u64)> =
            known.dues.iter().map(|(account, due)| (account.clone(), due.period, due.amount)).collect();
        charges.sort();
        dues.sort();
        assert_eq!(charges, dues, "I-6, I-8: charges of {known:?}");
        assert_eq!(record.generation, generation, "I-16");
        let bill = known.bill.unwrap_or_default();
        let got = super::bill::Bill {
            input: record.tokens.input,
            output: record.tokens.output,
            cost: record.cost.map(|cost| cost.units()),
            fee: record.fee.units(),
            attempts: record.attempts,
            is_suspect: record.usage_suspect,
            is_estimated: record.estimated,
            is_platform: record.credential == crate::usage::Credential::Platform,
        };
        assert_eq!(got, bill, "I-8, I-9, I-16");
        let tried = record.tried.as_ref().map(|tried| u32::try_from(tried.len()).unwrap());
        assert_eq!(tried.unwrap_or(record.attempts.min(1)), record.attempts, "I-5");
    }
}

/// The reply that a request gets: only who asks for a stream gets one.
pub(super) fn fitting(how: &How, stream: bool) -> How {
    let reply = |reply: &Reply| match *reply {
        Reply::Stream { output, .. } if !stream => Reply::Whole { input: 50, output: output.unwrap_or(50) },
        other => other,
    };
    match how {
        How::Answered { dead, answer } => How::Answered { dead: *dead, answer: reply(answer) },
        How::OwnRefused(answer) => How::OwnRefused(reply(answer)),
        other => *other,
    }
}

/// The body of an answer that states no usage.
fn whole(reply: &Reply) -> Option<String> {
    let Reply::NoUsage { bytes } = reply else { return None };
    Some(format!("{{\"choices\":[{{\"message\":{{\"content\":\"{}\"}}}}]}}", "y".repeat(*bytes)))
}

/// What the code under test is told.
pub(super) fn ending(how: &How, body_len: u64) -> Ending {
    match how {
        How::Answered { dead, answer: reply } => Ending::Answered(*dead, answer(reply, body_len)),
        How::OwnRefused(reply) => Ending::OwnRefused(answer(reply, body_len)),
        How::Panic => Ending::Panic,
        How::Dropped => Ending::Dropped,
    }
}

fn answer(reply: &Reply, body_len: u64) -> Answer {
    match *reply {
        Reply::Whole { input, output } => {
            let (input, output) = (stated(input, body_len + 16), stated(output, 400));
            Answer::Whole(format!(
                "{{\"choices\":[],\"usage\":{{\"prompt_tokens\":{input},\"completion_tokens\":{output}}}}}"
            ))
        }
        Reply::NoUsage { .. } => Answer::Whole(whole(reply).unwrap()),
        Reply::Stream { events, chars, output, end } => {
            // A character that repeats itself says nothing.
            let content: String = "zy".chars().cycle().take(chars).collect();
            let event = format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{content}\"}}}}]}}\n\n");
            let mut all = vec![event; events];
            all.extend(output.map(|output| {
                let output = stated(output, 400);
                format!("data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":7,\"completion_tokens\":{output}}}}}\n\n")
            }));
            all.push("data: [DONE]\n\n".to_owned());
            let end = match end {
                Finish::Complete => StreamEnd::Complete,
                Finish::ClientGone => StreamEnd::ClientGone(events / 2),
                Finish::Broken => StreamEnd::Broken(events / 2),
            };
            Answer::Stream(all, end)
        }
        Reply::Error(status) => Answer::Error(status),
        Reply::TimedOut => Answer::None(Cause::TimedOut),
        Reply::Reset => Answer::None(Cause::Reset),
        Reply::Truncated => Answer::None(Cause::Truncated),
        Reply::ClientGone => Answer::ClientGone,
    }
}
