//! What is stored: opened at the start, and the API over it.

use std::{env::VarError, io::Write as _, path::PathBuf, sync::Arc};

use crate::{
    admin::{Api, RateLimits},
    base::{Id, Secret},
    config::Server,
    control::{
        Control, ControlError, ControlParts, FileProjects, Mail, Pepper, Publisher, Vault, first_of, has_pepper, load,
        open_egress, open_pepper, prepare_first_start,
    },
    snapshot::{Registries, Snapshot},
    store::Store,
};

use super::error::ServerError;

const STORE_FILE: &str = "millrace.db";
const MASTER_KEY_FILE: &str = "master.key";
const MASTER_KEY_VARIABLE: &str = "MILLRACE_MASTER_KEY_FILE";
const OPERATOR_VARIABLE: &str = "MILLRACE_ADMIN_TOKEN";

/// The open store and its keys.
pub(super) struct Kept {
    store: Store,
    vault: Vault,
    pepper: Pepper,
    /// The organization that exists from the start.
    pub(super) organization: Id,
}

impl Kept {
    /// Opens the store of the data directory; makes it, its master key and the organization `default` at the first start.
    ///
    /// # Errors
    /// The store's or the vault's, with what to do.
    pub(super) async fn open(server: &Server) -> Result<Self, ServerError> {
        let file = server.data_dir.join(STORE_FILE);
        let store = Store::open(&file).map_err(ControlError::from)?;
        let key_file = std::env::var_os(MASTER_KEY_VARIABLE);
        let key_file = key_file.map_or_else(|| server.data_dir.join(MASTER_KEY_FILE), PathBuf::from);
        let store_is_new = !has_pepper(&store).await?;
        let vault = Vault::open(&key_file, store_is_new).map_err(|error| ServerError::Limits(error.to_string()))?;
        let pepper = open_pepper(&store, &vault).await?;
        let first = prepare_first_start(&store, token_of_environment()?).await?;
        if let Some(token) = &first.setup_token {
            print_setup_token(token)?;
        }
        let organization = first.organization;
        Ok(Self { store, vault, pepper, organization })
    }

    /// Where everything is kept.
    pub(super) fn store(&self) -> Store {
        self.store.clone()
    }

    /// Compiles everything that is stored. What cannot be compiled is reported, and breaks its own project only.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn first_snapshot(&self, registries: &Registries) -> Result<Snapshot, ServerError> {
        open_egress(&self.store, registries).await?;
        let edit = load(&self.store, (&self.vault, &self.pepper), registries).await?;
        Ok(first_of(edit, registries))
    }

    /// Puts the control plane and its API over the store.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub(super) fn api(
        self,
        publisher: Arc<Publisher>,
        files: Option<Arc<FileProjects>>,
        limits: RateLimits,
        mail: Option<Mail>,
    ) -> Result<Arc<Api>, ServerError> {
        let parts =
            ControlParts { store: self.store, vault: Arc::new(self.vault), pepper: self.pepper, publisher, files };
        let control = Arc::new(Control::new(parts).with_mail(mail));
        let authority = Arc::clone(&control);
        let api = Api::new(control, authority, limits);
        api.map(Arc::new).map_err(|error| ControlError::from(error).into())
    }
}

/// The token that whoever starts the process hands to the first operator.
///
/// # Errors
/// [`ServerError::Limits`] when it is not text.
fn token_of_environment() -> Result<Option<Secret>, ServerError> {
    match std::env::var(OPERATOR_VARIABLE) {
        Ok(token) => Ok(Some(Secret::new(token))),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => {
            Err(ServerError::Limits(format!("`{OPERATOR_VARIABLE}` must be visible ASCII characters")))
        }
    }
}

/// Shows the set-up token to whoever sees standard error, and to nobody else: it is in no log.
///
/// # Errors
/// When standard error cannot be written: nobody could enter then.
fn print_setup_token(token: &Secret) -> Result<(), ServerError> {
    let said = format!(
        "millrace: there is no operator yet. Set-up token, for `millrace setup`, valid once and until the next start:\n\
         {}\n",
        token.reveal()
    );
    let written = std::io::stderr().lock().write_all(said.as_bytes());
    written.map_err(|error| ServerError::Limits(format!("standard error cannot be written: {error}")))
}
