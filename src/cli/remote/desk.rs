//! What remote commands share: a client, a scope, an output.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::args::Reach;
use super::client::{Call, Client, Proof, TOKEN_VARIABLE, encoded, query, token};
use super::failure::Failure;
use super::input::agreed;
use super::table::{Column, fields, table};
use crate::cli::print::out;

/// Rows that a list asks for at once.
const PAGE_ROWS: &str = "100";
/// Rows that a list shows at most.
const ROWS_MAX: usize = 10_000;

/// A client with the flags of its command.
pub(super) struct Desk {
    pub(super) client: Client,
    organization: Option<String>,
    json: bool,
    yes: bool,
}

impl Desk {
    /// Makes the client for a command that needs to be logged in.
    pub(super) fn open(reach: &Reach) -> Result<Self, Failure> {
        let saved = saved_token();
        let Some(token) = token(reach.token_file.as_deref(), saved.as_deref())? else {
            let said = format!("not logged in: run `millrace login`, set `{TOKEN_VARIABLE}`, or give `--token-file`");
            return Err(Failure::Usage(said));
        };
        Ok(Self::with(Client::new(&reach.admin_url, Proof::Token(token))?, reach))
    }

    pub(super) fn with(client: Client, reach: &Reach) -> Self {
        Self { client, organization: reach.organization.clone(), json: reach.json, yes: reach.yes }
    }

    /// Goes on with another proof.
    pub(super) fn proved_by(self, proof: Proof) -> Self {
        Self { client: self.client.with_proof(proof), ..self }
    }

    /// Goes on with what takes something away only if a person agrees, or `--yes` was given.
    pub(super) fn confirm(&self, what: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        match agreed(what)? {
            Some(true) => Ok(()),
            Some(false) => Err(Failure::Missing("nothing was changed".to_owned())),
            None => Err(Failure::Usage(format!("{what}: nobody can be asked; say `--yes`"))),
        }
    }

    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    pub(super) fn get(&self, path: &str) -> Result<Value, Failure> {
        self.client.send(Call::get(path))?.json()
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.client.send(Call::post(path).json(body))?.json()
    }

    /// Changes an object with the revision that it has now.
    pub(super) fn patch(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let seen = self.client.send(Call::get(path))?;
        self.client.send(Call::patch(path).json(body).if_match(seen.etag.as_deref()))?.json()
    }

    /// Deletes an object with the revision that it has now.
    pub(super) fn delete(&self, path: &str, parameters: &str) -> Result<(), Failure> {
        let seen = self.client.send(Call::get(path))?;
        let target = format!("{path}{parameters}");
        self.client.send(Call::delete(&target).if_match(seen.etag.as_deref())).map(drop)
    }

    /// Every row of a list, over all its pages.
    pub(super) fn all(&self, path: &str, filters: &[(&str, Option<&str>)]) -> Result<Vec<Value>, Failure> {
        self.some(path, filters, ROWS_MAX)
    }

    /// Every row of a list that comes whole, without pages.
    pub(super) fn whole(&self, path: &str) -> Result<Vec<Value>, Failure> {
        match self.get(path)?.get_mut("data").map(Value::take) {
            Some(Value::Array(rows)) => Ok(rows),
            _ => Ok(Vec::new()),
        }
    }

    /// The first rows of a list.
    pub(super) fn some(
        &self,
        path: &str,
        filters: &[(&str, Option<&str>)],
        rows_max: usize,
    ) -> Result<Vec<Value>, Failure> {
        let mut rows = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut pairs = filters.to_vec();
            pairs.extend([("limit", Some(PAGE_ROWS)), ("cursor", cursor.as_deref())]);
            let mut page = self.get(&format!("{path}{}", query(&pairs)))?;
            if let Some(Value::Array(found)) = page.get_mut("data").map(Value::take) {
                rows.extend(found);
            }
            cursor = page.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
            if cursor.is_none() || rows.len() >= rows_max {
                rows.truncate(rows_max);
                return Ok(rows);
            }
        }
    }

    /// Path of the organization that the command is about.
    pub(super) fn organization(&self) -> Result<String, Failure> {
        if let Some(id) = self.organization.as_deref().filter(|text| is_id(text, "org")) {
            return Ok(format!("/organizations/{id}"));
        }
        let rows = self.all("/organizations", &[])?;
        let fits = |row: &&Value| self.organization.as_deref().is_none_or(|name| text(row, "name") == name);
        let found: Vec<_> = rows.iter().filter(fits).collect();
        match found.as_slice() {
            [one] => Ok(format!("/organizations/{}", encoded(text(one, "id")))),
            [] => Err(Failure::Usage(
                "there is no such organization, or it is not yours; see `millrace org list`".to_owned(),
            )),
            many => {
                let names: Vec<_> =
                    many.iter().map(|row| format!("{} ({})", text(row, "name"), text(row, "id"))).collect();
                Err(Failure::Usage(format!("give `--organization`, one of: {}", names.join(", "))))
            }
        }
    }

    /// Path of a project, by slug or id.
    pub(super) fn project(&self, name: &str) -> Result<String, Failure> {
        self.find_project(name)?.ok_or_else(|| {
            Failure::Missing(format!("there is no project `{name}`, or it is not yours; see `millrace project list`"))
        })
    }

    /// As [`Self::project`]; none if there is no such slug.
    pub(super) fn find_project(&self, name: &str) -> Result<Option<String>, Failure> {
        if is_id(name, "prj") {
            return Ok(Some(format!("/projects/{name}")));
        }
        let list = format!("{}/projects", self.organization()?);
        for lifecycle in ["active", "archived"] {
            let rows = self.all(&list, &[("q", Some(name)), ("lifecycle", Some(lifecycle))])?;
            if let Some(row) = rows.iter().find(|row| text(row, "slug") == name) {
                return Ok(Some(format!("/projects/{}", encoded(text(row, "id")))));
            }
        }
        Ok(None)
    }

    /// Path of a project, or of the organization without one.
    pub(super) fn owner(&self, project: Option<&str>) -> Result<String, Failure> {
        project.map_or_else(|| self.organization(), |name| self.project(name))
    }

    /// Shows rows as a table, or as a JSON list.
    pub(super) fn show_rows(&self, rows: &[Value], columns: &[Column]) -> Result<(), Failure> {
        if self.json { self.print(&format!("{}\n", json!(rows))) } else { self.print(&table(rows, columns)) }
    }

    /// Shows an object as lines, or as JSON.
    pub(super) fn show(&self, object: &Value) -> Result<(), Failure> {
        if self.json { self.print(&format!("{object}\n")) } else { self.print(&fields(object)) }
    }

    /// Says what was done; shows the answer instead to programs.
    pub(super) fn done(&self, said: &str, answer: &Value) -> Result<(), Failure> {
        if self.json { self.print(&format!("{answer}\n")) } else { self.print(&format!("{said}\n")) }
    }

    /// Says something to people only.
    pub(super) fn say(&self, said: &str) -> Result<(), Failure> {
        if self.json { Ok(()) } else { self.print(said) }
    }

    pub(super) fn print(&self, text: &str) -> Result<(), Failure> {
        out(text).map(drop).map_err(Failure::from)
    }
}

/// A field that is a text; empty when it is not.
pub(super) fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Whether a text has the form of an id of this kind.
pub(super) fn is_id(text: &str, prefix: &str) -> bool {
    let rest = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_'));
    rest.is_some_and(|rest| rest.len() == 20 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// An object of those fields that are set.
pub(super) fn object(pairs: &[(&str, Option<Value>)]) -> Value {
    pairs
        .iter()
        .filter_map(|(name, value)| Some(((*name).to_owned(), value.clone()?)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Where `millrace login` keeps its token.
pub(super) fn saved_token() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")))?;
    Some(config.join("millrace").join("admin-token"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slug_is_not_taken_for_an_id() {
        for (name, id) in [
            ("prj_0123456789abcdefghij", true),
            ("prj_0123456789abcdefghi", false),
            ("prj_0123456789abcdefghi/", false),
            ("prj-support", false),
            ("support", false),
        ] {
            assert_eq!(is_id(name, "prj"), id, "{name}");
        }
    }

    #[test]
    fn absent_flags_are_not_sent() {
        let body = object(&[("name", Some("x".into())), ("slug", None)]);
        assert_eq!(body, json!({"name": "x"}));
    }
}
