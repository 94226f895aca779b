//! Projects: uniqueness, filters, deletion.

use super::fixture::{Fixture, at, event, id, key, organization, page, pages, project, version};
use crate::store::{
    Order, ProjectFilter, StoreError,
    record::{Lifecycle, Owner, Project, Secret, VersionState},
};

fn slugs(fixture: &Fixture, filter: ProjectFilter) -> Vec<String> {
    let found = fixture.read(move |tx| tx.projects(&id("org_a"), &filter, &page(100, Order::Ascending))).unwrap();
    found.rows.into_iter().map(|row| row.slug).collect()
}

#[test]
fn project_is_read_as_it_was_written() {
    let fixture = Fixture::with_project();
    assert_eq!(fixture.read(|tx| tx.project(&id("prj_a"))), Ok(Some(project("prj_a", "a"))));
    assert_eq!(fixture.read(|tx| tx.project_by_slug(&id("org_a"), "a")), Ok(Some(project("prj_a", "a"))));
    assert_eq!(fixture.read(|tx| tx.project_by_slug(&id("org_b"), "a")), Ok(None));
    assert_eq!(fixture.read(|tx| tx.all_projects()), Ok(vec![project("prj_a", "a")]));
}

#[test]
fn name_ignoring_case_and_slug_are_unique_in_the_organization() {
    let fixture = Fixture::with_organization();
    fixture.write(|tx| tx.insert_organization(&organization("org_b"))).unwrap();
    let named = |name: &str, slug: &str| Project { name: name.to_owned(), ..project(&format!("prj_{slug}"), slug) };
    let first = named("Über", "one");
    fixture.write(move |tx| tx.insert_project(&first)).unwrap();
    let twin = named("üBER", "two");
    assert_eq!(fixture.write(move |tx| tx.insert_project(&twin)), Err(StoreError::Taken("name")));
    let twin = Project { id: id("prj_other"), ..named("Other", "one") };
    assert_eq!(fixture.write(move |tx| tx.insert_project(&twin)), Err(StoreError::Taken("slug")));
    let elsewhere = Project { id: id("prj_b"), organization: id("org_b"), ..named("ÜBER", "one") };
    assert_eq!(fixture.write(move |tx| tx.insert_project(&elsewhere)), Ok(()));
    let second = named("Second", "second");
    let renamed = Project { name: "ÜBER".to_owned(), ..second.clone() };
    fixture.write(move |tx| tx.insert_project(&second)).unwrap();
    assert_eq!(fixture.write(move |tx| tx.update_project(&renamed)), Err(StoreError::Taken("name")));
}

#[test]
fn changed_project_has_the_next_revision_and_refuses_the_old_one() {
    let fixture = Fixture::with_project();
    let mut row = Project {
        name: "New".to_owned(),
        slug: "new".to_owned(),
        ever_served: true,
        description: "what it is".to_owned(),
        environment: "production".to_owned(),
        tags: Vec::new(),
        caching_enabled: None,
        lifecycle: Lifecycle::Archived,
        served_version: Some(4),
        open_version: None,
        last_version: 5,
        generation: 6,
        updated_at: at(7_000),
        ..project("prj_a", "a")
    };
    let first = row.clone();
    fixture.write(move |tx| tx.update_project(&first)).unwrap();
    let stale = row.clone();
    assert_eq!(fixture.write(move |tx| tx.update_project(&stale)), Err(StoreError::Stale));
    row.revision = 2;
    assert_eq!(fixture.read(|tx| tx.project(&id("prj_a"))), Ok(Some(row)));
    assert_eq!(fixture.read(|tx| tx.active_project_count(&id("org_a"))), Ok(0));
}

#[test]
fn each_filter_picks_its_projects() {
    let fixture = Fixture::with_organization();
    let a = Project { description: "100% of_it \\".to_owned(), served_version: Some(1), ..project("prj_a", "a") };
    let b = Project { environment: "production".to_owned(), tags: Vec::new(), ..project("prj_b", "b") };
    let tags = vec![("team".to_owned(), "chat".to_owned()), ("x".to_owned(), "team".to_owned())];
    let c = Project { lifecycle: Lifecycle::Archived, tags, name: "ÄRGER".to_owned(), ..project("prj_c", "c") };
    fixture.write(move |tx| [a, b, c].iter().try_for_each(|row| tx.insert_project(row))).unwrap();
    let text = |text: &str| ProjectFilter { text: Some(text.to_owned()), ..ProjectFilter::default() };
    let tag = |key: &str, value: Option<&str>| ProjectFilter {
        tag: Some((key.to_owned(), value.map(str::to_owned))),
        ..ProjectFilter::default()
    };
    let none = ProjectFilter::default;
    for (name, filter, want) in [
        ("all", none(), "abc"),
        ("among", ProjectFilter { among: Some(vec![id("prj_c"), id("prj_z")]), ..none() }, "c"),
        ("among none", ProjectFilter { among: Some(Vec::new()), ..none() }, ""),
        ("served", ProjectFilter { served: Some(true), ..none() }, "a"),
        ("not served", ProjectFilter { served: Some(false), ..none() }, "bc"),
        ("archived", ProjectFilter { lifecycle: Some(Lifecycle::Archived), ..none() }, "c"),
        ("environment", ProjectFilter { environment: Some("production".to_owned()), ..none() }, "b"),
        ("tag", tag("team", None), "ac"),
        ("tag and value", tag("team", Some("chat")), "c"),
        ("value of another tag", tag("x", Some("chat")), ""),
        ("tag that is a value", tag("search", None), ""),
        ("folded text", text("ärg"), "c"),
        ("percent is a percent", text("0% "), "a"),
        ("percent matches nothing else", text("%"), "a"),
        ("underscore", text("f_i"), "a"),
        ("backslash", text("\\"), "a"),
        ("quote", text("' OR 1=1 --"), ""),
        ("no match over two fields", text("aa"), ""),
        ("two filters", ProjectFilter { served: Some(false), ..tag("team", None) }, "c"),
    ] {
        assert_eq!(slugs(&fixture, filter).concat(), want, "{name}");
    }
}

#[test]
fn projects_that_come_and_go_between_pages_shift_no_row() {
    let fixture = Fixture::with_organization();
    for index in 0..10u64 {
        let row = Project { created_at: at(index / 3), ..project(&format!("prj_{index}"), &format!("s{index}")) };
        fixture.write(move |tx| tx.insert_project(&row)).unwrap();
    }
    let mut turn = 0;
    let turn = std::cell::RefCell::new(&mut turn);
    let found = pages(
        Order::Descending,
        4,
        |row: &Project| (i64::try_from(row.created_at.0.as_millis()).unwrap(), row.id.to_string()),
        |request| {
            let list = move |tx: &dyn crate::store::Tx| tx.projects(&id("org_a"), &ProjectFilter::default(), &request);
            let found = fixture.read(list).unwrap();
            // The row that the cursor names goes, and a newer one comes.
            let last = found.rows.last().unwrap().id.clone();
            **turn.borrow_mut() += 1;
            let row = Project { created_at: at(99), ..project(&format!("prj_n{}", turn.borrow()), "new") };
            let row = Project { name: row.id.to_string(), slug: row.id.to_string(), ..row };
            fixture.write(move |tx| tx.delete_project(&last).and_then(|()| tx.insert_project(&row))).unwrap();
            found
        },
    );
    let found: Vec<&str> = found.iter().map(|row| row.id.as_str()).collect();
    let want: Vec<String> = (0..10).rev().map(|index| format!("prj_{index}")).collect();
    assert_eq!(found, want);
}

#[test]
fn deleted_project_takes_everything_along_but_its_events() {
    let fixture = Fixture::with_project();
    let secret = Secret {
        id: id("sec_a"),
        owner: Owner::Project(id("prj_a")),
        name: "A".to_owned(),
        bound_origins: Vec::new(),
        shared_with: None,
        value: None,
        created_at: at(1),
        revision: 1,
    };
    fixture
        .write(move |tx| {
            tx.insert_version(&version(1, VersionState::Draft), b"text")?;
            tx.insert_key(&key(1))?;
            tx.insert_secret(&secret)?;
            tx.append_audit(&event("project.create"))
        })
        .unwrap();
    fixture.write(|tx| tx.delete_project(&id("prj_a"))).unwrap();
    let gone = fixture.read(|tx| {
        Ok((
            tx.version(&id("prj_a"), 1)?,
            tx.version_text(&id("prj_a"), 1)?,
            tx.key(&id("key_001"))?,
            tx.secret(&id("sec_a"))?,
        ))
    });
    assert_eq!(gone, Ok((None, None, None, None)));
    assert_eq!(fixture.read(|tx| tx.audit_after(0, 10)).unwrap().len(), 1);
    assert_eq!(fixture.write(|tx| tx.delete_project(&id("prj_a"))), Err(StoreError::Stale));
}
