//! The caller's own user: password and second factor.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::sessions::{SessionView, entered};
use crate::admin::rest::{
    Access::Needs, Api, ApiError, Body, Caller, Code, Endpoint, IdText, Issued, NoContent, Plain, UserId, WithCookie,
};
use crate::base::Secret;
use crate::control::{Account, Capability};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let own = Needs(Capability::Self_);
    vec![
        Endpoint::get("/users/me", own, "Shows the caller's own user.", show).refuses(&[Code::NotFound]),
        Endpoint::post(
            "/users/me/password",
            own,
            "Changes the caller's password, ends every session of the user, and opens a new one.",
            change_password,
        )
        .refuses(&[Code::StaleVersion]),
        Endpoint::post(
            "/users/me/second-factor",
            own,
            "Offers a second factor; the answer has its secret, once.",
            offer,
        )
        .refuses(&[Code::IllegalTransition]),
        Endpoint::post(
            "/users/me/second-factor/confirm",
            own,
            "Puts the offered second factor in force: from now on a login needs a code.",
            confirm,
        )
        .refuses(&[Code::IllegalTransition, Code::StaleVersion]),
        Endpoint::post("/users/me/second-factor/remove", own, "Removes the caller's second factor.", remove)
            .refuses(&[Code::IllegalTransition, Code::NotFound]),
        Endpoint::post(
            "/users/{user}/second-factor/reset",
            Needs(Capability::InstanceSettings),
            "Removes the second factor of a user who has lost it.",
            reset,
        )
        .refuses(&[Code::IllegalTransition]),
    ]
}

/// A new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordChange {
    /// The present password.
    #[schema(write_only, max_length = 1_024)]
    current_password: String,
    /// The new one: at least 12 characters.
    #[schema(write_only, min_length = 12, max_length = 1_024)]
    password: String,
}

/// The present password, which shows that it is the user who asks.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordProof {
    /// The present password.
    #[schema(write_only, max_length = 1_024)]
    current_password: String,
}

/// The first code of an offered second factor.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SecondFactorConfirm {
    /// Six digits, as the authenticator shows them.
    #[schema(max_length = 16)]
    code: String,
}

/// The caller's own user.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Account)]
struct AccountView {
    user_id: IdText,
    email: String,
    /// Whether the user runs the machine.
    instance_admin: bool,
    /// Whether a login needs a code.
    second_factor: bool,
}

/// A second factor that waits for its first code.
#[derive(Serialize, ToSchema)]
#[schema(as = SecondFactorOffer)]
struct OfferView {
    /// The shared secret in base 32, to be typed into an authenticator. Never shown again.
    secret: String,
    /// The same as an address, to be shown as a QR code.
    otpauth_url: String,
}

async fn show(State(api): State<Arc<Api>>, Caller(actor): Caller) -> Result<Plain<AccountView>, ApiError> {
    let Account { user, second_factor } = api.control.account(&actor).await?;
    let view =
        AccountView { user_id: user.id.into(), email: user.email, instance_admin: user.instance_admin, second_factor };
    Ok(Plain(view))
}

async fn change_password(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    Body(body): Body<PasswordChange>,
) -> Result<WithCookie<Issued<SessionView>>, ApiError> {
    let (present, new) = (Secret::new(body.current_password), Secret::new(body.password));
    entered(api.control.change_password(&actor, present, new).await?)
}

async fn offer(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    Body(body): Body<PasswordProof>,
) -> Result<Issued<OfferView>, ApiError> {
    let offered = api.control.offer_second_factor(&actor, Secret::new(body.current_password)).await?;
    Ok(Issued(OfferView { secret: offered.secret.reveal().to_owned(), otpauth_url: offered.url.reveal().to_owned() }))
}

async fn confirm(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    Body(body): Body<SecondFactorConfirm>,
) -> Result<NoContent, ApiError> {
    api.control.confirm_second_factor(&actor, &body.code).await?;
    Ok(NoContent)
}

async fn remove(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    Body(body): Body<PasswordProof>,
) -> Result<NoContent, ApiError> {
    api.control.remove_second_factor(&actor, Secret::new(body.current_password)).await?;
    Ok(NoContent)
}

async fn reset(
    State(api): State<Arc<Api>>,
    Caller(actor): Caller,
    UserId(user): UserId,
) -> Result<NoContent, ApiError> {
    api.control.reset_second_factor(&actor, user).await?;
    Ok(NoContent)
}
