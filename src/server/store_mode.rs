//! What is stored: opened at the start, and the API over it.

use std::{path::PathBuf, sync::Arc};

use crate::{
    admin::{Api, RateLimits},
    base::{
        Id, Secret,
        log::{Level, emit},
    },
    config::Server,
    control::{
        Control, ControlError, ControlParts, FileProjects, Pepper, Publisher, Vault, admit_operator,
        default_organization, first_of, has_pepper, load, open_pepper,
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
        let organization = default_organization(&store).await?;
        match std::env::var(OPERATOR_VARIABLE) {
            Ok(token) => admit_operator(&store, &organization, &Secret::new(token)).await?,
            Err(_) => {
                let said = "`MILLRACE_ADMIN_TOKEN` is not set: only tokens that were made before may use the admin API";
                emit(Level::Info, said, &[]);
            }
        }
        Ok(Self { store, vault, pepper, organization })
    }

    /// Compiles everything that is stored. What cannot be compiled is reported, and breaks its own project only.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn first_snapshot(&self, registries: &Registries) -> Result<Snapshot, ServerError> {
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
    ) -> Result<Arc<Api>, ServerError> {
        let parts =
            ControlParts { store: self.store, vault: Arc::new(self.vault), pepper: self.pepper, publisher, files };
        let control = Arc::new(Control::new(parts));
        let authority = Arc::clone(&control);
        let api = Api::new(control, authority, limits);
        api.map(Arc::new).map_err(|error| ControlError::from(error).into())
    }
}
