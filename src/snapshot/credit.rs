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
    /// What its projects draw on.
    shares: HashMap<Box<str>, Share>,
    paid_in: NanoUsd,
    /// The organization's own fee.
    fee: Option<FeeRate>,
}

/// What one project draws on.
struct Share {
    credit: Arc<Credit>,
    /// What it may draw; empty is all that there is.
    allowances: Box<[Limit]>,
}

/// The credits of one organization, as far as one of its projects or all of them may draw on them.
pub struct Credit(Swap<CreditTerms>);

/// What holds for the credits of an organization at one time.
pub struct CreditTerms {
    /// What was paid in, by what is spent of it; behind it the allowances of a project, by what it has drawn.
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

    /// The same credits for a project: its allowances bind as well.
    #[must_use]
    pub fn of_project(&self, (organization, project): (&str, &str), meters: &Meters) -> Arc<Credit> {
        self.with(|inner| Arc::clone(&inner.share((organization, project), meters).credit))
    }

    /// Sets what a project may draw. Requests from now on go by it.
    pub fn set_allowances(&self, (organization, project): (&str, &str), allowances: Vec<Limit>, meters: &Meters) {
        self.with(|inner| {
            inner.share((organization, project), meters).allowances = allowances.into();
            inner.renew(organization, meters);
        });
    }

    /// Forgets a project that is gone for good. What still runs for it settles on what it has taken from.
    pub fn forget_project(&self, (organization, project): (&str, &str)) {
        self.with(|inner| inner.accounts.get_mut(organization).map(|account| account.shares.remove(project)));
    }

    /// Forgets an organization that is gone for good, with all its projects.
    pub fn forget_organization(&self, organization: &str) {
        self.with(|inner| inner.accounts.remove(organization));
    }

    /// How many projects of an organization have terms; none for an organization that has none itself.
    #[cfg(test)]
    pub(crate) fn projects_of(&self, organization: &str) -> Option<usize> {
        self.with(|inner| Some(inner.accounts.get(organization)?.shares.len()))
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
            let terms = terms(organization, (NanoUsd::ZERO, fee), &[], meters);
            let credit = Arc::new(Credit(Swap::new(terms)));
            Account { credit, shares: HashMap::new(), paid_in: NanoUsd::ZERO, fee: None }
        })
    }

    fn share(&mut self, (organization, project): (&str, &str), meters: &Meters) -> &mut Share {
        let fee_of_all = self.fee;
        let account = self.account(organization, meters);
        let money = (account.paid_in, account.fee.unwrap_or(fee_of_all));
        account.shares.entry(project.into()).or_insert_with(|| {
            let terms = terms(organization, money, &[], meters);
            Share { credit: Arc::new(Credit(Swap::new(terms))), allowances: Box::default() }
        })
    }

    fn renew(&self, organization: &str, meters: &Meters) {
        if let Some(account) = self.accounts.get(organization) {
            let fee = account.fee.unwrap_or(self.fee);
            account.credit.0.store(terms(organization, (account.paid_in, fee), &[], meters));
            for share in account.shares.values() {
                share.credit.0.store(terms(organization, (account.paid_in, fee), &share.allowances, meters));
            }
        }
    }
}

/// The same counter with every maximum.
fn terms(organization: &str, (paid_in, fee): (NanoUsd, FeeRate), allowances: &[Limit], meters: &Meters) -> CreditTerms {
    let key = MeterKey { owner: format!("credits:{organization}").into(), kind: Kind::Money, window: Window::Total };
    let limit = Limit {
        meter: meters.meter(&key),
        terms: Terms::max(paid_in.units()),
        scope: Scope::Credits,
        mode: Mode::Enforce,
        queue: None,
    };
    let limits = std::iter::once(limit).chain(allowances.iter().cloned()).collect();
    CreditTerms { limits: LimitSet::new(limits), fee }
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
    fn allowance_of_a_project_is_a_part_of_the_same_credits() {
        let (credits, meters) = (Credits::default(), Meters::in_memory());
        credits.set_paid_in("org_a", NanoUsd(10), &meters);
        let [narrow, wide] = ["prj_narrow", "prj_wide"].map(|project| credits.of_project(("org_a", project), &meters));
        let allowance = |most| {
            let owner = "allowance:project:prj_narrow".into();
            let key = MeterKey { owner, kind: Kind::Money, window: Window::Total };
            let (meter, terms) = (meters.meter(&key), Terms::max(most));
            vec![Limit { meter, terms, scope: Scope::Allowance, mode: Mode::Enforce, queue: None }]
        };
        credits.set_allowances(("org_a", "prj_narrow"), allowance(3), &meters);
        assert!(!takes(&narrow, 4, &meters) && takes(&narrow, 3, &meters), "exactly the allowance");
        assert!(!takes(&narrow, 1, &meters) && takes(&wide, 6, &meters), "others draw on what is left");
        credits.set_allowances(("org_a", "prj_narrow"), allowance(9), &meters);
        assert!(takes(&narrow, 1, &meters) && !takes(&narrow, 1, &meters), "more than there is was never promised");
        credits.set_paid_in("org_a", NanoUsd(30), &meters);
        assert!(!takes(&narrow, 6, &meters) && takes(&narrow, 5, &meters), "a top-up widens no allowance");
        credits.set_allowances(("org_a", "prj_narrow"), Vec::new(), &meters);
        assert!(takes(&narrow, 15, &meters) && !takes(&narrow, 1, &meters));
        assert!(!takes(&credits.of("org_a", &meters), 1, &meters), "all of it was one balance");
    }

    #[test]
    fn who_is_gone_is_forgotten_and_what_runs_for_it_still_settles() {
        let (credits, meters) = (Credits::default(), Meters::in_memory());
        credits.set_paid_in("org_a", NanoUsd(10), &meters);
        let [gone, kept] = ["prj_gone", "prj_kept"].map(|project| credits.of_project(("org_a", project), &meters));
        let (terms, mut held) = (gone.terms(), Held::default());
        let claim = Claim { money_nano: 10, ..Claim::request() };
        assert!(terms.limits.take(Kinds::ALL, &claim, meters.now(), &mut held).is_ok());
        credits.forget_project(("org_a", "prj_gone"));
        credits.forget_project(("org_b", "prj_gone"));
        assert_eq!(credits.projects_of("org_a"), Some(1));
        assert!(!takes(&kept, 1, &meters), "it is still reserved");
        terms.limits.give_back(&mut held, meters.now());
        assert!(takes(&kept, 10, &meters), "and given back to those who are left");
        credits.forget_organization("org_a");
        assert_eq!(credits.projects_of("org_a"), None);
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
