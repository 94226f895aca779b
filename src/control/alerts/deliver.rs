//! Deliveries: tried, tried again, given up.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{site::webhook_of, webhook};
use crate::{
    base::{
        UnixTime,
        log::{Level, Value, emit},
        unix_time,
    },
    control::instance::Control,
    store::{Alert, AlertChannel, AlertDelivery, ChannelKind, DeliveryState},
};

/// How often deliveries are looked for when nobody rings.
const PERIOD: Duration = Duration::from_secs(1);
/// Deliveries on their way at once.
const AT_ONCE: usize = 16;
/// Tries of one delivery.
const TRIES: u32 = 5;
/// How long one try may take.
const TRY_MAX: Duration = Duration::from_secs(10);
/// Characters of a failure that are kept.
const ERROR_CHARS_MAX: usize = 300;

/// Why a try failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// Another try may help.
    Now(String),
    /// It will not.
    ForGood(String),
}

/// Delivers what is due until `shutdown` says so.
pub(super) async fn deliver_alerts(control: Arc<Control>, mut shutdown: watch::Receiver<bool>) {
    let mut under_way = JoinSet::new();
    let mut ids = HashSet::new();
    loop {
        tokio::select! {
            () = sleep(PERIOD) => {}
            () = control.alerting().rung() => {}
            Some(ended) = under_way.join_next() => {
                if let Ok(id) = ended {
                    ids.remove(&id);
                }
            }
            // An error means that the sender has gone, which ends the process as well.
            _ = shutdown.wait_for(|stop| *stop) => return,
        }
        if under_way.is_empty() {
            // A try that panicked has told no number.
            ids.clear();
        }
        let limit = u32::try_from(AT_ONCE * 2).unwrap_or(u32::MAX);
        let due = control.store().read(move |tx| tx.due_alert_deliveries(unix_time(), limit)).await;
        for delivery in due.unwrap_or_default() {
            if ids.len() < AT_ONCE && ids.insert(delivery.id) {
                under_way.spawn(try_and_note(Arc::clone(&control), delivery));
            }
        }
    }
}

/// One try; returns the number of the delivery when its outcome is stored, or could not be.
async fn try_and_note(control: Arc<Control>, delivery: AlertDelivery) -> u64 {
    let id = delivery.id;
    let alert = delivery.alert.clone();
    let Ok(Some(alert)) = control.store().read(move |tx| tx.alert(&alert)).await else { return id };
    let outcome = match timeout(TRY_MAX, attempt(&control, &alert, &delivery)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Failure::Now(format!("no answer within {} seconds", TRY_MAX.as_secs()))),
    };
    let after = after(delivery, outcome, unix_time());
    if after.state == DeliveryState::Failed {
        let fields = [("alert", Value::Text(after.alert.as_str())), ("reason", Value::Text(&after.error))];
        emit(Level::Warn, "a notice of an alert could not be delivered", &fields);
    }
    // Without a store the try is repeated: a receiver knows it by its number.
    let _ = control.store().write(move |tx| tx.update_alert_delivery(&after)).await;
    id
}

async fn attempt(control: &Control, alert: &Alert, delivery: &AlertDelivery) -> Result<(), Failure> {
    let gone = || Failure::ForGood("the rule has no such channel any more".to_owned());
    match delivery.channel {
        ChannelKind::Dashboard => Ok(()),
        ChannelKind::Webhook => {
            let url = webhook_of(alert).ok_or_else(gone)?;
            webhook::send(control, alert, url, delivery).await
        }
        ChannelKind::Email => {
            let to = alert.channels.iter().find_map(|channel| match channel {
                AlertChannel::Email(to) => Some(to.as_slice()),
                _ => None,
            });
            let mail = control.alerting().mail();
            let mail = mail.ok_or_else(|| Failure::ForGood("e-mail is not set up any more".to_owned()))?;
            mail.send(to.ok_or_else(gone)?, &delivery.payload).await.map_err(Failure::Now)
        }
    }
}

/// The delivery after a try: arrived, due again later, or given up.
fn after(mut delivery: AlertDelivery, outcome: Result<(), Failure>, now: UnixTime) -> AlertDelivery {
    delivery.attempts += 1;
    let (error, for_good) = match outcome {
        Ok(()) => {
            return AlertDelivery { state: DeliveryState::Delivered, error: String::new(), ..delivery };
        }
        Err(Failure::Now(error)) => (error, delivery.attempts >= TRIES),
        Err(Failure::ForGood(error)) => (error, true),
    };
    let error = error.chars().take(ERROR_CHARS_MAX).collect();
    if for_good {
        return AlertDelivery { state: DeliveryState::Failed, error, ..delivery };
    }
    // 2, 8, 32 and 128 seconds.
    let pause = Duration::from_secs(1 << (2 * delivery.attempts - 1).min(16));
    AlertDelivery { next_at: UnixTime(now.0.saturating_add(pause)), error, ..delivery }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Id;

    fn delivery() -> AlertDelivery {
        AlertDelivery {
            id: 1,
            notice: 1,
            alert: Id::stored("alr_1"),
            channel: ChannelKind::Webhook,
            payload: String::new(),
            state: DeliveryState::Pending,
            attempts: 0,
            next_at: UnixTime(Duration::ZERO),
            error: String::new(),
        }
    }

    #[test]
    fn tries_are_further_and_further_apart_and_end() {
        let now = UnixTime(Duration::from_secs(1_000));
        let mut tried = delivery();
        for pause in [2, 8, 32, 128] {
            tried = after(tried, Err(Failure::Now("refused".to_owned())), now);
            assert_eq!((tried.state, tried.next_at.seconds() - 1_000), (DeliveryState::Pending, pause));
        }
        let last = after(tried.clone(), Err(Failure::Now("refused".to_owned())), now);
        assert_eq!((last.state, last.attempts, last.error.as_str()), (DeliveryState::Failed, 5, "refused"));
        let arrived = after(tried, Ok(()), now);
        assert_eq!((arrived.state, arrived.error.as_str()), (DeliveryState::Delivered, ""));
        let denied = after(delivery(), Err(Failure::ForGood("denied".to_owned())), now);
        assert_eq!((denied.state, denied.attempts), (DeliveryState::Failed, 1));
    }
}
