//! The life of versions: draft, approval, history.

use crate::store::{OrganizationRole, ProjectRole, Version, VersionFilter, VersionState};

use super::{
    ControlError, DraftText, Expected, Intent, ProjectPatch, VersionName,
    tests::{BAD, GOOD, Rig, actor, kind, member, page},
    version_revision,
};

/// Number and state of every version.
async fn states(rig: &Rig, id: &crate::base::Id) -> Vec<(u32, VersionState)> {
    let found = rig.control.versions(&rig.owner, id, VersionFilter::default(), page(100)).await.unwrap();
    found.rows.iter().map(|version| (version.number, version.state)).collect()
}

#[tokio::test]
async fn s1_30_s1_31_s1_32_served_project_is_updated_in_three_steps() {
    use VersionState::{Discarded, Draft, ReadyToServe, Served, Superseded};
    let rig = Rig::new().await;
    let id = rig.project_id("chat").await;
    let first = rig.serve(&id, GOOD).await;
    assert_eq!(states(&rig, &id).await, [(1, Discarded), (2, Served)], "L-03, L-08");
    let state = rig.state(&id).await;
    assert_eq!((state.config_state, state.project.served_version), (Served, Some(first)), "S1-17, S1-29");
    let live = rig.live(&id);

    let second = rig.save(&id, &GOOD.replace("chat:", "talk:")).await;
    let state = rig.state(&id).await;
    assert_eq!((state.config_state, state.project.served_version), (Draft, Some(first)), "S1-30, S1-29, L-02");
    assert_eq!(rig.live(&id), live, "S1-20, S1-34");
    rig.approve(&id, second).await;
    assert_eq!(rig.state(&id).await.config_state, ReadyToServe, "S1-14, S1-31");
    assert_eq!(rig.live(&id), live, "S1-23");
    let served = rig.control.serve(&rig.owner, &id, second, Intent::default()).await.unwrap();
    assert_eq!((served.generation, served.version), (2, Some(second)), "S1-15");
    assert_eq!(rig.live(&id), [("chat/talk".to_owned(), Some(u64::from(second)))], "S1-16, S1-25");
    assert_eq!(states(&rig, &id).await, [(1, Discarded), (2, Superseded), (3, Served)], "S1-32");
    assert_eq!(rig.state(&id).await.project.open_version, None);

    rig.control.unserve(&rig.owner, &id, Intent::default()).await.unwrap();
    let state = rig.state(&id).await;
    assert_eq!((state.config_state, state.project.served_version), (Draft, None), "S1-28, L-09");
    assert!(rig.live(&id).is_empty());
    let generations = rig.control.generations(&rig.owner, &id, page(100)).await.unwrap().rows;
    let line: Vec<_> = generations.iter().map(|step| (step.generation, step.version, step.kind.as_str())).collect();
    assert_eq!(line, [(1, Some(2), "serve"), (2, Some(3), "serve"), (3, None, "unserve")]);
}

#[tokio::test]
async fn s1_19_invalid_draft_is_stored_with_its_problems_and_never_approved() {
    let rig = Rig::new().await;
    let id = rig.project_id("chat").await;
    for text in [
        BAD,
        "routes: [",
        "\u{0}",
        "a: &x 1\nb: *x\n",
        "chat_models: [{model_id: m, model: openai/x, \
                 credentials: {base_url: \"http://169.254.169.254/v1\"}}]\nroutes: {r: {chat_models: [m]}}\n",
    ] {
        let number = rig.save(&id, text).await;
        let stored = rig.control.version(&rig.owner, &id, number).await.unwrap();
        assert_eq!(stored.text, text.as_bytes());
        let problems: Vec<serde_json::Value> = serde_json::from_str(&stored.version.problems).unwrap();
        assert!(problems.iter().any(|problem| problem["severity"] == "error"), "{text}: {problems:?}");
        let refused = rig.control.approve(&rig.owner, &id, number, String::new()).await;
        let Err(ControlError::ConfigInvalid(refusals)) = refused else { panic!("{text}: {}", kind(&refused)) };
        assert_eq!(refusals.len(), problems.len(), "approval and draft report the same: {text}");
        assert_eq!(kind(&rig.control.serve(&rig.owner, &id, number, Intent::default()).await), "illegal_transition");
    }
    assert_eq!(rig.state(&id).await.config_state, VersionState::Draft, "S1-12");
    let number = rig.save(&id, GOOD).await;
    rig.approve(&id, number).await;
    let approved = rig.control.version(&rig.owner, &id, number).await.unwrap().version;
    assert_eq!(
        (approved.approver, approved.state),
        (Some(rig.owner.author.clone()), VersionState::ReadyToServe),
        "S1-13"
    );
}

#[tokio::test]
async fn draft_is_refused_by_size_encoding_and_what_is_open() {
    let rig = Rig::new().await;
    let id = rig.project_id("chat").await;
    let save = |expected, text: Vec<u8>| {
        let draft = DraftText { text, comment: String::new() };
        rig.control.save_draft(&rig.owner, &id, expected, draft)
    };
    let open = rig.open_now(&id).await;
    let big = |bytes: usize| vec![b'#'; bytes];
    for (name, expected, text, want) in [
        ("1 MiB and a byte", open, big((1 << 20) + 1), "too_large"),
        ("not UTF-8", open, vec![0xff, 0xfe], "invalid"),
        ("nothing open expected", Expected::NoneOpen, big(1), "stale"),
        ("another revision", Expected::Open(1), big(1), "stale"),
        ("1 MiB", open, big(1 << 20), "ok"),
        ("the revision before", open, big(1), "stale"),
    ] {
        assert_eq!(kind(&save(expected, text).await), want, "{name}");
    }
    let stale = save(open, big(1)).await;
    let current = rig.control.open_version(&rig.owner, &id).await.unwrap().version;
    assert!(matches!(stale, Err(ControlError::Stale { current: shown }) if shown == version_revision(&current)));
    let discard = |revision| rig.control.discard_draft(&rig.owner, &id, revision);
    assert_eq!(kind(&discard(1).await), "stale");
    assert_eq!(kind(&discard(version_revision(&current)).await), "ok");
    assert_eq!(kind(&discard(version_revision(&current)).await), "not_found");
    assert_eq!(kind(&save(Expected::Open(version_revision(&current)), big(1)).await), "stale");
    assert_eq!(kind(&save(Expected::NoneOpen, big(1)).await), "ok");
}

#[tokio::test]
async fn save_over_an_approved_version_loses_the_approval_and_says_so() {
    let rig = Rig::new().await;
    let id = rig.project_id("chat").await;
    let number = rig.save(&id, GOOD).await;
    rig.approve(&id, number).await;
    let draft = DraftText { text: GOOD.as_bytes().to_vec(), comment: "again".to_owned() };
    let expected = rig.open_now(&id).await;
    let saved = rig.control.save_draft(&rig.owner, &id, expected, draft).await.unwrap();
    assert!(saved.approval_lost && saved.version.comment == "again", "L-04");
    assert_eq!(kind(&rig.control.serve(&rig.owner, &id, number, Intent::default()).await), "illegal_transition");
    let number = saved.version.number;
    rig.approve(&id, number).await;
    rig.control.withdraw(&rig.owner, &id, number, String::new()).await.unwrap();
    assert_eq!(rig.state(&id).await.config_state, VersionState::Draft, "L-06");
    assert_eq!(kind(&rig.control.withdraw(&rig.owner, &id, number, String::new()).await), "illegal_transition");
}

#[tokio::test]
async fn history_can_be_copied_and_rolled_back_to() {
    let rig = Rig::new().await;
    let id = rig.project_id("chat").await;
    let roll_back = |to| rig.control.roll_back(&rig.owner, &id, to, Intent::default());
    assert_eq!(kind(&roll_back(None).await), "illegal_transition", "nothing was served");
    let first = rig.serve(&id, GOOD).await;
    assert_eq!(kind(&roll_back(None).await), "illegal_transition", "no earlier one");
    let second = rig.serve(&id, &GOOD.replace("chat:", "talk:")).await;
    let open = rig.save(&id, BAD).await;
    for (name, to, want) in [
        ("to the live one", Some(second), "illegal_transition"),
        ("to a draft", Some(open), "illegal_transition"),
        ("to one that was never live", Some(1), "illegal_transition"),
        ("to one that is not there", Some(99), "not_found"),
    ] {
        assert_eq!(kind(&roll_back(to).await), want, "{name}");
    }
    let back = roll_back(None).await.unwrap();
    assert_eq!((back.version, back.generation), (Some(first), 3), "L-10");
    assert_eq!(rig.live(&id), [("chat/chat".to_owned(), Some(u64::from(first)))]);
    assert_eq!(rig.state(&id).await.project.open_version, Some(open), "the open version is untouched");
    assert_eq!(roll_back(Some(second)).await.unwrap().generation, 4);
    // A copy takes the exact text, into a draft that replaces the open one.
    let expected = rig.open_now(&id).await;
    let copy = rig.control.copy_version(&rig.owner, (&id, first), expected, String::new()).await.unwrap();
    assert_eq!((copy.version.copied_from, copy.version.replaces), (Some(first), Some(open)), "L-11");
    let text = rig.control.version(&rig.owner, &id, copy.version.number).await.unwrap().text;
    assert_eq!(text, GOOD.as_bytes());
    let expected = rig.open_now(&id).await;
    let again = rig.control.copy_version(&rig.owner, (&id, copy.version.number), expected, String::new()).await;
    assert_eq!(kind(&again), "illegal_transition", "the open version itself");
}

#[tokio::test]
async fn second_person_is_needed_for_all_authors_since_the_last_approval() {
    let rig = Rig::new().await;
    let state = rig.project("chat").await;
    let (id, revision) = (state.project.id, state.project.revision);
    let [ann, bob] = [(); 2].map(|()| member(&rig.organization, &id, ProjectRole::ProjectAdmin));
    let patch = ProjectPatch { require_second_approver: Some(Some(true)), ..ProjectPatch::default() };
    // Who could approve alone must not decide that one is enough.
    assert_eq!(kind(&rig.control.change_project(&ann, &id, revision, patch.clone()).await), "not_permitted");
    let admin = actor(&rig.organization, OrganizationRole::Admin, Vec::new());
    assert_eq!(kind(&rig.control.change_project(&admin, &id, revision, patch).await), "ok");

    let approve = |who, number| rig.control.approve(who, &id, number, String::new());
    let first = rig.save_as(&bob, &id, GOOD).await.unwrap();
    let second = rig.save_as(&ann, &id, GOOD).await.unwrap();
    assert!(second > first);
    assert_eq!(kind(&approve(&ann, second).await), "second_person_required", "the author");
    assert_eq!(kind(&approve(&bob, second).await), "second_person_required", "author of a draft before it");
    assert_eq!(kind(&approve(&admin, second).await), "ok");
    // A withdrawn approval is none.
    rig.control.withdraw(&ann, &id, second, String::new()).await.unwrap();
    assert_eq!(kind(&approve(&bob, second).await), "second_person_required");
    assert_eq!(kind(&approve(&admin, second).await), "ok");
    // Behind an approval only the later authors count; the server may be the author.
    let third = rig.save_as(&ann, &id, GOOD).await.unwrap();
    assert_eq!(kind(&approve(&ann, third).await), "second_person_required");
    assert_eq!(kind(&approve(&bob, third).await), "ok");
    assert_eq!(kind(&rig.control.serve(&ann, &id, third, Intent::default()).await), "ok");
    // A copy of a text that was never approved does not wash off its author.
    let fourth = rig.save_as(&ann, &id, GOOD).await.unwrap();
    let open = rig.control.open_version(&rig.owner, &id).await.unwrap().version;
    rig.control.discard_draft(&rig.owner, &id, version_revision(&open)).await.unwrap();
    let copy: Version =
        rig.control.copy_version(&bob, (&id, fourth), Expected::NoneOpen, String::new()).await.unwrap().version;
    assert_eq!(kind(&approve(&ann, copy.number).await), "second_person_required");
    assert_eq!(kind(&approve(&admin, copy.number).await), "ok");
}

#[tokio::test]
async fn refusals_name_the_approver_and_the_next_step() {
    let rig = Rig::new().await;
    let id = rig.project_id("chat").await;
    let number = rig.save(&id, GOOD).await;
    let said = |outcome: Result<Version, ControlError>| outcome.unwrap_err().to_string();
    let text = rig.control.serve(&rig.owner, &id, number, Intent::default()).await.unwrap_err().to_string();
    assert!(text.contains(&format!("versions/{number}/approve")), "{text}");
    rig.approve(&id, number).await;
    let text = said(rig.control.approve(&rig.owner, &id, number, String::new()).await);
    assert!(text.contains(rig.owner.id.as_str()) && text.contains("serve it, or withdraw"), "{text}");
    rig.control.serve(&rig.owner, &id, number, Intent::default()).await.unwrap();
    let text = rig.control.serve(&rig.owner, &id, number, Intent::default()).await.unwrap_err().to_string();
    assert!(text.contains("already live as generation 1"), "{text}");
    let old = Intent { expected_generation: Some(0), ..Intent::default() };
    let refused = rig.control.unserve(&rig.owner, &id, old).await;
    let Err(ControlError::GenerationConflict(text)) = refused else { panic!("{refused:?}") };
    assert!(text.contains("generation is 1 now, made by") && text.contains(rig.owner.id.as_str()), "{text}");
}

#[tokio::test]
async fn versions_are_compared_by_number_served_and_open() {
    let rig = Rig::new().await;
    let id = rig.project_id("chat").await;
    rig.serve(&id, GOOD).await;
    rig.save(&id, &GOOD.replace("mock/m", "mock/n")).await;
    let pair = (VersionName::Served, VersionName::Open);
    let compared = rig.control.semantic_diff(&rig.owner, &id, pair).await.unwrap();
    assert_eq!((compared.from, compared.to, compared.diff.models.changed), (2, 3, vec!["m".to_owned()]));
    assert_eq!(compared.diff.changes[0].path, "chat_models[m].model");
    let text = rig.control.text_diff(&rig.owner, &id, pair).await.unwrap().diff;
    assert!(text.starts_with("--- version 2\n+++ version 3\n"), "{text}");
    rig.save(&id, "a: [").await;
    assert_eq!(kind(&rig.control.semantic_diff(&rig.owner, &id, pair).await), "invalid");
    assert_eq!(kind(&rig.control.text_diff(&rig.owner, &id, pair).await), "ok");
    let none = (VersionName::Number(99), VersionName::Open);
    assert_eq!(kind(&rig.control.text_diff(&rig.owner, &id, none).await), "not_found");
}

/// The text is small; what it compiles to is not.
#[tokio::test]
async fn configuration_too_large_to_compile_is_refused_with_its_reason() {
    let rig = Rig::new().await;
    let id = rig.project_id("chat").await;
    let first = rig.serve(&id, GOOD).await;
    let routes: String = (0..2_000).map(|route| format!("  r{route}: {{chat_models: [m]}}\n")).collect();
    let prompt = "p".repeat(64_000);
    let text = format!("chat_models: [{{model_id: m, model: mock/m, prompt: {prompt}}}]\nroutes:\n{routes}");
    let number = rig.save(&id, &text).await;
    let refused = rig.control.approve(&rig.owner, &id, number, String::new()).await;
    let Err(ControlError::ConfigInvalid(refusals)) = refused else { panic!("{}", kind(&refused)) };
    assert_eq!((refusals.len(), refusals[0].problem.code.as_str()), (1, "too_large"));
    assert!(refusals[0].problem.message.contains("at most 256 MiB are accepted"), "{}", refusals[0].problem.message);
    assert_eq!(rig.live(&id), [("chat/chat".to_owned(), Some(u64::from(first)))]);
}
