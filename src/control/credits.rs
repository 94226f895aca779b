//! Credits: what organizations pay in, and their fee.
//!
//! What was paid in is an account of the ledger, what is spent of it is that of a limit: so the sum of all entries of both is
//! the balance. Requests that are priced again change what was paid in, since what was spent is a counter that runs. Entries never change; a mistake is corrected by another one.

use std::sync::Arc;

use super::{
    actor::Actor,
    error::ControlError,
    instance::Control,
    instance_settings::instance_settings,
    limits::Allowances,
    permit::{Capability, Scope, permit},
    project_settings::check_comment,
};
use crate::{
    base::{FeeRate, Id, NanoUsd, unix_time},
    snapshot::Registries,
    store::{LedgerEntry, LedgerKind, Order, PageRequest, Store, StoreError, Tx},
};

/// What files own in file mode.
const OWNED: &str = "credits";
/// Rows of one page of organizations at the start.
const PAGE_ROWS: u32 = 100;

/// The credits of an organization at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreditState {
    /// All top-ups and adjustments, and what requests cost less or more since they were priced again.
    pub paid_in: NanoUsd,
    /// What requests cost, fees included.
    pub spent: NanoUsd,
    /// What open requests hold.
    pub reserved: NanoUsd,
    /// The fee that holds.
    pub fee: FeeRate,
    /// The organization's own fee; none is that of the instance.
    pub own_fee: Option<FeeRate>,
}

impl CreditState {
    /// What is left, not counting what is reserved; less than nothing after a correction of money that was spent.
    #[must_use]
    pub fn balance(&self) -> NanoUsd {
        NanoUsd(self.paid_in.0.saturating_sub(self.spent.0))
    }
}

/// A payment or a correction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// What comes in; less than nothing for what goes out.
    pub amount: NanoUsd,
    /// Why.
    pub comment: String,
    /// Names the operation of its caller: it is carried out once, however often it is asked for.
    pub operation: String,
}

impl Control {
    /// The credits of an organization.
    ///
    /// # Errors
    /// As [`permit`]; [`ControlError::NotFound`]; the store's.
    pub async fn credits(&self, actor: &Actor, organization: &Id) -> Result<CreditState, ControlError> {
        permit(actor, Capability::CreditsRead, Scope::Organization(organization))?;
        self.refuse_if_files_own(OWNED)?;
        self.credit_state(organization).await
    }

    /// Adds money that was paid in.
    ///
    /// # Errors
    /// As [`permit`]; field problems; [`ControlError::InUse`] when the operation was carried out before.
    pub async fn top_up(
        self: &Arc<Self>,
        actor: &Actor,
        organization: &Id,
        payment: Payment,
    ) -> Result<CreditState, ControlError> {
        permit(actor, Capability::CreditsWrite, Scope::Organization(organization))?;
        if payment.amount.0 <= 0 {
            return Err(ControlError::field("amount", "a top-up is more than 0; use `adjust` to take something back"));
        }
        self.book(actor, organization, (LedgerKind::Topup, payment)).await
    }

    /// Corrects the credits by an amount, up or down.
    ///
    /// # Errors
    /// As [`Self::top_up`]; a field problem when more would go out than ever came in.
    pub async fn adjust_credits(
        self: &Arc<Self>,
        actor: &Actor,
        organization: &Id,
        payment: Payment,
    ) -> Result<CreditState, ControlError> {
        permit(actor, Capability::CreditsWrite, Scope::Organization(organization))?;
        if payment.amount.0 == 0 {
            return Err(ControlError::field("amount", "must not be 0"));
        }
        if payment.comment.trim().is_empty() {
            return Err(ControlError::field("comment", "say what is corrected"));
        }
        self.book(actor, organization, (LedgerKind::Adjustment, payment)).await
    }

    /// Sets the fee of an organization; none is that of the instance. Requests from then on pay it.
    ///
    /// # Errors
    /// As [`permit`]; [`ControlError::NotFound`]; the store's.
    pub async fn set_fee(
        self: &Arc<Self>,
        actor: &Actor,
        organization: &Id,
        fee: Option<FeeRate>,
    ) -> Result<CreditState, ControlError> {
        permit(actor, Capability::CreditsWrite, Scope::Organization(organization))?;
        self.refuse_if_files_own(OWNED)?;
        let (control, actor, organization) = (Arc::clone(self), actor.clone(), organization.clone());
        Self::to_its_end(async move {
            let _publisher = control.publication().await;
            let id = organization.clone();
            let write = move |tx: &mut dyn Tx| store_fee(tx, &actor, &id, fee);
            control.store().write(write).await?;
            let registries = control.registries();
            registries.credits.set_fee(organization.as_str(), fee, &registries.meters);
            control.credit_state(&organization).await
        })
        .await
    }

    /// Books a payment and lets requests spend it: one step, so that the last payment is what workers see.
    async fn book(
        self: &Arc<Self>,
        actor: &Actor,
        organization: &Id,
        (kind, payment): (LedgerKind, Payment),
    ) -> Result<CreditState, ControlError> {
        self.refuse_if_files_own(OWNED)?;
        check_comment(&payment.comment)?;
        let (control, actor, organization) = (Arc::clone(self), actor.clone(), organization.clone());
        Self::to_its_end(async move {
            let _publisher = control.publication().await;
            let id = organization.clone();
            let write = move |tx: &mut dyn Tx| post(tx, &actor, &id, (kind, &payment));
            let paid_in = control.store().write(write).await?;
            let registries = control.registries();
            registries.credits.set_paid_in(organization.as_str(), paid_in, &registries.meters);
            control.credit_state(&organization).await
        })
        .await
    }

    async fn credit_state(&self, organization: &Id) -> Result<CreditState, ControlError> {
        let id = organization.clone();
        let read = move |tx: &dyn Tx| {
            tx.organization(&id)?.ok_or(ControlError::NotFound)?;
            Ok::<_, ControlError>((paid_in(tx, &id)?, own_fee(tx, &id)?))
        };
        let (paid_in, own_fee) = self.store().read(read).await?;
        let registries = self.registries();
        let terms = registries.credits.of(organization.as_str(), &registries.meters).terms();
        let mut state = CreditState { paid_in, spent: NanoUsd::ZERO, reserved: NanoUsd::ZERO, fee: terms.fee, own_fee };
        for limit in terms.limits.states(registries.meters.now()) {
            state.spent = nano(limit.posted);
            state.reserved = nano(limit.pending);
        }
        Ok(state)
    }
}

/// Tells the data plane what organizations have paid in, and their fees: before any project is compiled.
///
/// # Errors
/// The store's.
pub(super) async fn load_credits(store: &Store, registries: &Registries) -> Result<(), ControlError> {
    let (fee, stored) = store.read(stored).await?;
    let allowances = store.read(Allowances::read_all).await?;
    let (credits, meters) = (&registries.credits, &registries.meters);
    credits.set_instance_fee(fee, meters);
    for allowances in allowances {
        allowances.show(registries);
    }
    for (organization, paid_in, fee) in stored {
        credits.set_paid_in(organization.as_str(), paid_in, meters);
        credits.set_fee(organization.as_str(), fee, meters);
    }
    Ok(())
}

type Stored = (Id, NanoUsd, Option<FeeRate>);

/// The fee of the instance, and the organizations that have credits or a fee of their own.
fn stored(tx: &dyn Tx) -> Result<(FeeRate, Vec<Stored>), ControlError> {
    let mut found = Vec::new();
    let mut page = PageRequest { limit: PAGE_ROWS, after: None, order: Order::Ascending };
    loop {
        let organizations = tx.organizations(None, &page)?;
        for row in &organizations.rows {
            let (paid_in, fee) = (paid_in(tx, &row.id)?, own_fee(tx, &row.id)?);
            if paid_in != NanoUsd::ZERO || fee.is_some() {
                found.push((row.id.clone(), paid_in, fee));
            }
        }
        let Some(last) = organizations.rows.last().filter(|_| organizations.has_more) else { break };
        let millis = i64::try_from(last.created_at.0.as_millis()).unwrap_or(i64::MAX);
        page.after = Some((millis, last.id.as_str().to_owned()));
    }
    Ok((instance_settings(tx)?.fee_percent, found))
}

/// Account of what an organization has paid in.
fn account(organization: &Id) -> String {
    format!("credits:{organization}")
}

fn fee_note(organization: &Id) -> String {
    format!("fee:{organization}")
}

fn paid_in(tx: &dyn Tx, organization: &Id) -> Result<NanoUsd, ControlError> {
    Ok(tx.account(&account(organization), 0)?.map_or(NanoUsd::ZERO, |account| nano(account.posted)))
}

fn own_fee(tx: &dyn Tx, organization: &Id) -> Result<Option<FeeRate>, ControlError> {
    let Some(text) = tx.note(&fee_note(organization))? else { return Ok(None) };
    let text = String::from_utf8_lossy(&text);
    text.parse().map(Some).map_err(|error| ControlError::Internal(format!("the fee of `{organization}`: {error}")))
}

fn store_fee(tx: &mut dyn Tx, actor: &Actor, organization: &Id, fee: Option<FeeRate>) -> Result<(), ControlError> {
    tx.organization(organization)?.ok_or(ControlError::NotFound)?;
    let before = own_fee(tx, organization)?;
    if before == fee {
        return Ok(());
    }
    let text = fee.map(|fee| fee.to_string());
    tx.put_note(&fee_note(organization), text.as_deref().map(str::as_bytes))?;
    let mut event = actor.event("credits.fee", organization.as_str());
    event.organization = Some(organization.clone());
    event.before = serde_json::json!({ "fee_percent": before }).to_string();
    event.after = serde_json::json!({ "fee_percent": fee }).to_string();
    tx.append_audit(&event)?;
    Ok(())
}

/// Books a payment; returns what is paid in after it.
fn post(
    tx: &mut dyn Tx,
    actor: &Actor,
    organization: &Id,
    (kind, payment): (LedgerKind, &Payment),
) -> Result<NanoUsd, ControlError> {
    tx.organization(organization)?.ok_or(ControlError::NotFound)?;
    let before = paid_in(tx, organization)?;
    let after = before.checked_add(payment.amount).filter(|after| after.0 >= 0);
    let Some(after) = after else {
        let said = format!("{before} USD are paid in: neither less than nothing nor more than can be held may be left");
        return Err(ControlError::field("amount", said));
    };
    let account = account(organization);
    let entry = LedgerEntry {
        id: 0,
        at: unix_time(),
        kind,
        account: account.clone(),
        period: 0,
        amount: payment.amount.0,
        requests: 0,
        organization: organization.as_str().to_owned(),
        project: String::new(),
        first_request: String::new(),
        last_request: String::new(),
        comment: payment.comment.clone(),
        operation: payment.operation.clone(),
    };
    tx.post(&entry).map_err(|error| match error {
        StoreError::Taken(_) => {
            let said = "this `Idempotency-Key` has booked a payment before; choose a new one for another payment";
            ControlError::InUse(said.to_owned())
        }
        other => other.into(),
    })?;
    // Nobody spends from this account: what is leased of it is what is posted.
    tx.lease(&account, 0, 0)?;
    let mut event = actor.event(&format!("credits.{}", kind.as_str()), organization.as_str());
    event.organization = Some(organization.clone());
    event.before = serde_json::json!({ "paid_in": before }).to_string();
    event.after = serde_json::json!({ "paid_in": after, "amount": payment.amount }).to_string();
    event.comment.clone_from(&payment.comment);
    tx.append_audit(&event)?;
    Ok(after)
}

/// Gives back or takes what requests of the platform's credential cost less or more since they were priced again; returns
/// what is paid in after it.
///
/// # Errors
/// A field problem when more would go out than ever came in; the store's.
pub(super) fn correct_credits(tx: &mut dyn Tx, organization: &Id, entry: LedgerEntry) -> Result<NanoUsd, ControlError> {
    let after = paid_in(tx, organization)?.checked_add(NanoUsd(entry.amount)).filter(|after| after.0 >= 0);
    let Some(after) = after else {
        let said = "less was paid in than would be charged; top the credits up, then it goes on";
        return Err(ControlError::field("credential", said));
    };
    let account = account(organization);
    tx.post(&LedgerEntry { account: account.clone(), ..entry })?;
    tx.lease(&account, 0, 0)?;
    Ok(after)
}

fn nano(units: u64) -> NanoUsd {
    NanoUsd(i64::try_from(units).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Rig, kind};
    use super::super::{InstanceSettingsPatch, NewPlatformCredential};
    use super::*;
    use crate::base::Secret;

    fn payment(amount: i64, operation: &str) -> Payment {
        Payment { amount: NanoUsd(amount), comment: "test".to_owned(), operation: operation.to_owned() }
    }

    #[tokio::test]
    async fn operation_is_booked_once_and_survives_a_restart() {
        let rig = Rig::new().await;
        let admin = Actor { instance_admin: true, ..rig.owner.clone() };
        let organization = rig.organization.clone();
        let top_up = async |amount, name: &str| {
            rig.control.top_up(&admin, &organization, payment(amount, name)).await.map(|state| state.paid_in.0)
        };
        assert_eq!(kind(&rig.control.top_up(&rig.owner, &organization, payment(5, "a")).await), "not_permitted");
        assert_eq!(top_up(5, "a").await.ok(), Some(5));
        assert!(matches!(top_up(5, "a").await, Err(ControlError::InUse(_))));
        assert_eq!(top_up(2, "b").await.ok(), Some(7));
        let adjust = |amount, name| rig.control.adjust_credits(&admin, &organization, payment(amount, name));
        assert_eq!(kind(&adjust(-8, "c").await), "invalid", "more than ever came in");
        assert_eq!(adjust(-3, "c").await.unwrap().balance(), NanoUsd(4));
        assert_eq!(kind(&adjust(i64::MAX, "d").await), "invalid", "more than can be held");
        let unknown = Id::random(crate::base::IdKind::Organization).unwrap();
        assert_eq!(kind(&rig.control.top_up(&admin, &unknown, payment(5, "e")).await), "not_found");
        let rig = rig.restarted().await;
        let state = rig.control.credits(&rig.owner, &organization).await.unwrap();
        assert_eq!((state.paid_in, state.spent, state.balance()), (NanoUsd(4), NanoUsd::ZERO, NanoUsd(4)));
        // Nothing of what was paid in counts as leased when a process ends.
        assert!(rig.control.store().read(|tx| tx.open_leases()).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn fee_of_an_organization_comes_before_that_of_the_instance_after_a_restart_too() {
        let rig = Rig::new().await;
        let admin = Actor { instance_admin: true, ..rig.owner.clone() };
        let patch =
            InstanceSettingsPatch { fee_percent: Some("5".parse().unwrap()), ..InstanceSettingsPatch::default() };
        rig.control.change_instance_settings(&admin, 1, patch).await.unwrap();
        let organization = rig.organization.clone();
        let fee = async |rig: &Rig| {
            let state = rig.control.credits(&rig.owner, &organization).await.unwrap();
            (state.fee.to_string(), state.own_fee.is_some())
        };
        assert_eq!(fee(&rig).await, ("5.00".to_owned(), false));
        let own = Some("0.25".parse().unwrap());
        assert_eq!(kind(&rig.control.set_fee(&rig.owner, &organization, own).await), "not_permitted");
        rig.control.set_fee(&admin, &organization, own).await.unwrap();
        let rig = rig.restarted().await;
        assert_eq!(fee(&rig).await, ("0.25".to_owned(), true));
        rig.control.set_fee(&admin, &organization, None).await.unwrap();
        let rig = rig.restarted().await;
        assert_eq!(fee(&rig).await, ("5.00".to_owned(), false));
    }

    #[tokio::test]
    async fn platform_credential_is_replaced_in_its_place_and_opens_after_a_restart() {
        let rig = Rig::new().await;
        let admin = Actor { instance_admin: true, ..rig.owner.clone() };
        let enter = async |rig: &Rig, provider: &str, value: &str| {
            let (provider, value) = (provider.to_owned(), Secret::new(value.to_owned()));
            let new = NewPlatformCredential { provider, value, base_url: None };
            rig.control.enter_platform_credential(&admin, new).await.map(|(row, _)| row)
        };
        assert_eq!(kind(&enter(&rig, "mock", "sk-0123456789ab").await), "invalid");
        let first = enter(&rig, "openai", "sk-first-0123456789").await.unwrap();
        let second = enter(&rig, "openai", "sk-second-0123456789").await.unwrap();
        assert_eq!((&first.id, second.value.as_ref().unwrap().last4.as_str()), (&second.id, "6789"));
        assert_ne!(first.value.unwrap().version, second.value.unwrap().version);
        assert_eq!(kind(&rig.control.platform_credentials(&rig.owner).await), "not_permitted");
        let rig = rig.restarted().await;
        let project = rig.project_id("chat").await;
        let text = "mode: credits\nchat_models: [{model_id: m, model: openai/gpt-4o-mini}]\nroutes: {chat: {chat_models: [m]}}\n";
        rig.serve(&project, text).await;
        let rig = rig.restarted().await;
        assert_eq!(rig.live(&project).len(), 1);
        let deleted = rig.control.delete_platform_credential(&admin, second.id.clone()).await;
        assert!(matches!(deleted, Err(ControlError::InUse(_))), "{deleted:?}");
    }
}
