//! Private networks that an administrator opens at run time.
//!
//! They stand beside those of the settings and count at once: for the next configuration that is compiled and the next
//! connection that is opened. A connection that is open already is not closed by the end of its rule.

use std::sync::Arc;

use super::{
    actor::Actor,
    error::{ControlError, FieldProblem},
    instance::Control,
    permit::{Capability, Scope, permit},
};
use crate::{
    base::{
        Cidr, Id, IdKind,
        log::{Level, Value, emit},
        unix_time,
    },
    snapshot::Registries,
    store::{EgressRule, Store, Tx},
    upstream::{Allow, Ports},
};

/// Most rules: each is looked at for each new connection.
const RULES_MAX: usize = 100;
/// Longest reason, in characters.
const COMMENT_CHARS_MAX: usize = 2_000;
/// What files own in file mode.
const OWNED: &str = "egress rules";

/// What is to be opened.
#[derive(Debug, Clone)]
pub struct NewEgressRule {
    /// Network, as `10.0.0.0/8`, or one address.
    pub network: String,
    /// Ports, as `443,8000-8999`, or `any`.
    pub ports: String,
    /// Why.
    pub comment: String,
}

/// Opens what is stored; to be called before the first configuration is compiled.
///
/// # Errors
/// The store's.
pub async fn open_egress(store: &Store, registries: &Registries) -> Result<(), ControlError> {
    let rows = store.read(|tx| tx.egress_rules()).await?;
    registries.origins.guard().open(allowed(&rows));
    Ok(())
}

impl Control {
    /// Every rule that was made here, oldest first; those of the settings are not among them.
    ///
    /// # Errors
    /// As [`permit`]; the store's.
    pub async fn egress_rules(&self, actor: &Actor) -> Result<Vec<EgressRule>, ControlError> {
        permit(actor, Capability::InstanceSettings, Scope::Instance)?;
        Ok(self.store().read(|tx| tx.egress_rules()).await?)
    }

    /// Opens a network. Own listeners stay closed, whatever is opened.
    ///
    /// # Errors
    /// As [`permit`]; field problems; [`ControlError::LimitReached`].
    pub async fn create_egress_rule(
        self: &Arc<Self>,
        actor: &Actor,
        new: NewEgressRule,
    ) -> Result<EgressRule, ControlError> {
        permit(actor, Capability::InstanceSettings, Scope::Instance)?;
        self.refuse_if_files_own(OWNED)?;
        let row = EgressRule {
            id: Id::random(IdKind::EgressRule)?,
            network: new.network,
            ports: new.ports,
            comment: new.comment,
            created_by: actor.author.clone(),
            created_at: unix_time(),
        };
        let row = checked(row)?;
        let (actor, made) = (actor.clone(), row.clone());
        self.change_egress(move |tx| {
            if tx.egress_rules()?.len() >= RULES_MAX {
                return Err(ControlError::LimitReached(format!("{RULES_MAX} of {RULES_MAX} egress rules; delete one")));
            }
            tx.insert_egress_rule(&row)?;
            let mut event = actor.event("egress_rule.create", row.id.as_str());
            event.after = shown(&row);
            event.comment.clone_from(&row.comment);
            tx.append_audit(&event)?;
            Ok(())
        })
        .await?;
        Ok(made)
    }

    /// Closes a network that was opened here.
    ///
    /// # Errors
    /// As [`permit`]; [`ControlError::NotFound`].
    pub async fn delete_egress_rule(self: &Arc<Self>, actor: &Actor, id: Id) -> Result<(), ControlError> {
        permit(actor, Capability::InstanceSettings, Scope::Instance)?;
        self.refuse_if_files_own(OWNED)?;
        let actor = actor.clone();
        self.change_egress(move |tx| {
            let before = tx.egress_rules()?.into_iter().find(|row| row.id == id).ok_or(ControlError::NotFound)?;
            tx.delete_egress_rule(&id)?;
            let mut event = actor.event("egress_rule.delete", id.as_str());
            event.before = shown(&before);
            tx.append_audit(&event)?;
            Ok(())
        })
        .await
    }

    /// Commits a change and lets the guard know, in the order of the commits.
    async fn change_egress(
        self: &Arc<Self>,
        change: impl FnOnce(&mut dyn Tx) -> Result<(), ControlError> + Send + 'static,
    ) -> Result<(), ControlError> {
        let control = Arc::clone(self);
        Self::to_its_end(async move {
            let publisher = control.publication().await;
            let work = move |tx: &mut dyn Tx| {
                change(tx)?;
                Ok::<_, ControlError>(tx.egress_rules()?)
            };
            let rows = control.store().write(work).await?;
            publisher.registries().origins.guard().open(allowed(&rows));
            Ok(())
        })
        .await
    }
}

/// Brings a rule into the form in which it is stored.
fn checked(row: EgressRule) -> Result<EgressRule, ControlError> {
    let mut problems = Vec::new();
    let network = row.network.trim().parse::<Cidr>();
    if let Err(error) = &network {
        problems.push(FieldProblem::new("network", error.to_string()));
    }
    let ports = row.ports.trim();
    if let Err(error) = ports.parse::<Ports>() {
        problems.push(FieldProblem::new("ports", error.to_string()));
    }
    let is_control = |letter: char| letter.is_control() && letter != '\n';
    if row.comment.chars().count() > COMMENT_CHARS_MAX || row.comment.chars().any(is_control) {
        problems.push(FieldProblem::new("comment", format!("at most {COMMENT_CHARS_MAX} characters")));
    }
    match network {
        Ok(network) if problems.is_empty() => {
            Ok(EgressRule { network: network.to_string(), ports: ports.to_owned(), ..row })
        }
        _ => Err(ControlError::Invalid(problems)),
    }
}

/// What the guard is told. A row that cannot be read opens nothing.
fn allowed(rows: &[EgressRule]) -> Vec<Allow> {
    let mut opened = Vec::with_capacity(rows.len());
    for row in rows {
        match (row.network.parse(), row.ports.parse()) {
            (Ok(cidr), Ok(ports)) => opened.push(Allow { cidr, ports }),
            _ => {
                let id = [("egress_rule", Value::Text(row.id.as_str()))];
                emit(Level::Error, "a stored egress rule cannot be read and opens nothing; delete it", &id);
            }
        }
    }
    opened
}

/// The rule as the audit log keeps it.
fn shown(row: &EgressRule) -> String {
    serde_json::json!({ "network": row.network, "ports": row.ports }).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Rig, kind};
    use super::*;
    use crate::store::OrganizationRole;

    const INSIDE: &str = "chat_models:\n  - model_id: m\n    model: openai/x\n    credentials: {base_url: \
                          \"http://10.1.2.3:8080/v1\"}\nroutes: {chat: {chat_models: [m]}}\n";

    fn new(network: &str, ports: &str) -> NewEgressRule {
        NewEgressRule { network: network.to_owned(), ports: ports.to_owned(), comment: "models".to_owned() }
    }

    #[tokio::test]
    async fn opened_network_counts_at_once_and_until_it_is_closed() {
        let rig = Rig::new().await;
        let admin = Actor { instance_admin: true, ..rig.owner.clone() };
        let project = rig.project_id("chat").await;
        let number = rig.save(&project, INSIDE).await;
        let approve = async |rig: &Rig| kind(&rig.control.approve(&rig.owner, &project, number, String::new()).await);
        assert_eq!(approve(&rig).await, "config_invalid");
        let made = rig.control.create_egress_rule(&admin, new(" 10.1.0.0/16 ", "8080")).await.unwrap();
        assert_eq!(made.network, "10.1.0.0/16");
        assert_eq!(approve(&rig).await, "ok");

        let owner = rig.owner.clone();
        let mut rig = rig.restarted().await;
        rig.owner = owner;
        let check = |rig: &Rig| rig.control.registries().origins.check("http://10.1.2.3:8080/v1").is_ok();
        assert!(check(&rig), "it is stored");
        rig.control.delete_egress_rule(&admin, made.id.clone()).await.unwrap();
        assert!(!check(&rig));
        assert_eq!(kind(&rig.control.delete_egress_rule(&admin, made.id).await), "not_found");
        assert!(rig.control.egress_rules(&admin).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn rules_are_for_who_runs_the_machine_and_must_be_readable() {
        let rig = Rig::new().await;
        let admin = Actor { instance_admin: true, ..rig.owner.clone() };
        let owner = super::super::tests::person(&rig, OrganizationRole::Owner, Vec::new()).await;
        assert_eq!(kind(&rig.control.create_egress_rule(&owner, new("10.0.0.0/8", "any")).await), "not_permitted");
        assert_eq!(kind(&rig.control.egress_rules(&owner).await), "not_permitted");
        for (network, ports, want) in [
            ("10.0.0.1/8", "any", vec!["network"]),
            ("ten", "0", vec!["network", "ports"]),
            ("10.0.0.0/8", "", vec!["ports"]),
            ("example.com", "443", vec!["network"]),
        ] {
            let refused = rig.control.create_egress_rule(&admin, new(network, ports)).await;
            let Err(ControlError::Invalid(problems)) = refused else { panic!("{network} {ports} is accepted") };
            assert_eq!(problems.iter().map(|problem| problem.path.as_str()).collect::<Vec<_>>(), want);
        }
    }
}
