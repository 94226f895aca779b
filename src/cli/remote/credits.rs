//! `millrace credits`: what an organization has paid in.

use clap::{Args, Subcommand};
use serde_json::json;

use super::client::Call;
use super::desk::{Desk, text};
use super::failure::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum CreditsCommand {
    /// Shows what is left.
    Show,
    /// Adds money that was paid in.
    Topup(PaymentArgs),
    /// Corrects the credits, up or down.
    Adjust(PaymentArgs),
    /// Sets the fee on what the platform's credentials cost.
    Fee {
        /// Percent, such as `2.5`; without it the fee of the instance holds.
        percent: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct PaymentArgs {
    /// USD with at most 9 decimals, such as `12.50`; `-3` for what an adjustment takes back.
    #[arg(allow_hyphen_values = true)]
    amount: String,
    /// Why; an adjustment needs one.
    #[arg(long, default_value = "")]
    comment: String,
    /// Names the payment, such as the number of an invoice: given twice, it counts once. Drawn when absent.
    #[arg(long)]
    key: Option<String>,
}

/// Runs a command about credits.
pub(super) fn run(desk: &Desk, command: CreditsCommand) -> Result<(), Failure> {
    let path = format!("{}/credits", desk.organization()?);
    match command {
        CreditsCommand::Show => desk.show(&desk.get(&path)?),
        CreditsCommand::Topup(payment) => pay(desk, &format!("{path}/topup"), &payment),
        CreditsCommand::Adjust(payment) => pay(desk, &format!("{path}/adjust"), &payment),
        CreditsCommand::Fee { percent } => {
            let call = format!("{path}/fee");
            let changed = desk.client.send(Call::put(&call).json(&json!({ "fee_percent": percent })))?.json()?;
            desk.done(&format!("the fee is {} %", text(&changed, "fee_percent")), &changed)
        }
    }
}

fn pay(desk: &Desk, path: &str, payment: &PaymentArgs) -> Result<(), Failure> {
    let body = json!({ "amount": payment.amount, "comment": payment.comment });
    let left = match &payment.key {
        Some(key) => desk.client.send(Call::ask(path).json(&body).header("idempotency-key", key.as_str()))?.json()?,
        None => desk.post(path, &body)?,
    };
    desk.done(&format!("{} USD left", text(&left, "balance")), &left)
}
