//! `millrace instance`: the whole process, for whoever runs it.

use serde_json::{Value, json};

use super::args::InstanceCommand;
use super::client::{Call, encoded};
use super::desk::{Desk, object, text};
use super::failure::Failure;
use super::table::Column;

const RULES: &[Column] =
    &[("NETWORK", "/network"), ("PORTS", "/ports"), ("CREATED", "/created_at"), ("COMMENT", "/comment"), ("ID", "/id")];

/// Runs a command about the instance.
pub(super) fn run(desk: &Desk, command: InstanceCommand) -> Result<(), Failure> {
    match command {
        InstanceCommand::Status => desk.show(&desk.get("/instance/status")?),
        InstanceCommand::Settings => desk.show(&desk.get("/instance/settings")?),
        InstanceCommand::Set { project_limit, retention_days, fee_percent } => {
            let body = object(&[
                ("default_project_limit", project_limit.map(Value::from)),
                ("default_retention_days", retention_days.map(Value::from)),
                ("fee_percent", fee_percent.map(Value::from)),
            ]);
            if body == json!({}) {
                return Err(Failure::Usage("nothing to change; see `millrace instance set --help`".to_owned()));
            }
            desk.show(&desk.patch("/instance/settings", &body)?)
        }
        InstanceCommand::Egress => desk.show_rows(&desk.whole("/instance/egress-rules")?, RULES),
        InstanceCommand::Allow { network, ports, comment } => {
            let body = json!({ "network": network, "ports": ports, "comment": comment });
            let made = desk.post("/instance/egress-rules", &body)?;
            let (network, id) = (text(&made, "network"), text(&made, "id"));
            desk.done(&format!("{network} is open on ports {ports} ({id})"), &made)
        }
        InstanceCommand::Deny { rule } => {
            desk.confirm(&format!("close {rule} to new connections"))?;
            desk.client.send(Call::delete(&format!("/instance/egress-rules/{}", encoded(&rule))))?;
            desk.done(&format!("{rule} is closed"), &Value::Null)
        }
    }
}
