//! What a client is told of its limits.

use std::{fmt::Write as _, time::Duration};

use crate::{
    base::{Decimal, NanoUsd},
    http::Buffer,
    limit::{CalendarUnit, Kind, Kinds, LimitSet, Reason, Refused, Scope, Window},
    metrics::Endpoint,
    usage::Credential,
    wire::ErrorCase,
};

use super::{exchange::Exchange, reply::Refusal};

/// A client that is told to wait longer than this for money would hold on for nothing.
const QUOTA_WAIT_MAX: Duration = Duration::from_secs(120);
/// What is only reserved may be free again as soon as one request ends.
const RESERVED_WAIT: Duration = Duration::from_secs(1);
const NANOS_A_USD: u64 = 1_000_000_000;

/// The answer to a request that a limit refuses. It names scope, amount and reset, and nothing about others.
pub(super) fn refusal_of(refused: &Refused) -> Refusal {
    let is_money = refused.kind == Kind::Money;
    let is_of_credits = matches!(refused.scope, Scope::Credits | Scope::Allowance);
    if is_of_credits && (refused.reason == Reason::Reached || refused.never_fits()) {
        return Refusal::new(ErrorCase::InsufficientCredits, credits_message(refused));
    }
    let case = match (refused.kind, refused.reason) {
        (_, Reason::Unleased) => ErrorCase::LedgerUnavailable,
        (Kind::Concurrent, _) => ErrorCase::ConcurrencyLimit,
        (Kind::Money, Reason::Reserved) => ErrorCase::QuotaReserved,
        (Kind::Money, Reason::Reached) => ErrorCase::InsufficientQuota,
        (Kind::Requests | Kind::AudioMillis, _) => ErrorCase::RateLimited,
        (Kind::InputTokens | Kind::OutputTokens | Kind::TotalTokens, _) => ErrorCase::TokensRateLimited,
    };
    let mut refusal = Refusal::new(case, message(refused));
    refusal.retry_after = match (refused.reason, refused.resets_in) {
        (Reason::Unleased, _) => Some(RESERVED_WAIT),
        _ if refused.kind == Kind::Concurrent => Some(RESERVED_WAIT),
        _ if refused.never_fits() => None,
        (Reason::Reserved, Some(wait)) => Some(wait.min(RESERVED_WAIT)),
        (Reason::Reserved, None) => Some(RESERVED_WAIT),
        (Reason::Reached, Some(wait)) if !is_money || wait < QUOTA_WAIT_MAX => Some(wait),
        (Reason::Reached, _) => None,
    };
    if refused.never_fits() && refused.reason != Reason::Unleased && refused.kind != Kind::Concurrent {
        refusal.should_retry = Some(false);
    }
    refusal
}

/// What a request is told that the credits of its organization do not cover.
fn credits_message(refused: &Refused) -> String {
    let (asked, free) = (amount(Kind::Money, refused.asked), amount(Kind::Money, refused.free));
    if refused.scope == Scope::Credits {
        return format!(
            "the organization's credits do not cover this request: it may need {asked}, {free} left; top up, or use an own key"
        );
    }
    let max = amount(Kind::Money, refused.terms.max);
    let mut text = format!(
        "the project may draw {max} of the organization's credits{}: this request may need {asked}, {free} left",
        window(refused.window)
    );
    if let Some(wait) = refused.resets_in.filter(|_| !refused.never_fits()) {
        // Writing to a String cannot fail.
        let _ = write!(text, "; room again in {}", go_duration(wait));
    }
    text.push_str("; have the allowance raised, or use an own key");
    text
}

fn message(refused: &Refused) -> String {
    let (scope, max) = (refused.scope.name(), amount(refused.kind, refused.terms.max));
    let mut text = match refused.reason {
        Reason::Unleased => format!("the budget of the {scope} cannot be kept on disk at the moment"),
        _ if refused.terms.max == 0 => format!("the limit of the {scope} is 0: nothing is allowed"),
        Reason::Reached => format!("limit of the {scope} reached: {max}{}", window(refused.window)),
        Reason::Reserved => {
            format!("limit of the {scope} ({max}{}) is reserved by requests that are open", window(refused.window))
        }
    };
    // Writing to a String cannot fail.
    if refused.terms.max > 0 && refused.reason != Reason::Unleased && refused.kind != Kind::Requests {
        let (asked, free) = (amount(refused.kind, refused.asked), amount(refused.kind, refused.free));
        let _ = write!(text, "; this request may need {asked}, {free} free");
    }
    if refused.never_fits() && refused.terms.max > 0 && refused.kind == Kind::AudioMillis {
        text.push_str("; it will never fit: send a shorter file or have the limit raised");
    } else if refused.never_fits() && refused.terms.max > 0 {
        text.push_str("; it will never fit: ask for fewer tokens (`max_tokens`) or have the limit raised");
    } else if refused.reason == Reason::Reserved && refused.kind == Kind::Money {
        text.push_str("; try again with a smaller `max_tokens`, or later");
    } else if let Some(wait) = refused.resets_in.filter(|_| refused.reason == Reason::Reached && refused.terms.max > 0)
    {
        let _ = write!(text, "; room again in {}", go_duration(wait));
    }
    text
}

fn amount(kind: Kind, units: u64) -> String {
    match kind {
        Kind::Requests => format!("{units} requests"),
        Kind::InputTokens => format!("{units} input tokens"),
        Kind::OutputTokens => format!("{units} output tokens"),
        Kind::TotalTokens => format!("{units} tokens"),
        Kind::Money => {
            let usd = crate::base::NanoUsd(i64::try_from(units).unwrap_or(i64::MAX)).to_string();
            let usd = usd.trim_end_matches('0').trim_end_matches('.');
            format!("{usd} USD")
        }
        Kind::AudioMillis => format!("{} seconds of audio", units / 1_000),
        Kind::Concurrent => format!("{units} open requests"),
    }
}

fn window(window: Window) -> String {
    match window {
        Window::Fixed(length) | Window::Aligned(length) | Window::Sliding(length) | Window::Bucket(length) => {
            format!(" in {}", go_duration(length))
        }
        Window::Calendar(unit, count) => {
            let unit = match unit {
                CalendarUnit::Hour => "hour",
                CalendarUnit::Day => "day",
                CalendarUnit::Week => "week",
                CalendarUnit::Month => "month",
            };
            if count == 1 {
                format!(" in a calendar {unit} (UTC)")
            } else {
                format!(" in {count} calendar {unit}s (UTC)")
            }
        }
        Window::Total | Window::Open => String::new(),
    }
}

/// A time as Go writes it, which the clients of the OpenAI API read: `6ms`, `1s`, `2m59.56s`, `1h0m0s`. Rounded up to
/// milliseconds.
pub(super) fn go_duration(time: Duration) -> String {
    let mut text = Buffer::default();
    push_go_duration(&mut text, time);
    String::from_utf8_lossy(text.filled()).into_owned()
}

/// Appends the same to a head.
fn push_go_duration(out: &mut Buffer, time: Duration) {
    // Sums in 64 bits: 584 years are enough.
    let millis =
        time.as_secs().saturating_mul(1_000).saturating_add(u64::from(time.subsec_nanos().div_ceil(1_000_000)));
    if millis < 1_000 {
        out.extend(Decimal::new(millis).as_bytes());
        out.extend(if millis == 0 { b"s" } else { b"ms" });
        return;
    }
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    if hours > 0 {
        out.extend(Decimal::new(hours).as_bytes());
        out.extend(b"h");
    }
    if hours > 0 || minutes > 0 {
        out.extend(Decimal::new(minutes).as_bytes());
        out.extend(b"m");
    }
    out.extend(Decimal::new(millis / 1_000 % 60).as_bytes());
    if !millis.is_multiple_of(1_000) {
        let fraction = Decimal::new(1_000 + millis % 1_000);
        let digits = behind_the_point(&fraction);
        let zeros = digits.iter().rev().take_while(|digit| **digit == b'0').count();
        out.extend(b".");
        out.extend(digits.get(..digits.len() - zeros).unwrap_or_default());
    }
    out.extend(b"s");
}

/// The digits of a fraction with its zeros in front, given as one and that fraction.
fn behind_the_point(one_and_fraction: &Decimal) -> &[u8] {
    one_and_fraction.as_bytes().get(1..).unwrap_or_default()
}

/// Writes what an answer tells of limits and money: the tightest limit in requests and in tokens, and the cost of an answer
/// that is no stream. Nothing without limits and price.
pub(super) fn limit_fields(out: &mut Buffer, exchange: &Exchange<'_>) {
    if exchange.is_metered {
        rate_fields(out, exchange);
    }
    if let Some(cost) = exchange.cost.filter(|_| !exchange.stream) {
        push_usd(out, b"x-millrace-cost-usd: ", cost);
        if exchange.credential == Credential::Platform {
            push_usd(out, b"x-millrace-fee-usd: ", exchange.fee);
        }
    }
}

fn push_usd(out: &mut Buffer, name: &[u8], amount: NanoUsd) {
    let units = amount.units();
    out.extend(name);
    out.extend(Decimal::new(units / NANOS_A_USD).as_bytes());
    out.extend(b".");
    out.extend(behind_the_point(&Decimal::new(NANOS_A_USD + units % NANOS_A_USD)));
    out.extend(b"\r\n");
}

fn rate_fields(out: &mut Buffer, exchange: &Exchange<'_>) {
    let Some(grant) = &exchange.grant else { return };
    let keyed = exchange.holds.as_ref().and_then(|holds| holds.keyed_set.as_deref());
    let route = exchange.target.as_ref().map(|target| &target.bounds.limits);
    let sets = [Some(&grant.limits), route, keyed];
    let limited = sets.iter().flatten().fold(Kinds::NONE, |kinds, set| kinds.union(set.kinds()));
    if !limited.meets(Kinds::of(Kind::Requests).union(Kinds::TOKENS).and(Kind::AudioMillis)) {
        return;
    }
    let at = exchange.limit_moment(exchange.latest());
    let tightest = |kinds| {
        let states = sets.iter().flatten().filter_map(|set: &&LimitSet| set.tightest(kinds, at));
        states.min_by_key(|state| state.remaining)
    };
    for (names, kinds) in [(&REQUESTS, Kinds::of(Kind::Requests)), (&TOKENS, Kinds::TOKENS)] {
        if limited.meets(kinds)
            && let Some(state) = tightest(kinds)
        {
            push_rate(out, names, (state.max, state.remaining, state.resets_in));
        }
    }
    // A key may have such a limit and ask for no audio: then nobody wants to know.
    if limited.has(Kind::AudioMillis)
        && exchange.endpoint == Endpoint::Transcriptions
        && let Some(state) = tightest(Kinds::of(Kind::AudioMillis))
    {
        push_rate(out, &AUDIO, (state.max / 1_000, state.remaining / 1_000, state.resets_in));
    }
}

fn push_rate(out: &mut Buffer, names: &[&[u8]; 3], (max, remaining, resets_in): (u64, u64, Option<Duration>)) {
    let [limit, left, reset] = names;
    out.extend(limit);
    out.extend(Decimal::new(max).as_bytes());
    out.extend(left);
    out.extend(Decimal::new(remaining).as_bytes());
    out.extend(reset);
    push_go_duration(out, resets_in.unwrap_or_default());
    out.extend(b"\r\n");
}

const REQUESTS: [&[u8]; 3] =
    [b"x-ratelimit-limit-requests: ", b"\r\nx-ratelimit-remaining-requests: ", b"\r\nx-ratelimit-reset-requests: "];
const TOKENS: [&[u8]; 3] =
    [b"x-ratelimit-limit-tokens: ", b"\r\nx-ratelimit-remaining-tokens: ", b"\r\nx-ratelimit-reset-tokens: "];
/// OpenAI limits no audio. These are the names that Groq gives its limits of it, and clients read.
const AUDIO: [&[u8]; 3] = [
    b"x-ratelimit-limit-audio-seconds: ",
    b"\r\nx-ratelimit-remaining-audio-seconds: ",
    b"\r\nx-ratelimit-reset-audio-seconds: ",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        limit::Terms,
        metrics::{LIMIT_KINDS, LIMIT_REASONS, LIMIT_SCOPES},
    };

    #[test]
    fn times_are_written_as_go_does() {
        for (millis, want) in [
            (0, "0s"),
            (6, "6ms"),
            (1_000, "1s"),
            (179_560, "2m59.56s"),
            (360_000, "6m0s"),
            (3_600_000, "1h0m0s"),
            (61_001, "1m1.001s"),
        ] {
            assert_eq!(go_duration(Duration::from_millis(millis)), want);
        }
        assert_eq!(go_duration(Duration::from_nanos(1)), "1ms", "never too early");
    }

    fn refused(kind: Kind, reason: Reason) -> Refused {
        Refused {
            scope: Scope::Key,
            kind,
            window: Window::Fixed(Duration::from_secs(60)),
            terms: Terms::max(1_500_000_000),
            reason,
            asked: 2_000_000,
            free: 1_000_000,
            resets_in: Some(Duration::from_secs(30)),
        }
    }

    #[test]
    fn refusals_have_the_case_and_the_pause_of_their_kind() {
        for (kind, reason, case, pause) in [
            (Kind::Requests, Reason::Reached, ErrorCase::RateLimited, Some(30)),
            (Kind::TotalTokens, Reason::Reached, ErrorCase::TokensRateLimited, Some(30)),
            (Kind::OutputTokens, Reason::Reserved, ErrorCase::TokensRateLimited, Some(1)),
            (Kind::Money, Reason::Reached, ErrorCase::InsufficientQuota, Some(30)),
            (Kind::Money, Reason::Reserved, ErrorCase::QuotaReserved, Some(1)),
            (Kind::Money, Reason::Unleased, ErrorCase::LedgerUnavailable, Some(1)),
            (Kind::Concurrent, Reason::Reserved, ErrorCase::ConcurrencyLimit, Some(1)),
        ] {
            let refusal = refusal_of(&refused(kind, reason));
            assert_eq!(
                (refusal.case, refusal.retry_after),
                (case, pause.map(Duration::from_secs)),
                "{kind:?} {reason:?}"
            );
        }
        let late = Refused { resets_in: Some(Duration::from_secs(121)), ..refused(Kind::Money, Reason::Reached) };
        assert_eq!(refusal_of(&late).retry_after, None, "no client should hold on so long");
    }

    #[test]
    fn used_up_credits_are_told_apart_from_reserved_ones() {
        let credits = |reason| Refused { scope: Scope::Credits, window: Window::Total, ..refused(Kind::Money, reason) };
        let reached = refusal_of(&credits(Reason::Reached));
        assert_eq!((reached.case, reached.retry_after), (ErrorCase::InsufficientCredits, None));
        assert_eq!(reached.case.should_retry(), Some(false));
        let reserved = refusal_of(&credits(Reason::Reserved));
        assert_eq!((reserved.case, reserved.retry_after), (ErrorCase::QuotaReserved, Some(RESERVED_WAIT)));
        let empty = Refused { terms: Terms::max(0), ..credits(Reason::Reserved) };
        assert_eq!(refusal_of(&empty).case, ErrorCase::InsufficientCredits, "waiting does not help");
    }

    #[test]
    fn used_up_allowance_names_what_the_project_may_draw() {
        let allowance = Refused { scope: Scope::Allowance, ..refused(Kind::Money, Reason::Reached) };
        let told = refusal_of(&allowance);
        assert_eq!((told.case, told.retry_after), (ErrorCase::InsufficientCredits, None));
        assert_eq!(
            told.message,
            "the project may draw 1.5 USD of the organization's credits in 1m0s: this request may need 0.002 USD, 0.001 USD \
             left; room again in 30s; have the allowance raised, or use an own key"
        );
        let reserved = Refused { reason: Reason::Reserved, ..allowance };
        assert_eq!(refusal_of(&reserved).case, ErrorCase::QuotaReserved);
    }

    #[test]
    fn message_names_scope_amount_and_reset() {
        let text = message(&refused(Kind::Money, Reason::Reached));
        assert_eq!(
            text,
            "limit of the key reached: 1.5 USD in 1m0s; this request may need 0.002 USD, 0.001 USD free; room again in 30s"
        );
        let never = Refused { asked: u64::MAX, ..refused(Kind::TotalTokens, Reason::Reached) };
        assert!(message(&never).contains("will never fit"), "{}", message(&never));
        assert_eq!(refusal_of(&never).should_retry, Some(false));
        let zero = Refused { terms: Terms::max(0), ..refused(Kind::Money, Reason::Reached) };
        assert_eq!(message(&zero), "the limit of the key is 0: nothing is allowed");
    }

    /// Counters of refusals are found by these enums as numbers. A new variant does not compile here without its word.
    #[test]
    fn labels_of_refusals_stand_in_the_order_of_what_they_name() {
        let scope = |scope| match scope {
            Scope::Organization => "organization",
            Scope::Project => "project",
            Scope::Member => "member",
            Scope::Key => "key",
            Scope::Group => "group",
            Scope::Route => "route",
            Scope::Credits => "credits",
            Scope::Allowance => "allowance",
        };
        let kind = |kind| match kind {
            Kind::Requests => "requests",
            Kind::InputTokens => "tokens_input",
            Kind::OutputTokens => "tokens_output",
            Kind::TotalTokens => "tokens",
            Kind::Money => "usd",
            Kind::AudioMillis => "audio",
            Kind::Concurrent => "concurrent",
        };
        let reason = |reason| match reason {
            Reason::Reached => "reached",
            Reason::Reserved => "reserved",
            Reason::Unleased => "unleased",
        };
        let scopes = [Scope::Organization, Scope::Project, Scope::Member, Scope::Key, Scope::Group, Scope::Route];
        for of in scopes.into_iter().chain([Scope::Credits, Scope::Allowance]) {
            assert_eq!(LIMIT_SCOPES.get(of as usize), Some(&scope(of)), "{of:?}");
        }
        let kinds = [Kind::Requests, Kind::InputTokens, Kind::OutputTokens, Kind::TotalTokens, Kind::Money];
        for of in kinds.into_iter().chain([Kind::AudioMillis, Kind::Concurrent]) {
            assert_eq!(LIMIT_KINDS.get(of as usize), Some(&kind(of)), "{of:?}");
        }
        for of in [Reason::Reached, Reason::Reserved, Reason::Unleased] {
            assert_eq!(LIMIT_REASONS.get(of as usize), Some(&reason(of)), "{of:?}");
        }
        assert_eq!(
            (LIMIT_SCOPES.len(), LIMIT_KINDS.len(), LIMIT_REASONS.len()),
            (8, 7, 3),
            "no label without a variant"
        );
    }
}
