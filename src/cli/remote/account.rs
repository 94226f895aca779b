//! `millrace account`: the own password and second factor.

use serde_json::{Value, json};

use super::args::AccountCommand;
use super::client::{Call, Proof};
use super::desk::{Desk, text};
use super::failure::Failure;
use super::input::{again, secret, secrets};
use super::login::session_of;

/// Runs a command about the own user.
pub(super) fn run(desk: Desk, command: &AccountCommand) -> Result<(), Failure> {
    match command {
        AccountCommand::Show => desk.show(&desk.get("/users/me")?),
        AccountCommand::Password => change_password(desk),
        AccountCommand::OfferSecondFactor => {
            let offered = ask(&desk, "/users/me/second-factor", &proof()?)?;
            let (key, url) = (text(&offered, "secret"), text(&offered, "otpauth_url"));
            let said = format!(
                "{key}\n{url}\n\nNeither is shown again. Put one into your authenticator, then run\n\
                 `millrace account confirm-second-factor CODE`; until then nothing has changed."
            );
            desk.done(&said, &offered)
        }
        AccountCommand::ConfirmSecondFactor { code } => {
            ask(&desk, "/users/me/second-factor/confirm", &json!({ "code": code }))?;
            desk.done("from now on a login needs a code", &Value::Null)
        }
        AccountCommand::RemoveSecondFactor => {
            desk.confirm("remove the second factor")?;
            ask(&desk, "/users/me/second-factor/remove", &proof()?)?;
            desk.done("a login needs no code any more", &Value::Null)
        }
    }
}

fn change_password(desk: Desk) -> Result<(), Failure> {
    let [present, new] = secrets(["present password", "new password"])?;
    again(&new)?;
    let body = json!({ "current_password": present.reveal(), "password": new.reveal() });
    let changed = desk.client.send(Call::ask("/users/me/password").json(&body))?;
    let answer = changed.json()?;
    // The change has opened a session, which nobody here needs.
    let desk = desk.proved_by(Proof::Cookie(session_of(&changed)));
    desk.client.send(Call::delete("/sessions/current"))?;
    desk.done("the password is changed, and every session of yours is ended", &answer)
}

fn proof() -> Result<Value, Failure> {
    Ok(json!({ "current_password": secret(None, "present password")?.reveal() }))
}

/// Sends what must not be kept for a repetition: it holds a password, or its answer a secret.
fn ask(desk: &Desk, path: &str, body: &Value) -> Result<Value, Failure> {
    desk.client.send(Call::ask(path).json(body))?.json()
}
