//! Attempts of a request as JSON in its row.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    base::{NanoUsd, TokenCounts},
    store::record::AttemptRow,
    usage::Attempt,
};

/// The stored form. Figures that are zero are left out.
#[derive(Serialize, Deserialize)]
struct Kept {
    provider: String,
    model: String,
    target: String,
    credential: String,
    status: u16,
    outcome: String,
    us: u64,
    #[serde(default, skip_serializing_if = "is_empty")]
    tokens: Vec<u64>,
    cost: Option<i64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    maybe_billed: bool,
}

fn is_empty(tokens: &[u64]) -> bool {
    tokens.iter().all(|count| *count == 0)
}

/// Counts in their stored order, which only grows at its end. What all stand at 0 behind is not stored.
fn list(tokens: &TokenCounts) -> Vec<u64> {
    let mut all = vec![
        tokens.input,
        tokens.output,
        tokens.cache_read,
        tokens.cache_write,
        tokens.cache_write_1h,
        tokens.reasoning,
        tokens.audio_input,
        tokens.audio_output,
        tokens.image_input,
        tokens.image_output,
        tokens.images.into(),
        tokens.searches.into(),
        tokens.audio_millis,
    ];
    let end = all.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
    all.truncate(end);
    all
}

/// Counts of such a list. One that is shorter has 0 for the others.
fn counts(list: &[u64]) -> TokenCounts {
    let at = |place: usize| list.get(place).copied().unwrap_or(0);
    let small = |place: usize| u32::try_from(at(place)).unwrap_or(u32::MAX);
    TokenCounts {
        input: at(0),
        output: at(1),
        cache_read: at(2),
        cache_write: at(3),
        cache_write_1h: at(4),
        reasoning: at(5),
        audio_input: at(6),
        audio_output: at(7),
        image_input: at(8),
        image_output: at(9),
        images: small(10),
        searches: small(11),
        audio_millis: at(12),
    }
}

/// Writes attempts; none for a request whose row tells its one attempt.
pub(super) fn attempts_json(tried: Option<&[Attempt]>) -> Option<String> {
    let kept: Vec<Kept> = tried?.iter().map(|attempt| Kept::of(attempt.into())).collect();
    serde_json::to_string(&kept).ok()
}

/// Reads them. What cannot be read is as good as not stored: the row beside it still counts.
pub(super) fn attempts_of(json: &str) -> Vec<AttemptRow> {
    let kept: Vec<Kept> = serde_json::from_str(json).unwrap_or_default();
    kept.into_iter().map(Kept::row).collect()
}

impl Kept {
    fn of(attempt: AttemptRow) -> Self {
        Self {
            provider: attempt.provider,
            model: attempt.model,
            target: attempt.target,
            credential: attempt.credential,
            status: attempt.status,
            outcome: attempt.outcome,
            us: u64::try_from(attempt.duration.as_micros()).unwrap_or(u64::MAX),
            tokens: list(&attempt.tokens),
            cost: attempt.cost.map(|cost| cost.0),
            maybe_billed: attempt.maybe_billed,
        }
    }

    fn row(self) -> AttemptRow {
        AttemptRow {
            provider: self.provider,
            model: self.model,
            target: self.target,
            credential: self.credential,
            status: self.status,
            outcome: self.outcome,
            duration: Duration::from_micros(self.us),
            tokens: counts(&self.tokens),
            cost: self.cost.map(NanoUsd),
            maybe_billed: self.maybe_billed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{base::Labels, usage::Credential};

    #[test]
    fn attempts_come_back_as_they_were_stored() {
        let labels = Labels { provider: "p".into(), model: "m".into(), target: "t".into(), ..Labels::default() };
        let attempt = Attempt {
            labels: Arc::new(labels),
            credential: Credential::Own,
            status: 401,
            outcome: "auth",
            duration: Duration::from_micros(1_500),
            tokens: TokenCounts { input: 1, output: 2, audio_output: 8, searches: 9, ..TokenCounts::default() },
            cost: Some(NanoUsd(7)),
            maybe_billed: true,
        };
        let bare = Attempt { tokens: TokenCounts::default(), cost: None, maybe_billed: false, ..attempt.clone() };
        let json = attempts_json(Some(&[attempt.clone(), bare.clone()])).unwrap();
        let rows = attempts_of(&json);
        for (row, attempt) in rows.iter().zip([&attempt, &bare]) {
            assert_eq!((row.status, row.outcome.as_str(), row.duration), (401, "auth", attempt.duration));
            assert_eq!((row.tokens, row.cost, row.maybe_billed), (attempt.tokens, attempt.cost, attempt.maybe_billed));
            assert_eq!((row.provider.as_str(), row.model.as_str(), row.target.as_str()), ("p", "m", "t"));
            assert_eq!(row.credential, "own");
        }
        assert_eq!(rows.len(), 2);
        assert_eq!(attempts_json(None), None);
        assert!(attempts_of("not JSON").is_empty());
        // As versions that knew eight classes wrote them.
        let old = json.replace("[1,2,0,0,0,0,0,8,0,0,0,9]", "[1,2,0,0,0,0,0,8]");
        let want = TokenCounts { searches: 0, ..attempt.tokens };
        assert_eq!(attempts_of(&old).first().map(|row| row.tokens), Some(want));
    }
}
