//! What stands in the world of the matrix: one of each thing.

use super::*;

pub(super) async fn people(rig: &Rig, project: &Id) -> HashMap<&'static str, Actor> {
    let mut people = HashMap::new();
    let stranger = actor(&Id::random(IdKind::Organization).unwrap(), OrganizationRole::Member, Vec::new());
    people.insert("instance_admin", Actor { instance_admin: true, memberships: Vec::new(), ..stranger });
    use OrganizationRole::{Admin, Auditor, Owner};
    for (name, role) in [("owner", Owner), ("admin", Admin), ("auditor", Auditor)] {
        people.insert(name, person(rig, role, Vec::new()).await);
    }
    use ProjectRole::{Developer, Editor, ProjectAdmin, Viewer};
    for (name, role) in
        [("project_admin", ProjectAdmin), ("editor", Editor), ("developer", Developer), ("viewer", Viewer)]
    {
        let grants = vec![ProjectGrant { project: project.clone(), role }];
        people.insert(name, person(rig, OrganizationRole::Member, grants).await);
    }
    people
}

/// Puts an invitation in: its id.
async fn invitation(rig: &Rig, organization: &Id, user: &Id) -> String {
    let id = Id::random(IdKind::Invitation).unwrap();
    let mut digest = [0; 32];
    getrandom::fill(&mut digest).unwrap();
    let row = Invitation {
        id: id.clone(),
        organization: organization.clone(),
        email: "x@example.com".to_owned(),
        role: OrganizationRole::Member,
        grants: Vec::new(),
        token_digest: digest,
        status: InvitationStatus::Pending,
        expires_at: UnixTime(unix_time().0 + std::time::Duration::from_secs(60)),
        created_by: user.clone(),
        created_at: unix_time(),
        revision: 1,
    };
    rig.control.store().write(move |tx| tx.insert_invitation(&row)).await.unwrap();
    id.as_str().to_owned()
}

/// Puts one of each thing in, and says what stands for what.
pub(super) async fn place(
    rig: &Rig,
    owner: &Actor,
    (organization, project): (&Id, &Id),
    user: &Id,
) -> HashMap<&'static str, String> {
    let mut place = HashMap::from([
        ("organization", organization.as_str().to_owned()),
        ("project", project.as_str().to_owned()),
        ("user", user.as_str().to_owned()),
        ("invitation", invitation(rig, organization, user).await),
        ("egress_rule", egress_rule(rig).await),
        ("alert", alert(rig, owner, project).await),
        ("version", "1".to_owned()),
        ("route", "chat".to_owned()),
        ("request_id", REQUEST.to_owned()),
    ]);
    let names = [("secret", "provider_key"), ("organization_secret", "organization_provider_key")];
    for ((secret, provider_key), whose) in
        names.into_iter().zip([Owner::Project(project.clone()), Owner::Organization(organization.clone())])
    {
        let value = Secret::new("0123456789abcdef".to_owned());
        let new = NewSecret {
            name: "NAME".to_owned(),
            value: value.clone(),
            bound_origins: vec!["https://api.openai.com".to_owned()],
            shared_with: None,
        };
        place.insert(secret, rig.control.create_secret(owner, &whose, new).await.unwrap().id.as_str().to_owned());
        let new = NewProviderKey {
            provider: "openai".to_owned(),
            label: "ci".to_owned(),
            value,
            base_url: None,
            sort_order: 0,
        };
        let made = rig.control.create_provider_key(owner, &whose, new).await.unwrap();
        place.insert(provider_key, made.id.as_str().to_owned());
    }
    place.insert("platform_credential", platform_credential(rig, owner).await);
    if *organization != rig.organization {
        place.insert("token", token(rig, organization, user).await);
        let key = key(rig, owner, project).await;
        let at_key = PolicySite::Key { project: project.clone(), key: Id::stored(&key) };
        place.insert("key_rule", rule(rig, owner, at_key).await);
        let at_key = PolicySite::Key { project: project.clone(), key: Id::stored(&key) };
        place.insert("key_limit", limit(rig, owner, at_key).await);
        place.insert("key", key);
    }
    place.insert("organization_rule", rule(rig, owner, PolicySite::Organization(organization.clone())).await);
    place.insert("organization_limit", limit(rig, owner, PolicySite::Organization(organization.clone())).await);
    place.insert("project_limit", limit(rig, owner, PolicySite::Project(project.clone())).await);
    place.insert("project_rule", rule(rig, owner, PolicySite::Project(project.clone())).await);
    let at_member = PolicySite::Member { organization: organization.clone(), user: user.clone() };
    // The stranger is a member by its proof alone, so the store knows no member to put a rule at.
    let is_stored = *organization == rig.organization;
    let of_member = if is_stored { rule(rig, owner, at_member).await } else { place["key_rule"].clone() };
    place.insert("member_rule", of_member);
    let at_member = PolicySite::Member { organization: organization.clone(), user: user.clone() };
    let of_member = if is_stored { limit(rig, owner, at_member).await } else { place["key_limit"].clone() };
    place.insert("member_limit", of_member);
    place
}

async fn platform_credential(rig: &Rig, owner: &Actor) -> String {
    let operator = Actor { instance_admin: true, ..owner.clone() };
    let new = NewPlatformCredential {
        provider: "openai".to_owned(),
        value: Secret::new("0123456789abcdef".to_owned()),
        base_url: None,
    };
    let (made, _) = rig.control.enter_platform_credential(&operator, new).await.unwrap();
    made.id.as_str().to_owned()
}

async fn alert(rig: &Rig, owner: &Actor, project: &Id) -> String {
    let channel = Channel { kind: ChannelKind::Dashboard, url: None, secret: None, to: Vec::new() };
    let new = NewAlert {
        name: "Served".to_owned(),
        description: String::new(),
        enabled: true,
        scope: None,
        target: None,
        event: AlertEvent::Serve,
        condition: AlertCondition::default(),
        channels: vec![channel],
    };
    let made = rig.control.create_alert(owner, &Owner::Project(project.clone()), new).await.unwrap();
    made.alert.id.as_str().to_owned()
}

async fn egress_rule(rig: &Rig) -> String {
    let row = EgressRule {
        id: Id::random(IdKind::EgressRule).unwrap(),
        network: "10.0.0.0/8".to_owned(),
        ports: "443".to_owned(),
        comment: String::new(),
        created_by: rig.owner.id.clone(),
        created_at: unix_time(),
    };
    let id = row.id.as_str().to_owned();
    rig.control.store().write(move |tx| tx.insert_egress_rule(&row)).await.unwrap();
    id
}

/// Stores a request that was made with a key of this member.
pub(super) async fn request(rig: &Rig, project: &Id, member: &Id) {
    let of =
        Dimension { project: project.as_str().to_owned(), member: member.as_str().to_owned(), ..Dimension::default() };
    let id = RequestId::from_client(REQUEST.as_bytes()).unwrap();
    let record = Record { status: 200, ..Record::begun(unix_time(), id, "chat") };
    let kept = record.clone();
    let write = move |tx: &mut dyn Tx| {
        let number = tx.dimension(&of)?;
        tx.insert_request(&of.project, number, &record)
    };
    rig.control.store().write(write).await.unwrap();
    let room = Arc::new(PayloadRoom::new(PayloadLimits { bytes_max: 100, room_bytes_max: 100 }));
    let caller = Caller {
        project: Some(project.as_str().into()),
        member: Some(member.as_str().into()),
        ..Caller::of_key("key")
    };
    let said =
        Record { payload: Payload::begin(&room, b"said").map(Arc::from), caller: Some(Arc::new(caller)), ..kept };
    rig.control.payloads().note(&said);
    rig.control.close_payloads().await;
}

pub(super) async fn key(rig: &Rig, maker: &Actor, project: &Id) -> String {
    let new = NewKey { description: "test".to_owned(), ..NewKey::default() };
    rig.control.create_key(maker, project, new).await.unwrap().0.id.as_str().to_owned()
}

pub(super) async fn limit(rig: &Rig, maker: &Actor, site: PolicySite) -> String {
    let new = NewLimit {
        kind: LimitKind::Requests,
        amount: 1_000,
        window: Some("1 minute".to_owned()),
        algorithm: None,
        mode: LimitMode::Enforce,
    };
    rig.control.create_limit(maker, site, new).await.unwrap().limit.id.as_str().to_owned()
}

pub(super) async fn rule(rig: &Rig, maker: &Actor, site: PolicySite) -> String {
    let value = serde_json::json!({"models": ["none"]});
    let new = NewRule { kind: RuleType::DenyModels, value, status: RuleStatus::Active };
    rig.control.create_rule(maker, site, new).await.unwrap().id.as_str().to_owned()
}

pub(super) async fn token(rig: &Rig, organization: &Id, maker: &Id) -> String {
    let id = Id::random(IdKind::AdminToken).unwrap();
    let mut digest = [0; 32];
    getrandom::fill(&mut digest).unwrap();
    let row = AdminToken {
        id: id.clone(),
        digest,
        last4: "last".to_owned(),
        description: "test".to_owned(),
        organization: Some(organization.clone()),
        instance_admin: false,
        role: OrganizationRole::Member,
        grants: Vec::new(),
        created_by: Some(maker.clone()),
        expires_at: None,
        created_at: unix_time(),
        last_used_at: None,
    };
    rig.control.store().write(move |tx| tx.insert_admin_token(&row)).await.unwrap();
    id.as_str().to_owned()
}
