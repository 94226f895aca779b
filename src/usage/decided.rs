//! How a request was decided on.
//!
//! What the rest of its record does not tell: words that cost nothing to note ([`Decided`]), and for requests that become a row
//! of their own the texts that would ([`Details`]).

use std::{sync::Arc, time::Duration};

use super::{phases::Phases, price::CostParts};
use crate::base::words;

words! {
    /// What rules said.
    #[derive(Default)]
    RulesSaid {
        /// Nothing: the request did not get so far.
        #[default]
        NotAsked = "",
        /// There are none for its key and project.
        NoRule = "none",
        /// They leave a target.
        Allowed = "allowed",
        /// They leave none.
        Denied = "denied",
    }
}

words! {
    /// Why this target was chosen.
    #[derive(Default)]
    ChosenAs {
        /// None was.
        #[default]
        Nothing = "",
        /// The route has no other for the endpoint.
        Only = "only",
        /// The first of several that rules leave.
        FirstAllowed = "first_allowed",
    }
}

words! {
    /// What limits said.
    #[derive(Default)]
    LimitsSaid {
        /// Nothing: the request did not get so far.
        #[default]
        NotAsked = "",
        /// There are none for its key and route, and nothing is taken from credits.
        NoLimit = "none",
        /// All of them let it pass.
        Admitted = "admitted",
        /// One of them did not.
        Refused = "refused",
    }
}

words! {
    /// Why this credential was sent.
    #[derive(Default)]
    CredentialAs {
        /// None was.
        #[default]
        Nothing = "",
        /// Only an own one may be used.
        OnlyOwn = "only_own",
        /// There is no own one, or the mode allows none.
        OnlyPlatform = "only_platform",
        /// The own one goes first.
        OwnFirst = "own_first",
        /// The provider refused the own one.
        OwnRefused = "own_refused",
        /// The provider refused the own one, and the client forbade another.
        FallbackForbidden = "fallback_forbidden",
    }
}

/// How a request was decided on, step by step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Decided {
    /// By rules.
    pub rules: RulesSaid,
    /// On its target.
    pub target: ChosenAs,
    /// By limits.
    pub limits: LimitsSaid,
    /// On its credential.
    pub credential: CredentialAs,
}

/// Members of a set that a number holds; no set here has as many.
///
/// Rows keep the places of the words in their sets: a new word goes to the end of its set, and none is taken out.
const RADIX: u32 = 16;

impl Decided {
    /// One number for all steps, for the store.
    #[must_use]
    pub fn code(self) -> u32 {
        let of = |place: Option<usize>| place.and_then(|place| u32::try_from(place).ok()).unwrap_or(0);
        let places = [
            of(CredentialAs::ALL.iter().position(|known| *known == self.credential)),
            of(LimitsSaid::ALL.iter().position(|known| *known == self.limits)),
            of(ChosenAs::ALL.iter().position(|known| *known == self.target)),
            of(RulesSaid::ALL.iter().position(|known| *known == self.rules)),
        ];
        places.into_iter().fold(0, |code, place| code * RADIX + place)
    }

    /// Reads the number. What it does not know was not asked.
    #[must_use]
    pub fn of_code(code: u32) -> Self {
        let place = |index: u32| usize::try_from(code / RADIX.pow(index) % RADIX).unwrap_or(0);
        Self {
            rules: RulesSaid::ALL.get(place(0)).copied().unwrap_or_default(),
            target: ChosenAs::ALL.get(place(1)).copied().unwrap_or_default(),
            limits: LimitsSaid::ALL.get(place(2)).copied().unwrap_or_default(),
            credential: CredentialAs::ALL.get(place(3)).copied().unwrap_or_default(),
        }
    }
}

/// The rule or limit that refused a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedBy {
    /// Where it stands: `organization`, `project`, `member`, `key`, `group`, `route`, `credits`.
    pub scope: &'static str,
    /// What it is about: a step of the rules, or the kind of the limit.
    pub what: &'static str,
    /// Ids of the rules that decided; empty for a limit.
    pub rules: Box<[Arc<str>]>,
    /// What the client was told.
    pub said: Box<str>,
}

/// What only a row of its own tells of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Details {
    /// What the client wrote as `model`, cut at 128 characters; empty when it did not get so far.
    pub requested_model: Box<str>,
    /// The program of the client as it calls itself, its first 64 bytes; empty when it does not.
    pub user_agent: Box<str>,
    /// From the first byte of the request to the first byte of the answer; none when none was sent.
    pub first_byte: Option<Duration>,
    /// What refused it, if rules or limits did.
    pub refused_by: Option<RefusedBy>,
    /// The cost in parts; none without a price.
    pub costs: Option<CostParts>,
    /// Where its time went; none where it was not sampled.
    pub phases: Option<Phases>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_survive_their_number() {
        for rules in RulesSaid::ALL {
            for credential in CredentialAs::ALL {
                let decided = Decided {
                    rules: *rules,
                    target: ChosenAs::FirstAllowed,
                    limits: LimitsSaid::Refused,
                    credential: *credential,
                };
                assert_eq!(Decided::of_code(decided.code()), decided);
            }
        }
        // As rows have it that were stored once.
        let stored = Decided::of_code(0x3213);
        assert_eq!(
            (stored.rules, stored.target, stored.limits, stored.credential),
            (RulesSaid::Denied, ChosenAs::Only, LimitsSaid::Admitted, CredentialAs::OwnFirst)
        );
        assert_eq!(Decided::of_code(0), Decided::default());
        assert_eq!(Decided::of_code(u32::MAX), Decided::default(), "words of a later version");
    }
}
