//! What IAM rules leave of a route for this key and address.

use std::{fmt::Write as _, sync::Arc};

use crate::{
    iam::{Denial, Step},
    snapshot::{Found, Grant, Target},
    usage::RulesSaid,
    wire::{Endpoint, ErrorCase},
};

use super::{exchange::Exchange, reply::Refusal, told::chosen_as};

/// Rules that a refusal names; more would only make it unreadable.
const RULES_NAMED_MAX: usize = 10;

/// Finds the first target of a route that rules let a key use; none when the route has no target for the endpoint.
///
/// # Errors
/// The refusal, when the route has targets and rules leave none.
pub(super) fn first_allowed<'a>(
    exchange: &mut Exchange<'_>,
    found: &Found<'a>,
    grant: &Grant,
    endpoint: Endpoint,
) -> Result<Option<&'a Arc<Target>>, Refusal> {
    let targets = found.route.targets(endpoint);
    if targets.is_empty() {
        return Ok(None);
    }
    let allowed = found.allowed(grant, endpoint, exchange.client_ip).map_err(|denial| {
        let refusal = refusal(&denial);
        exchange.note_denial((step_word(denial.step), &denial), &refusal.message);
        refusal
    })?;
    exchange.decided.rules = if found.has_rules(grant) { RulesSaid::Allowed } else { RulesSaid::NoRule };
    exchange.decided.target = chosen_as(targets.len());
    Ok(targets.iter().enumerate().find(|(place, _)| allowed.has(*place)).map(|(_, target)| target))
}

fn step_word(step: Step) -> &'static str {
    match step {
        Step::Providers => "providers",
        Step::Routes => "routes",
        Step::Models => "models",
        Step::Pricing => "pricing",
        Step::Addresses => "addresses",
    }
}

/// Says where the rules stand that refuse a request and which they are, and nothing about other routes.
fn refusal(denial: &Denial) -> Refusal {
    let what = match denial.step {
        Step::Providers => "the providers of this route",
        Step::Routes => "this route",
        Step::Models => "the models of this route",
        Step::Pricing => "the prices of this route",
        Step::Addresses => "the address that the request comes from",
    };
    let mut message = format!("rules of the {} do not allow {what}", denial.scope.as_str());
    for (index, id) in denial.rules.iter().take(RULES_NAMED_MAX).enumerate() {
        // Writing to a String cannot fail.
        let _ = write!(message, "{} `{id}`", if index == 0 { ":" } else { "," });
    }
    if denial.rules.len() > RULES_NAMED_MAX {
        let _ = write!(message, " and {} more", denial.rules.len() - RULES_NAMED_MAX);
    }
    message.push_str("; ask an administrator of the project to change them, or use another route");
    Refusal::new(ErrorCase::ModelNotAllowed, message).param(Some("model"))
}

#[cfg(test)]
mod tests {
    use crate::iam::Scope;

    use super::*;

    #[test]
    fn refusal_names_scope_and_rules() {
        let rules = |count: usize| (1..=count).map(|number| Arc::from(format!("rul_{number}"))).collect();
        let denial = Denial { scope: Scope::Member, step: Step::Models, rules: rules(2) };
        let told = refusal(&denial);
        assert_eq!((told.case, told.param), (ErrorCase::ModelNotAllowed, Some("model")));
        assert!(
            told.message.starts_with("rules of the member do not allow the models of this route: `rul_1`, `rul_2`;")
        );
        let many = refusal(&Denial { scope: Scope::Key, step: Step::Addresses, rules: rules(12) });
        assert!(many.message.contains("`rul_10` and 2 more") && !many.message.contains("rul_11"), "{}", many.message);
    }
}
