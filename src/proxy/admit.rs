//! What a request may use: taken before it is sent.
//!
//! Requests and concurrency of the key are taken before the body is read, all else once the body says what it asks for at
//! most. Everything is taken or nothing. Routes and keys without limits pass by here without a look at a counter.

use std::{sync::Arc, time::Duration};

use smallvec::SmallVec;

use crate::{
    base::Instant,
    http::{Downstream, sleep},
    limit::{Claim, Held, Kind, Kinds, LimitSet, Moment, Reason, Refused, Waiting, take_all},
    snapshot::{CreditTerms, Paid, Target},
    usage::{Credential, LimitsSaid, Phase, Price},
    wire::{CapText, Demand, Endpoint, ErrorCase, RequestView, Searches, searches_asked},
};

use super::{
    attempt::Failure, exchange::Exchange, overrun::Overrun, recount::Recount, refused::refusal_of, reply::Refusal,
};

/// Tokens that one picture can cost at most: the dearest price list counts somewhat less than 50,000 for the largest. What
/// else the provider reads beside the body is taken for as much, and may be more.
const UNSEEN_TOKENS: u64 = 50_000;
/// Tokens that a provider adds around a conversation.
const FRAME_TOKENS: u64 = 16;
/// Searches that are taken for an answer to a request that lets the provider search and does not bound it. A model whose
/// answers made more takes as many as the most of them.
const SEARCHES_TAKEN: u32 = 10;
/// Pictures that are taken for each answer where a picture has a price, in the same way.
const IMAGES_TAKEN: u32 = 4;
/// Longest wait for a lease that is on its way to the disk. Only a burst out of nothing gets here.
const LEASE_WAIT_MAX: Duration = Duration::from_secs(2);
/// How often a request that waits looks again.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(1);

/// What one request holds of limits. On the heap: requests without limits have none.
#[derive(Default)]
pub(super) struct Holds {
    pub(super) grant: Held,
    pub(super) route: Held,
    pub(super) keyed: Held,
    /// The limits of the route for this key.
    pub(super) keyed_set: Option<Arc<LimitSet>>,
    pub(super) credits: Held,
    /// The credits of its organization, once the platform's credential is used.
    pub(super) credit_terms: Option<Arc<CreditTerms>>,
    /// What was reserved.
    pub(super) claim: Claim,
    /// The most tokens of input that its bytes can be: more than was reserved where they were counted.
    pub(super) input_most: u64,
    /// Whether the input may be larger than that.
    pub(super) is_open: bool,
    /// What a stream took beyond it.
    pub(super) overruns: Vec<Overrun>,
}

/// A request that is about to be admitted.
pub(super) struct Asked<'a> {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// What its body says.
    pub view: &'a RequestView,
    /// Length of its body.
    pub body_len: usize,
    /// Where the body begins in the input.
    pub body_at: usize,
}

/// What an admitted request is sent with.
#[derive(Default)]
pub(super) struct Admitted {
    /// Most tokens of one answer, where the request must say so.
    pub cap: Option<(u64, CapText)>,
}

impl Exchange<'_> {
    /// A recent time by the clocks of limits.
    pub(super) fn limit_moment(&self, at: Instant) -> Moment {
        self.context.limit_clock().moment_at(at, self.context.unix_at(at))
    }
}

/// Takes what is known before the body: one request, open now, of the key's limits. What has to wait for a lease is left to
/// [`admit`], which waits.
///
/// # Errors
/// The refusal of the first limit that is reached, or of a process that cannot keep the record of another request.
pub(super) fn admit_arrival(exchange: &mut Exchange<'_>) -> Result<(), Refusal> {
    if !exchange.context.shared.queue.has_room() {
        let message = "the records of finished requests wait for the disk; please try again";
        let mut refusal = Refusal::new(ErrorCase::Overloaded, message);
        refusal.retry_after = Some(Duration::from_secs(1));
        return Err(refusal);
    }
    let Some(grant) = exchange.grant.as_ref().filter(|grant| grant.limits.kinds().meets(Kinds::ARRIVAL)) else {
        return Ok(());
    };
    let grant = Arc::clone(grant);
    let mut holds = Box::<Holds>::default();
    let at = exchange.limit_moment(exchange.received_at());
    let taken = grant.limits.take(Kinds::ARRIVAL, &Claim::request(), at, &mut holds.grant);
    exchange.holds = Some(holds);
    match taken {
        Err(refused) if refused.reason == Reason::Unleased => {
            wake_keeper(exchange);
            Ok(())
        }
        taken => taken.map_err(|refused| refuse(exchange, &refused)),
    }
}

/// Takes everything else, once route and body are known.
///
/// # Errors
/// [`Failure::Client`] with the refusal of the first limit that is reached; [`Failure::ClientGone`].
pub(super) async fn admit(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    target: &Target,
    asked: &Asked<'_>,
) -> Result<Admitted, Failure> {
    let Some(grant) = &exchange.grant else { return Ok(Admitted::default()) };
    let bounds = &*target.bounds;
    let keyed = bounds.keyed.as_ref().map(|keyed| keyed.set_for(&grant.caller));
    let keyed_kinds = keyed.as_ref().map_or(Kinds::NONE, |set| set.kinds());
    let credit_terms = match &target.paid {
        Some(paid) if target.credential() == Credential::Platform => credit_terms(paid),
        _ => None,
    };
    let credit_kinds = credit_terms.as_ref().map_or(Kinds::NONE, |terms| terms.limits.kinds());
    let kinds = grant.limits.kinds().union(bounds.limits.kinds()).union(keyed_kinds).union(credit_kinds);
    let bounds_amounts = kinds.meets(Kinds::AMOUNTS);
    // What is spent of somebody else's account never passes what was reserved.
    let enforces = credit_terms.is_some() || bounds.enforce_output_cap.unwrap_or(bounds_amounts);
    exchange.decided.limits = if kinds == Kinds::NONE { LimitsSaid::NoLimit } else { LimitsSaid::Admitted };
    if kinds == Kinds::NONE && !enforces {
        return Ok(Admitted::default());
    }
    let mut claim = Claim::request();
    let mut asks = None;
    let mut admitted = Admitted::default();
    if bounds_amounts || enforces {
        let body = down.input().get(asked.body_at..asked.body_at + asked.body_len).unwrap_or_default();
        let demand = demand(asked, body)?;
        let cap = output_cap(&demand, target, asked.endpoint);
        if enforces && asked.endpoint.has_output_cap() {
            admitted.cap = Some((cap, CapText::new(asked.endpoint, target.is_openai, cap)));
        }
        let output = if enforces { cap } else { target.learned.bound(cap) };
        let made = made_most(target, asked, (&demand, body));
        reserve(&mut claim, target, &demand, (asked.body_len, output));
        if let Some(heard) = &exchange.heard {
            heard.reserve(&mut claim);
        }
        price_claim(&mut claim, target, made);
        asks = Some((demand, made));
    }
    if kinds == Kinds::NONE {
        return Ok(admitted);
    }
    let holds = exchange.holds.get_or_insert_default();
    holds.claim = claim;
    holds.input_most = claim.input_tokens;
    holds.is_open = asks.is_some_and(|(demand, _)| demand.is_open) || target.defaults.open_input();
    holds.is_open |= exchange.heard.is_some_and(|heard| heard.is_open());
    holds.keyed_set = keyed;
    holds.credit_terms = credit_terms;
    let taken = take(exchange, down, kinds, Recount::new(target, asked, asks)).await;
    exchange.lap(Phase::Limit);
    taken.map(|()| admitted)
}

/// Takes the most that a request can cost from the credits of its organization, after the provider refused the own key.
///
/// # Errors
/// As [`admit`].
pub(super) async fn admit_paid(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    (target, paid): (&Target, &Paid),
    asked: &Asked<'_>,
) -> Result<Admitted, Failure> {
    let body = down.input().get(asked.body_at..asked.body_at + asked.body_len).unwrap_or_default();
    let demand = demand(asked, body)?;
    let cap = output_cap(&demand, target, asked.endpoint);
    let mut admitted = Admitted::default();
    if asked.endpoint.has_output_cap() {
        admitted.cap = Some((cap, CapText::new(asked.endpoint, target.is_openai, cap)));
    }
    let holds = exchange.holds.get_or_insert_default();
    holds.credit_terms = credit_terms(paid);
    holds.is_open = demand.is_open || target.defaults.open_input();
    holds.is_open |= exchange.heard.is_some_and(|heard| heard.is_open());
    let made = made_most(target, asked, (&demand, body));
    reserve(&mut holds.claim, target, &demand, (asked.body_len, cap));
    if let Some(heard) = &exchange.heard {
        heard.reserve(&mut holds.claim);
    }
    price_claim(&mut holds.claim, target, made);
    holds.input_most = holds.claim.input_tokens;
    if holds.credit_terms.is_some() {
        take(exchange, down, Kinds::of(Kind::Money), Recount::new(target, asked, Some((demand, made)))).await?;
    }
    Ok(admitted)
}

/// What pays; none for a model that costs nothing.
fn credit_terms(paid: &Paid) -> Option<Arc<CreditTerms>> {
    (!paid.price.is_free()).then(|| paid.credit.terms())
}

fn demand(asked: &Asked<'_>, body: &[u8]) -> Result<Demand, Failure> {
    let demand = asked.view.demand(asked.endpoint, body);
    demand.map_err(|error| Failure::Client(Refusal::new(error.case(), error.to_string()).param(error.param())))
}

/// The most that one answer may have: what the request says, if that is less than route and model allow.
fn output_cap(demand: &Demand, target: &Target, endpoint: Endpoint) -> u64 {
    let by_default = target.defaults.output_cap(endpoint);
    demand.output_cap.or(by_default).map_or(target.output_max, |asked| asked.min(target.output_max))
}

/// Never too little: a token has one byte at least, so the body bounds the tokens of its text.
fn reserve(claim: &mut Claim, target: &Target, demand: &Demand, (body_len, output): (usize, u64)) {
    let unseen = demand.unseen.saturating_mul(UNSEEN_TOKENS);
    claim.input_tokens = input_bound(target, body_len).saturating_add(unseen);
    claim.output_tokens = output.saturating_mul(demand.answers);
}

/// What a request may cost at most beside its tokens.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct MadeMost {
    searches: u32,
    images: u32,
}

/// The most searches and pictures for a request; none where they have no price.
fn made_most(target: &Target, asked: &Asked<'_>, (demand, body): (&Demand, &[u8])) -> MadeMost {
    let prices = [target.price.as_ref(), target.paid.as_ref().map(|paid| &paid.price)];
    if !prices.into_iter().flatten().any(|price| price.has_fees_beside()) {
        return MadeMost::default();
    }
    let (searches, images) = target.learned.made();
    let asked = match demand.is_open {
        _ if target.defaults.open_input() => Searches::Open,
        true => searches_asked(asked.endpoint, body),
        false => Searches::None,
    };
    let searches = match asked {
        // Some models search unasked.
        Searches::None => searches,
        Searches::AtMost(most) => most,
        Searches::Open => searches.max(SEARCHES_TAKEN),
    };
    let answers = u32::try_from(demand.answers).unwrap_or(u32::MAX);
    MadeMost { searches: searches.saturating_mul(answers), images: images.max(IMAGES_TAKEN).saturating_mul(answers) }
}

/// Tokens of input with all that the gateway and the provider add to a body of so many tokens, or bytes.
pub(super) fn input_bound(target: &Target, body: usize) -> u64 {
    let prompt = target.prompt.as_ref().map_or(0, |prompt| prompt.len());
    let added = prompt.saturating_add(target.defaults.bytes());
    u64::try_from(body.saturating_add(added)).unwrap_or(u64::MAX).saturating_add(FRAME_TOKENS)
}

/// The most that the tokens and the audio of a claim can cost, and what is made beside them.
pub(super) fn price_claim(claim: &mut Claim, target: &Target, made: MadeMost) {
    let most = |price: &Price| {
        let beside = price.beside_bound(made.searches, made.images, claim.audio_millis);
        price.upper_bound(claim.input_tokens, claim.output_tokens).saturating_add(beside)
    };
    if let Some(price) = &target.price {
        claim.money_nano = most(price).units();
    }
    if let Some(paid) = &target.paid {
        let cost = most(&paid.price);
        claim.money_nano = claim.money_nano.max(paid.with_fee(cost).units());
    }
}

/// Takes from all limits in one step. Waits for a lease where money is free but its lease not yet on disk, and in the
/// queue of a limit of open requests that has one.
async fn take(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    kinds: Kinds,
    mut recount: Recount<'_>,
) -> Result<(), Failure> {
    let mut waited = Duration::ZERO;
    let mut queued: Option<(Waiting, Duration)> = None;
    loop {
        let refused = match take_once(exchange, kinds) {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        if exchange.holds.as_ref().is_some_and(|holds| recount.may_help(&holds.claim, &refused)) {
            Box::pin(recount.run(exchange, down)).await?;
            continue;
        }
        let may_wait = match refused.reason {
            Reason::Unleased => {
                wake_keeper(exchange);
                LEASE_WAIT_MAX
            }
            _ => {
                queued = queued.or_else(|| join_queue(exchange, &refused));
                queued.as_ref().map_or(Duration::ZERO, |(_, longest)| *longest)
            }
        };
        if waited >= may_wait {
            return Err(Failure::Client(refuse(exchange, &refused)));
        }
        let look = Box::pin(sleep(LOOK_EVERY));
        down.unless_gone(look).await.map_err(|_| Failure::ClientGone)?;
        waited += LOOK_EVERY;
    }
}

/// Tells the ledger's keeper that a lease is wanted, unless somebody has.
fn wake_keeper(exchange: &Exchange<'_>) {
    let shared = &exchange.context.shared;
    if shared.meters.is_news() {
        shared.ledger_bell.notify_one();
    }
}

/// A place in the queue of the limit that refused; none where there is no queue or no room in it.
fn join_queue(exchange: &Exchange<'_>, refused: &Refused) -> Option<(Waiting, Duration)> {
    let keyed = exchange.holds.as_ref().and_then(|holds| holds.keyed_set.as_deref());
    let grant = exchange.grant.as_ref().map(|grant| &grant.limits);
    let route = exchange.target.as_ref().map(|target| &target.bounds.limits);
    let sets = [grant, route, keyed];
    sets.into_iter().flatten().find_map(|set| set.join_queue(refused))
}

fn take_once(exchange: &mut Exchange<'_>, kinds: Kinds) -> Result<(), Refused> {
    let at = exchange.limit_moment(exchange.received_at());
    let Some(holds) = &mut exchange.holds else { return Ok(()) };
    let Holds { grant: of_grant, route: of_route, keyed, keyed_set, credits, credit_terms, claim, .. } = &mut **holds;
    let mut sets: SmallVec<[(&LimitSet, &mut Held); 4]> = SmallVec::new();
    if let Some(grant) = &exchange.grant {
        sets.push((&grant.limits, of_grant));
    }
    if let Some(target) = &exchange.target {
        sets.push((&target.bounds.limits, of_route));
    }
    if let Some(set) = keyed_set {
        sets.push((set, keyed));
    }
    if let Some(terms) = credit_terms {
        sets.push((&terms.limits, credits));
    }
    take_all(&mut sets, kinds, claim, at)
}

/// A request that is refused before it is sent has used nothing: what it took before is given back. One whose own
/// credential was refused has been sent, and counts as a request: its end settles it.
fn refuse(exchange: &mut Exchange<'_>, refused: &Refused) -> Refusal {
    if exchange.attempts == 0 {
        exchange.give_back();
    }
    exchange.context.block.limit_refusals.count(refused.scope as usize, refused.kind as usize, refused.reason as usize);
    let refusal = refusal_of(refused);
    exchange.note_refused(refused, &refusal.message);
    refusal
}
