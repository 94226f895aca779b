//! Credits of organizations: balance, payments, fee.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::rest::{
    Access::Needs, Api, ApiError, Body, Caller, Code, Endpoint, IdempotencyKey, OrganizationId, Plain,
};
use crate::base::{FeeRate, NanoUsd};
use crate::control::{Actor, Capability, CreditState, Payment};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let (read, write) = (Needs(Capability::CreditsRead), Needs(Capability::CreditsWrite));
    vec![
        Endpoint::get("/organizations/{organization}/credits", read, "Shows what is left of the credits.", show),
        Endpoint::post(
            "/organizations/{organization}/credits/topup",
            write,
            "Adds money that was paid in; requests may spend it at once.",
            top_up,
        )
        .refuses(&[Code::InUse]),
        Endpoint::post(
            "/organizations/{organization}/credits/adjust",
            write,
            "Corrects the credits by an amount, up or down.",
            adjust,
        )
        .refuses(&[Code::InUse]),
        Endpoint::put(
            "/organizations/{organization}/credits/fee",
            write,
            "Sets the fee on what the platform's credentials cost.",
            set_fee,
        ),
    ]
}

/// A payment or correction.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreditPayment {
    /// USD with at most 9 decimals, such as `12.50`; with `-` for what an adjustment takes back.
    #[schema(pattern = "^-?[0-9]+([.][0-9]{1,9})?$", max_length = 24)]
    amount: String,
    /// Why; an adjustment needs one.
    #[serde(default)]
    #[schema(max_length = 2_000)]
    comment: String,
}

/// The fee of an organization.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct FeeChange {
    /// Percent of the cost, 0 to 100 with at most 2 decimals; null is the fee of the instance.
    #[schema(required = true, pattern = "^[0-9]{1,3}([.][0-9]{1,2})?$")]
    fee_percent: Option<String>,
}

/// Credits of an organization. Amounts are USD with 9 decimals.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Credits)]
struct CreditsView {
    /// What is left, not counting what is reserved.
    balance: String,
    /// All top-ups and adjustments, and what requests cost less or more since they were priced again.
    paid_in: String,
    /// What requests cost, fees included.
    spent: String,
    /// What open requests hold.
    reserved: String,
    /// The fee that holds, in percent of the cost.
    fee_percent: String,
    /// Whether it is the organization's own fee and not that of the instance.
    fee_is_own: bool,
}

async fn show(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    OrganizationId(organization): OrganizationId,
) -> Result<Plain<CreditsView>, ApiError> {
    Ok(Plain(api.control.credits(&actor, &organization).await?.into()))
}

async fn top_up(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    OrganizationId(organization): OrganizationId,
    IdempotencyKey(key): IdempotencyKey,
    Body(body): Body<CreditPayment>,
) -> Result<Plain<CreditsView>, ApiError> {
    let payment = payment(&actor, &key, body)?;
    Ok(Plain(api.control.top_up(&actor, &organization, payment).await?.into()))
}

async fn adjust(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    OrganizationId(organization): OrganizationId,
    IdempotencyKey(key): IdempotencyKey,
    Body(body): Body<CreditPayment>,
) -> Result<Plain<CreditsView>, ApiError> {
    let payment = payment(&actor, &key, body)?;
    Ok(Plain(api.control.adjust_credits(&actor, &organization, payment).await?.into()))
}

async fn set_fee(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    OrganizationId(organization): OrganizationId,
    Body(body): Body<FeeChange>,
) -> Result<Plain<CreditsView>, ApiError> {
    let fee = body.fee_percent.as_deref().map(fee_rate).transpose()?;
    Ok(Plain(api.control.set_fee(&actor, &organization, fee).await?.into()))
}

/// Reads a percentage.
///
/// # Errors
/// A field problem.
pub(super) fn fee_rate(text: &str) -> Result<FeeRate, ApiError> {
    text.parse().map_err(|error: crate::base::FeeRateError| ApiError::field("fee_percent", error.to_string()))
}

/// Keys are chosen by callers: those of two may be the same.
fn payment(actor: &Actor, key: &str, body: CreditPayment) -> Result<Payment, ApiError> {
    let amount: Result<NanoUsd, _> = body.amount.parse();
    let amount = amount.map_err(|error| ApiError::field("amount", error.to_string()))?;
    Ok(Payment { amount, comment: body.comment, operation: format!("{}:{key}", actor.id) })
}

impl From<CreditState> for CreditsView {
    fn from(state: CreditState) -> Self {
        Self {
            balance: state.balance().to_string(),
            paid_in: state.paid_in.to_string(),
            spent: state.spent.to_string(),
            reserved: state.reserved.to_string(),
            fee_percent: state.fee.to_string(),
            fee_is_own: state.own_fee.is_some(),
        }
    }
}
