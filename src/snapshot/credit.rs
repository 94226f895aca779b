//! Credits of organizations: what the platform draws on.
//!
//! A balance is a limit in money over all time: its counter holds what was spent, its maximum is what was paid in. So
//! reservations, leases and crashes are those of any other limit. Both change without a new snapshot: a top-up replaces the
//! terms, and the next request reads them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    base::{FeeRate, NanoUsd, Swap},
    limit::{Kind, Limit, LimitSet, MeterKey, Meters, Mode, Scope, Terms, Window},
    usage::Price,
};

use super::route::HttpTarget;

/// The credits of every organization. Outlives snapshots.
#[derive(Default)]
pub struct Credits(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// Of organizations without a fee of their own.
    fee: FeeRate,
    accounts: HashMap<Box<str>, Account>,
}

struct Account {
    credit: Arc<Credit>,
    paid_in: NanoUsd,
    /// The organization's own fee.
    fee: Option<FeeRate>,
}

/// The credits of one organization.
pub struct Credit(Swap<CreditTerms>);

/// What holds for the credits of an organization at one time.
pub struct CreditTerms {
    /// The one limit: what was paid in, by what is spent of it.
    pub limits: LimitSet,
    /// What is taken on top of a cost.
    pub fee: FeeRate,
}

impl Credit {
    /// What holds now.
    #[must_use]
    pub fn terms(&self) -> Arc<CreditTerms> {
        self.0.load()
    }

    /// The fee on a cost.
    #[must_use]
    pub fn fee_on(&self, cost: NanoUsd) -> NanoUsd {
        self.0.with(|terms| terms.fee.of(cost))
    }
}

impl Credits {
    /// The credits of an organization; nothing is paid in as long as nobody said so.
    #[must_use]
    pub fn of(&self, organization: &str, meters: &Meters) -> Arc<Credit> {
        self.with(|inner| Arc::clone(&inner.account(organization, meters).credit))
    }

    /// Sets what was paid in, corrections included. Requests from now on go by it.
    pub fn set_paid_in(&self, organization: &str, paid_in: NanoUsd, meters: &Meters) {
        self.with(|inner| {
            inner.account(organization, meters).paid_in = paid_in;
            inner.renew(organization, meters);
        });
    }

    /// Sets the fee of an organization; none is that of the instance.
    pub fn set_fee(&self, organization: &str, fee: Option<FeeRate>, meters: &Meters) {
        self.with(|inner| {
            inner.account(organization, meters).fee = fee;
            inner.renew(organization, meters);
        });
    }

    /// Sets the fee of every organization without one of its own.
    pub fn set_instance_fee(&self, fee: FeeRate, meters: &Meters) {
        self.with(|inner| {
            inner.fee = fee;
            let organizations: Vec<Box<str>> = inner.accounts.keys().cloned().collect();
            organizations.iter().for_each(|organization| inner.renew(organization, meters));
        });
    }

    fn with<R>(&self, work: impl FnOnce(&mut Inner) -> R) -> R {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Inner {
    fn account(&mut self, organization: &str, meters: &Meters) -> &mut Account {
        let fee = self.fee;
        self.accounts.entry(organization.into()).or_insert_with(|| {
            let terms = terms(organization, (NanoUsd::ZERO, fee), meters);
            Account { credit: Arc::new(Credit(Swap::new(terms))), paid_in: NanoUsd::ZERO, fee: None }
        })
    }

    fn renew(&self, organization: &str, meters: &Meters) {
        if let Some(account) = self.accounts.get(organization) {
            let fee = account.fee.unwrap_or(self.fee);
            account.credit.0.store(terms(organization, (account.paid_in, fee), meters));
        }
    }
}

/// The same counter with every maximum.
fn terms(organization: &str, (paid_in, fee): (NanoUsd, FeeRate), meters: &Meters) -> CreditTerms {
    let key = MeterKey { owner: format!("credits:{organization}").into(), kind: Kind::Money, window: Window::Total };
    let limit = Limit {
        meter: meters.meter(&key),
        terms: Terms::max(paid_in.units()),
        scope: Scope::Credits,
        mode: Mode::Enforce,
        queue: None,
    };
    CreditTerms { limits: LimitSet::new(vec![limit]), fee }
}

/// A platform credential of a target, and what its use is charged to.
pub struct Paid {
    /// The credits.
    pub credit: Arc<Credit>,
    /// What the platform charges, whatever the configuration states.
    pub price: Arc<Price>,
    /// The way with the platform credential where an own one is tried first; none when the target itself has no other.
    pub instead: Option<HttpTarget>,
}

impl Paid {
    /// Cost and fee together.
    #[must_use]
    pub fn with_fee(&self, cost: NanoUsd) -> NanoUsd {
        cost.saturating_add(self.credit.fee_on(cost))
    }
}

#[cfg(test)]
mod tests {
    use crate::limit::{Claim, Held, Kinds};

    use super::*;

    fn takes(credit: &Credit, nano: u64, meters: &Meters) -> bool {
        let (terms, mut held) = (credit.terms(), Held::default());
        let claim = Claim { money_nano: nano, ..Claim::request() };
        terms.limits.take(Kinds::ALL, &claim, meters.now(), &mut held).is_ok()
    }

    #[test]
    fn top_up_raises_what_may_be_spent_and_keeps_what_was_spent() {
        let (credits, meters) = (Credits::default(), Meters::in_memory());
        let credit = credits.of("org_a", &meters);
        assert!(!takes(&credit, 1, &meters), "nothing is paid in");
        credits.set_paid_in("org_a", NanoUsd(10), &meters);
        assert!(takes(&credit, 10, &meters) && !takes(&credit, 1, &meters), "exactly what was paid in");
        credits.set_paid_in("org_a", NanoUsd(15), &meters);
        assert!(takes(&credit, 5, &meters) && !takes(&credit, 1, &meters), "and exactly what came on top");
        credits.set_paid_in("org_a", NanoUsd(12), &meters);
        assert!(!takes(&credit, 1, &meters), "a correction may leave less than nothing");
        assert!(!takes(&credits.of("org_b", &meters), 1, &meters), "nobody spends the money of another");
    }

    #[test]
    fn own_fee_comes_before_that_of_the_instance() {
        let (credits, meters) = (Credits::default(), Meters::in_memory());
        let [own, other] = ["org_own", "org_other"].map(|name| credits.of(name, &meters));
        let fees = || [&own, &other].map(|credit| credit.fee_on(NanoUsd(1_000)).0);
        credits.set_instance_fee("5".parse().unwrap(), &meters);
        assert_eq!(fees(), [50, 50]);
        credits.set_fee("org_own", Some(FeeRate::ZERO), &meters);
        assert_eq!(fees(), [0, 50]);
        credits.set_instance_fee("10".parse().unwrap(), &meters);
        assert_eq!(fees(), [0, 100]);
        credits.set_fee("org_own", None, &meters);
        assert_eq!(fees(), [100, 100]);
        assert_eq!(credits.of("org_new", &meters).fee_on(NanoUsd(1_000)).0, 100);
    }
}
