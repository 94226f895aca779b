//! Prices that an organization has agreed with its providers.
//!
//! They hold for own credentials where a project states none, before the tables of the instance; for the platform's
//! credentials never: nobody sets what they pay. A change compiles what the organization serves anew, and a request keeps the
//! price that it was admitted with.

use std::{collections::HashSet, sync::Arc};

use super::{
    actor::Actor,
    check::{Candidate, rehearsal},
    error::{ControlError, FieldProblem},
    gate,
    instance::Control,
    permit::{Capability, Scope, permit},
};
use crate::{
    base::{Id, NanoUsd, PicoUsd, unix_time},
    config::{At, Code, Costs, Position, PriceEntry, Severity, find_provider},
    store::{Lifecycle, OrganizationPrice, OrganizationPrices, Owner, Tx},
};

/// Prices of one organization at most: all of them are read for each project.
const PRICES_MAX: usize = 500;
/// Longest `provider/name`, in bytes.
const MODEL_BYTES_MAX: usize = 255;
/// Problems that a refusal names, at most.
const NAMED_MAX: usize = 20;
/// What files own in file mode.
const OWNED: &str = "prices of organizations";

impl Control {
    /// The prices of an organization; empty with revision 0 where there never were some. Every member may see them.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] for a stranger; the store's.
    pub async fn organization_prices(
        &self,
        actor: &Actor,
        organization: &Id,
    ) -> Result<OrganizationPrices, ControlError> {
        actor.membership(organization).ok_or(ControlError::NotFound)?;
        self.refuse_if_files_own(OWNED)?;
        let organization = organization.clone();
        self.store()
            .read(move |tx| {
                tx.organization(&organization)?.ok_or(ControlError::NotFound)?;
                stored(tx, &organization)
            })
            .await
    }

    /// Puts prices in the place of those whose revision is `expected`. They hold for requests from then on.
    ///
    /// # Errors
    /// As [`permit`]; field problems, also when a served target would lose a price that a limit in money needs;
    /// [`ControlError::Stale`].
    pub async fn put_organization_prices(
        self: &Arc<Self>,
        actor: &Actor,
        organization: &Id,
        expected: u64,
        prices: Vec<OrganizationPrice>,
    ) -> Result<OrganizationPrices, ControlError> {
        permit(actor, Capability::OrganizationPricesWrite, Scope::Organization(organization))?;
        self.refuse_if_files_own(OWNED)?;
        let prices = checked(prices)?;
        let (control, actor, organization) = (Arc::clone(self), actor.clone(), organization.clone());
        Self::to_its_end(async move {
            let publisher = control.publication().await;
            control.refuse_lost_prices(&organization, &prices).await?;
            let owner = Owner::Organization(organization.clone());
            let work = move |tx: &mut dyn Tx| {
                let stored = put(tx, &actor, &organization, (expected, prices))?;
                // Read in the same transaction: nothing can fail between the commit and the publish.
                Ok::<_, ControlError>((stored, Self::served_for(tx, &owner)?))
            };
            let (stored, served) = control.store().write(work).await?;
            control.publish_anew(&publisher, served).await?;
            Ok(stored)
        })
        .await
    }

    /// Compiles what is served with the prices of now and with the new ones: where a limit in money applies, no target may
    /// lose its price. What had none before is nobody's fault now.
    async fn refuse_lost_prices(&self, organization: &Id, new: &[OrganizationPrice]) -> Result<(), ControlError> {
        let of = organization.clone();
        let served = self.store().read(move |tx| served_candidates(tx, &of)).await?;
        let registries = rehearsal(&self.registries());
        let mut problems = Vec::new();
        for before in served {
            let after = before.clone().with_prices(price_entries(new));
            let before = self.unpriced_of(before, &registries).await?;
            let place = after.place();
            let lost = self.unpriced_of(after, &registries).await?.into_iter().filter(|said| !before.contains(said));
            problems.extend(lost.map(|said| {
                FieldProblem::new("prices", format!("{place} is served and its money is limited: {said}"))
            }));
        }
        problems.truncate(NAMED_MAX);
        if problems.is_empty() { Ok(()) } else { Err(ControlError::Invalid(problems)) }
    }

    /// What refuses a candidate for want of a price.
    async fn unpriced_of(
        &self,
        candidate: Candidate,
        registries: &crate::snapshot::Registries,
    ) -> Result<HashSet<String>, ControlError> {
        let (_, verdict) = candidate.judge_aside(self.vault(), registries.clone()).await?;
        let is_meant = |problem: &&crate::config::Problem| {
            problem.severity == Severity::Error && problem.code == Code::UnpricedModel
        };
        Ok(verdict.problems.iter().filter(is_meant).map(|problem| problem.message.clone()).collect())
    }
}

/// The prices of an organization, as they are compiled.
///
/// # Errors
/// The store's.
pub(super) fn compiled_prices(tx: &dyn Tx, organization: &Id) -> Result<Vec<PriceEntry>, ControlError> {
    Ok(price_entries(&stored(tx, organization)?.prices))
}

fn stored(tx: &dyn Tx, organization: &Id) -> Result<OrganizationPrices, ControlError> {
    let found = tx.organization_prices(organization)?;
    Ok(found.unwrap_or_else(|| OrganizationPrices {
        organization: organization.clone(),
        prices: Vec::new(),
        changed_by: organization.clone(),
        changed_at: unix_time(),
        revision: 0,
    }))
}

fn served_candidates(tx: &dyn Tx, organization: &Id) -> Result<Vec<Candidate>, ControlError> {
    let mut found = Vec::new();
    for project in tx.all_projects()? {
        let is_meant = project.organization == *organization && project.lifecycle == Lifecycle::Active;
        if let Some(number) = project.served_version.filter(|_| is_meant) {
            // One that cannot be read is served to nobody.
            found.extend(Candidate::read(tx, &project, number).ok());
        }
    }
    Ok(found)
}

fn put(
    tx: &mut dyn Tx,
    actor: &Actor,
    organization: &Id,
    (expected, prices): (u64, Vec<OrganizationPrice>),
) -> Result<OrganizationPrices, ControlError> {
    gate::usable_organization(tx, actor, organization)?;
    let before = stored(tx, organization)?;
    gate::expect_revision(before.revision, expected)?;
    if before.prices == prices {
        return Ok(before);
    }
    let row = OrganizationPrices {
        organization: organization.clone(),
        prices,
        changed_by: actor.author.clone(),
        changed_at: unix_time(),
        revision: before.revision,
    };
    tx.put_organization_prices(&row)?;
    let mut event = actor.event("organization.prices", organization.as_str());
    event.organization = Some(organization.clone());
    event.before = shown(&before.prices)?;
    event.after = shown(&row.prices)?;
    tx.append_audit(&event)?;
    stored(tx, organization)
}

/// The prices as the audit log keeps them.
fn shown(prices: &[OrganizationPrice]) -> Result<String, ControlError> {
    serde_json::to_string(prices).map_err(|error| ControlError::Internal(error.to_string()))
}

fn price_entries(prices: &[OrganizationPrice]) -> Vec<PriceEntry> {
    let per_token = |amount: NanoUsd| PicoUsd(amount.units() / 1_000);
    let entries = prices.iter().filter_map(|price| {
        let (provider, _) = price.model.split_once('/')?;
        Some(PriceEntry {
            model: At { value: price.model.clone(), at: Position::START, path: "prices".into() },
            provider: find_provider(provider)?,
            costs: Costs {
                input: Some(per_token(price.input)),
                output: Some(per_token(price.output)),
                cached_input: price.cached_input.map(per_token),
                cache_write_5m: price.cache_write_5m.map(per_token),
                cache_write_1h: price.cache_write_1h.map(per_token),
                image_input: price.image_input.map(per_token),
                image_output: price.image_output.map(per_token),
            },
            per_request: price.per_request,
            per_image: price.per_image,
            per_web_search: price.per_web_search,
            per_audio_minute: price.per_audio_minute,
        })
    });
    entries.collect()
}

/// Checks prices as the configuration of a project would: providers by their names, each model once.
fn checked(mut prices: Vec<OrganizationPrice>) -> Result<Vec<OrganizationPrice>, ControlError> {
    let mut problems = Vec::new();
    if prices.len() > PRICES_MAX {
        problems.push(FieldProblem::new("prices", format!("at most {PRICES_MAX}; a name may end in `*`")));
    }
    let mut seen = HashSet::new();
    for (index, price) in prices.iter_mut().enumerate() {
        let mut refuse =
            |field: &str, said: &str| problems.push(FieldProblem::new(format!("prices.{index}.{field}"), said));
        match checked_model(&price.model) {
            Ok(model) => price.model = model,
            Err(said) => refuse("model", &said),
        }
        if !seen.insert(price.model.clone()) {
            refuse("model", "is priced twice");
        }
        let of_tokens = [
            ("input", Some(price.input)),
            ("output", Some(price.output)),
            ("cached_input", price.cached_input),
            ("cache_write_5m", price.cache_write_5m),
            ("cache_write_1h", price.cache_write_1h),
            ("image_input", price.image_input),
            ("image_output", price.image_output),
        ];
        for (field, amount) in of_tokens {
            if amount.is_some_and(|amount| amount.0 < 0 || amount.0 % 1_000 != 0) {
                refuse(field, "must be 0 or more, with at most 6 decimals");
            }
        }
        let fees = [
            ("per_request", price.per_request),
            ("per_image", price.per_image),
            ("per_web_search", price.per_web_search),
            ("per_audio_minute", price.per_audio_minute),
        ];
        for (field, _) in fees.into_iter().filter(|(_, fee)| fee.0 < 0) {
            refuse(field, "must be 0 or more");
        }
    }
    problems.truncate(NAMED_MAX);
    if problems.is_empty() { Ok(prices) } else { Err(ControlError::Invalid(problems)) }
}

/// `provider/name` under the provider's own name.
fn checked_model(written: &str) -> Result<String, String> {
    let wrong = || "expected `provider/name`, such as `openai/gpt-4o*`; `*` stands at the end only".to_owned();
    let (provider, name) = written.split_once('/').ok_or_else(wrong)?;
    let name = name.trim();
    let is_plain = !name.is_empty() && written.len() <= MODEL_BYTES_MAX && !name.chars().any(char::is_control);
    if !is_plain || name.strip_suffix('*').unwrap_or(name).contains('*') {
        return Err(wrong());
    }
    let Some(provider) = find_provider(provider.trim()) else {
        let known: Vec<_> = crate::config::Provider::ALL.iter().map(|known| known.name()).collect();
        return Err(format!("unknown provider; known: `{}`", known.join("`, `")));
    };
    Ok(format!("{}/{name}", provider.name()))
}

#[cfg(test)]
mod tests {
    use super::super::{
        Intent, NewLimit, PolicySite,
        tests::{Rig, actor, kind, page, person},
    };
    use super::*;
    use crate::{
        store::{AuditFilter, LimitKind, LimitMode, OrganizationRole},
        usage::PriceSource,
    };

    /// A model at an address of its own, of which no table knows a price.
    const OWN_HOST: &str = "chat_models: [{model_id: m, model: openai/own, credentials: {base_url: \"https://models.example.com/v1\"}}]\n\
                            routes: {chat: {chat_models: [m]}}\n";

    fn price(model: &str, input: i64) -> OrganizationPrice {
        OrganizationPrice {
            model: model.to_owned(),
            input: NanoUsd(input * 1_000_000_000),
            output: NanoUsd(2_000_000_000),
            cached_input: None,
            cache_write_5m: None,
            cache_write_1h: None,
            image_input: None,
            image_output: None,
            per_request: NanoUsd::ZERO,
            per_image: NanoUsd::ZERO,
            per_web_search: NanoUsd::ZERO,
            per_audio_minute: NanoUsd::ZERO,
        }
    }

    /// Source and rate of a prompt's tokens, of what is live.
    fn live(rig: &Rig, project: &Id) -> Option<(PriceSource, u64)> {
        let served = rig.served();
        let target = served.project(project.as_str())?.route("chat")?.chat.clone()?;
        target.price.as_ref().map(|price| (price.source(), price.rate(crate::usage::PriceClass::Input, 0).0))
    }

    async fn put(rig: &Rig, expected: u64, prices: &[OrganizationPrice]) -> Result<OrganizationPrices, ControlError> {
        rig.control.put_organization_prices(&rig.owner, &rig.organization, expected, prices.to_vec()).await
    }

    async fn limit_money(rig: &Rig, project: &Id) -> Result<(), ControlError> {
        let (amount, window) = (1_000_000_000, Some("1 day".to_owned()));
        let new = NewLimit { kind: LimitKind::Usd, amount, window, algorithm: None, mode: LimitMode::Enforce };
        rig.control.create_limit(&rig.owner, PolicySite::Project(project.clone()), new).await.map(drop)
    }

    #[tokio::test]
    async fn prices_hold_at_once_below_those_of_the_project_and_after_a_restart() {
        let rig = Rig::new().await;
        let [chat, own] = [rig.project_id("chat").await, rig.project_id("own").await];
        rig.serve(&chat, OWN_HOST).await;
        rig.serve(&own, &format!("{OWN_HOST}prices: [{{model: openai/own, input: 7, output: 8}}]\n")).await;
        let before = rig.served().generation();
        assert_eq!(live(&rig, &chat), None);
        let stored = put(&rig, 0, &[price("OpenAI/own", 3), price("openai/*", 9)]).await.unwrap();
        assert_eq!((stored.revision, stored.prices[0].model.as_str()), (1, "openai/own"));
        assert_eq!(live(&rig, &chat), Some((PriceSource::Organization, 3_000_000)));
        assert_eq!(live(&rig, &own), Some((PriceSource::Project, 7_000_000)));
        assert!(rig.served().generation() > before);
        assert_eq!(kind(&put(&rig, 0, &[]).await), "stale");
        let rig = rig.restarted().await;
        assert_eq!(live(&rig, &chat), Some((PriceSource::Organization, 3_000_000)));
        put(&rig, 1, &[price("openai/o*", 4)]).await.unwrap();
        assert_eq!(live(&rig, &chat), Some((PriceSource::Organization, 4_000_000)));
        assert_eq!(put(&rig, 2, &[price("openai/o*", 4)]).await.unwrap().revision, 2, "nothing changed");
        assert_eq!(put(&rig, 2, &[]).await.unwrap().revision, 3, "a number never comes back");
        assert_eq!(live(&rig, &chat), None);
        let logged = rig.control.store().read(|tx| tx.audit(&AuditFilter::default(), &page(100))).await.unwrap().rows;
        let of_prices: Vec<_> = logged.iter().filter(|row| row.event.action == "organization.prices").collect();
        assert_eq!(of_prices.len(), 3);
        assert!(of_prices[0].event.after.contains(r#""input":"3.000000000""#), "{}", of_prices[0].event.after);
    }

    #[tokio::test]
    async fn members_read_and_only_owners_and_admins_write() {
        let rig = Rig::new().await;
        use OrganizationRole::{Admin, Auditor, Member, Owner};
        for (role, want) in [(Owner, "ok"), (Admin, "ok"), (Auditor, "not_permitted"), (Member, "not_permitted")] {
            let somebody = person(&rig, role, Vec::new()).await;
            let seen = rig.control.organization_prices(&somebody, &rig.organization).await.unwrap();
            let put = rig.control.put_organization_prices(
                &somebody,
                &rig.organization,
                seen.revision,
                vec![price("openai/own", 1)],
            );
            assert_eq!(kind(&put.await), want, "{role:?}");
        }
        let stranger = actor(&Id::random(crate::base::IdKind::Organization).unwrap(), Owner, Vec::new());
        assert_eq!(kind(&rig.control.organization_prices(&stranger, &rig.organization).await), "not_found");
        let prices = Vec::new();
        let put = rig.control.put_organization_prices(&stranger, &rig.organization, 0, prices).await;
        assert_eq!(kind(&put), "not_found");
    }

    #[tokio::test]
    async fn prices_let_money_be_limited_and_cannot_be_taken_away_then() {
        let rig = Rig::new().await;
        let chat = rig.project_id("chat").await;
        rig.serve(&chat, OWN_HOST).await;
        assert_eq!(kind(&limit_money(&rig, &chat).await), "invalid");
        put(&rig, 0, &[price("openai/own", 3)]).await.unwrap();
        limit_money(&rig, &chat).await.unwrap();
        // The same text passes now, since the organization has a price for it.
        let number = rig.save(&chat, &format!("{OWN_HOST}# again\n")).await;
        rig.approve(&chat, number).await;
        assert_eq!(kind(&rig.control.serve(&rig.owner, &chat, number, Intent::default()).await), "ok");
        let lost = put(&rig, 1, &[price("openai/other", 3)]).await;
        let Err(ControlError::Invalid(problems)) = lost else { panic!("{}", kind(&lost)) };
        assert!(problems[0].message.contains("openai/own"), "{}", problems[0].message);
        assert_eq!(live(&rig, &chat), Some((PriceSource::Organization, 3_000_000)), "nothing changed");
        put(&rig, 1, &[price("openai/*", 5)]).await.unwrap();
        assert_eq!(live(&rig, &chat), Some((PriceSource::Organization, 5_000_000)));
    }

    #[test]
    fn prices_are_checked_each_by_its_own() {
        let of = |model: &str| price(model, 1);
        let many = vec![of("openai/x"); 2];
        for (name, prices, want) in [
            ("fine", vec![of("openai/gpt-4o*"), of("mistral/m")], ""),
            ("no provider", vec![of("gpt-4o")], "prices.0.model"),
            ("unknown provider", vec![of("nobody/gpt-4o")], "prices.0.model"),
            ("star inside", vec![of("openai/gpt*o")], "prices.0.model"),
            ("no name", vec![of("openai/ ")], "prices.0.model"),
            ("twice", many, "prices.1.model"),
            ("below nothing", vec![price("openai/x", -1)], "prices.0.input"),
            (
                "seven decimals",
                vec![OrganizationPrice { cached_input: Some(NanoUsd(100)), ..of("openai/x") }],
                "prices.0.cached_input",
            ),
            ("fee", vec![OrganizationPrice { per_request: NanoUsd(-1), ..of("openai/x") }], "prices.0.per_request"),
            ("picture", vec![OrganizationPrice { per_image: NanoUsd(-1), ..of("openai/x") }], "prices.0.per_image"),
            (
                "search",
                vec![OrganizationPrice { per_web_search: NanoUsd(-1), ..of("openai/x") }],
                "prices.0.per_web_search",
            ),
            ("many", (0..=PRICES_MAX).map(|number| of(&format!("openai/{number}"))).collect(), "prices"),
        ] {
            let got = match checked(prices) {
                Ok(_) => String::new(),
                Err(ControlError::Invalid(problems)) => problems[0].path.clone(),
                Err(other) => other.to_string(),
            };
            assert_eq!(got, want, "{name}");
        }
    }
}
