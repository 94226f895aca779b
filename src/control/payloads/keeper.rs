//! Takes what was said from the pump, seals it, stores it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use super::super::{error::ControlError, instance::Control, ledger::project_of, sealed_keys::SealedKeys, vault::Vault};
use super::{
    cipher::{PayloadText, ProjectKey, make_key},
    redact::Redactor,
};
use crate::{
    base::{
        Id,
        log::{Level, Value, emit},
    },
    store::{StoredPayload, Tx},
    usage::{Payload, Record},
};

/// Payloads of one round at most; between two the reader threads serve others.
const BATCH_MAX: usize = 64;
/// Time from the first payload to its round: more come together.
const PACE: Duration = Duration::from_millis(50);
/// Wait before the next try when the store takes nothing.
const RETRY: Duration = Duration::from_millis(250);
/// How long the last payloads may take at a stop.
const CLOSE_MAX: Duration = Duration::from_secs(3);

/// What waits to be sealed. One in a process.
#[derive(Default)]
pub struct Payloads {
    waiting: Mutex<Vec<Waiting>>,
    bell: Notify,
    stored: AtomicU64,
    failing: AtomicBool,
}

/// One request with its answer, in clear.
struct Waiting {
    /// All but the seal.
    row: StoredPayload,
    payload: Arc<Payload>,
}

impl Payloads {
    /// Takes what a request said, if it was kept. Never waits: how much may wait was decided when it was copied.
    pub fn note(&self, record: &Record) {
        let Some(payload) = &record.payload else { return };
        let row = StoredPayload {
            project: project_of(record.caller.as_deref(), record.labels.as_deref()).to_owned(),
            at: record.at,
            request_id: record.request_id.as_str().to_owned(),
            member: record.caller.as_ref().and_then(|caller| caller.member.as_deref()).unwrap_or_default().to_owned(),
            sealed: Vec::new(),
        };
        self.waiting().push(Waiting { row, payload: Arc::clone(payload) });
        self.bell.notify_one();
    }

    /// Payloads that were stored since the start.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The oldest that wait.
    fn next(&self) -> Arc<Vec<Waiting>> {
        let mut waiting = self.waiting();
        let count = waiting.len().min(BATCH_MAX);
        Arc::new(waiting.drain(..count).collect())
    }
}

impl Control {
    /// Stores everything that waits, as long as the store takes it; returns whether something was stored.
    async fn store_payloads(&self) -> Result<bool, ControlError> {
        let batch = self.payloads().next();
        if batch.is_empty() {
            return Ok(false);
        }
        match self.store_batch(&batch).await {
            Ok(count) => {
                self.payloads().stored.fetch_add(count, Ordering::Relaxed);
                self.payloads().failing.store(false, Ordering::Relaxed);
                Ok(true)
            }
            Err(error) => {
                // Once, until it works again.
                if !self.payloads().failing.swap(true, Ordering::Relaxed) {
                    let said = "prompts and answers cannot be stored; new ones are dropped when too many wait";
                    emit(Level::Error, said, &[("reason", Value::Text(&error.to_string()))]);
                }
                // Back in front: they are the oldest.
                if let Ok(batch) = Arc::try_unwrap(batch) {
                    self.payloads().waiting().splice(..0, batch);
                }
                Err(error)
            }
        }
    }

    async fn store_batch(&self, batch: &Arc<Vec<Waiting>>) -> Result<u64, ControlError> {
        let mut projects: Vec<Id> = batch.iter().map(|waiting| Id::stored(&waiting.row.project)).collect();
        projects.sort();
        projects.dedup();
        let vault = self.vault();
        let stored = self.store().write(move |tx| kept_by(tx, &vault, &projects)).await?;
        let (vault, shared) = (self.vault(), Arc::clone(batch));
        let sealing = tokio::task::spawn_blocking(move || sealed(&vault, &stored, &shared));
        let Sealed { rows, lost } = sealing.await.unwrap_or_else(|_| Sealed { rows: Vec::new(), lost: batch.len() });
        (0..lost).for_each(|_| self.shared().payloads.count_dropped());
        self.store().write(move |tx| insert(tx, &rows)).await
    }
}

/// What is needed to seal for one project.
struct Kept {
    key: Vec<u8>,
    secrets: SealedKeys,
}

/// Reads keys and secrets of projects; makes the key of one that has none. Projects that were deleted have none.
fn kept_by(tx: &mut dyn Tx, vault: &Vault, projects: &[Id]) -> Result<HashMap<String, Kept>, ControlError> {
    let mut found = HashMap::new();
    for id in projects {
        let Some(project) = tx.project(id)? else { continue };
        let key = match tx.payload_key(id.as_str())? {
            Some(key) => key,
            None => {
                let made = make_key(vault, id.as_str()).map_err(|error| ControlError::Internal(error.to_string()))?;
                tx.insert_payload_key(id.as_str(), &made)?;
                made
            }
        };
        found.insert(id.as_str().to_owned(), Kept { key, secrets: SealedKeys::read(tx, &project)? });
    }
    Ok(found)
}

/// What can be stored of a round.
struct Sealed {
    rows: Vec<StoredPayload>,
    /// Those that cannot be sealed.
    lost: usize,
}

/// Takes secrets out and seals. A project whose key does not open loses its own payloads, and says so.
fn sealed(vault: &Vault, stored: &HashMap<String, Kept>, batch: &[Waiting]) -> Sealed {
    let mut tools = HashMap::new();
    for (project, kept) in stored {
        let opened = kept.secrets.open(vault);
        let values = opened.secrets.values().map(|secret| secret.value.reveal());
        let keys = opened.provider_keys.iter().chain(&opened.platform_keys).map(|key| key.value.reveal());
        let redactor = Redactor::of(values.chain(keys));
        let key = ProjectKey::open(vault, project, &kept.key);
        if let Err(error) = &key {
            let fields = [("project_id", Value::Text(project)), ("reason", Value::Text(&error.to_string()))];
            emit(Level::Error, "prompts and answers of a project are lost: they cannot be sealed", &fields);
        }
        tools.insert(project.as_str(), (key, redactor));
    }
    let mut sealed = Sealed { rows: Vec::with_capacity(batch.len()), lost: 0 };
    for Waiting { row, payload } in batch {
        // A project that was deleted meanwhile.
        let Some((key, redactor)) = tools.get(row.project.as_str()) else { continue };
        let [request, answer] =
            [&payload.request, &payload.answer].map(|text| (redactor.clean(&text.bytes, text.is_cut()), text));
        let text = PayloadText {
            redacted: request.0.count + answer.0.count,
            request: String::from_utf8_lossy(&request.0.text).into_owned(),
            request_bytes: request.1.bytes_total,
            request_is_cut: request.1.is_cut(),
            answer: String::from_utf8_lossy(&answer.0.text).into_owned(),
            answer_bytes: answer.1.bytes_total,
            answer_is_cut: answer.1.is_cut(),
        };
        let mut row = row.clone();
        match key.as_ref().map(|key| key.seal(&mut row, &text)) {
            Ok(Ok(())) => sealed.rows.push(row),
            _ => sealed.lost += 1,
        }
    }
    sealed
}

/// Stores rows whose project still has a key; one that was deleted meanwhile has none.
fn insert(tx: &mut dyn Tx, rows: &[StoredPayload]) -> Result<u64, ControlError> {
    let mut count = 0;
    for row in rows {
        if tx.payload_key(&row.project)?.is_some() {
            tx.insert_payload(row)?;
            count += 1;
        }
    }
    Ok(count)
}

/// Stores what comes until `shutdown` says so. What waits then is for [`Control::close_payloads`].
pub async fn keep_payloads(control: Arc<Control>, mut shutdown: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = control.payloads().bell.notified() => {}
            // An error means that the sender has gone, which ends the process as well.
            _ = shutdown.wait_for(|stop| *stop) => return,
        }
        sleep(PACE).await;
        loop {
            match control.store_payloads().await {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => sleep(RETRY).await,
            }
            if *shutdown.borrow() {
                return;
            }
        }
    }
}

impl Control {
    /// Stores what waits at the end of the process, for 3 seconds at most. Nothing may be noted any more.
    pub async fn close_payloads(&self) {
        let all = async {
            loop {
                match self.store_payloads().await {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(_) => sleep(RETRY).await,
                }
            }
        };
        if timeout(CLOSE_MAX, all).await.is_err() {
            let count = u64::try_from(self.payloads().waiting().len()).unwrap_or(u64::MAX);
            emit(Level::Error, "prompts and answers were lost at shutdown", &[("payloads", Value::Uint(count))]);
        }
    }
}
