//! Prices of all known models: built in, or from a file.
//!
//! The rows of an operator's own file win over those that are built in. What was found once is kept, so that a thousand projects
//! with one model share one price.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use super::{
    table::{PriceRow, PriceTable},
    tariff::{Price, PriceSource},
};

static BUILT_IN_TEXT: &str = include_str!("catalogue.tsv");

/// Most models that are remembered; beyond them the memory starts anew.
const FOUND_MAX: usize = 4_096;

/// What is known about a model.
#[derive(Debug, Clone)]
pub struct ListedModel {
    /// What it costs.
    pub price: Arc<Price>,
    /// Most tokens of prompt and answer together, where the table says it.
    pub context_window: Option<u64>,
    /// Most tokens of an answer, where the table says it.
    pub output_max: Option<u64>,
}

/// Prices by provider and model.
#[derive(Default)]
pub struct Catalogue {
    file: Option<Arc<PriceTable>>,
    found: Mutex<HashMap<Box<str>, Option<ListedModel>>>,
}

impl Catalogue {
    /// The rows that are built in, below those of the operator's file if there is one.
    #[must_use]
    pub fn new(file: Option<Arc<PriceTable>>) -> Self {
        Self { file, found: Mutex::default() }
    }

    /// The table that is built in; none only if the build is broken, which a test rules out.
    #[must_use]
    pub fn built_in() -> Option<&'static PriceTable> {
        static TABLE: OnceLock<Option<PriceTable>> = OnceLock::new();
        TABLE.get_or_init(|| PriceTable::new(BUILT_IN_TEXT, PriceSource::Catalogue).ok()).as_ref()
    }

    /// The operator's file.
    #[must_use]
    pub fn file(&self) -> Option<&Arc<PriceTable>> {
        self.file.as_ref()
    }

    /// Finds what is known about a model of a provider, by the names that a configuration uses.
    #[must_use]
    pub fn lookup(&self, provider: &str, model: &str) -> Option<ListedModel> {
        // Names of embedding models of Google begin so in configurations, and in no table.
        let model = model.strip_prefix("models/").unwrap_or(model);
        let key = format!("{provider}/{model}").into_boxed_str();
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = found.get(&key) {
            return known.clone();
        }
        let row = self.search(provider, model);
        let listed = row.map(|row| ListedModel {
            price: row.price,
            context_window: row.context_window,
            output_max: row.output_max,
        });
        if found.len() >= FOUND_MAX {
            found.clear();
        }
        found.insert(key, listed.clone());
        listed
    }

    /// The price of a model of a provider.
    #[must_use]
    pub fn find(&self, provider: &str, model: &str) -> Option<Arc<Price>> {
        self.lookup(provider, model).map(|listed| listed.price)
    }

    /// Most tokens of one answer, where a table says it.
    #[must_use]
    pub fn max_output_tokens(&self, provider: &str, model: &str) -> Option<u64> {
        self.lookup(provider, model)?.output_max
    }

    /// The provider that is called at a host, under the name of the tables.
    #[must_use]
    pub fn provider_at(&self, host: &str) -> Option<&str> {
        self.tables().find_map(|table| table.provider_at(host))
    }

    fn search(&self, provider: &str, model: &str) -> Option<PriceRow> {
        let in_tables = |provider: &str| self.tables().find_map(|table| table.find(provider, model));
        in_tables(provider).or_else(|| in_tables(self.tables().find_map(|table| table.fallback(provider))?))
    }

    fn tables(&self) -> impl Iterator<Item = &PriceTable> {
        self.file.iter().map(|table| &**table).chain(Self::built_in())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::{NanoUsd, PicoUsd},
        usage::PriceClass,
    };

    #[test]
    fn built_in_table_is_whole_and_every_row_can_be_found() {
        let table = Catalogue::built_in().unwrap();
        assert!(table.check().unwrap() > 1_000);
        for (provider, names, row) in table.rows() {
            for name in names.into_iter().filter(|name| !name.contains(['*', '#'])) {
                let found = table.find(provider, name).unwrap();
                // The list names a few models twice; the first row counts.
                assert!(found.price.date().is_some(), "{provider}/{name}");
                assert!(row.price.source() == PriceSource::Catalogue, "{provider}/{name}");
            }
        }
    }

    #[test]
    fn models_are_found_under_the_names_that_people_use() {
        let catalogue = Catalogue::default();
        for (provider, model, want) in [
            ("openai", "gpt-4o-mini", Some(150_000)),
            ("openai", "gpt-4o-mini-2024-07-18", Some(150_000)),
            ("openai", "GPT-4o-Mini", Some(150_000)),
            ("openai", "text-embedding-3-small", Some(20_000)),
            ("openai", "my-own-model", None),
            ("anthropic", "claude-sonnet-4-5-20250929", Some(3_000_000)),
            ("google-genai", "models/gemini-embedding-001", Some(150_000)),
            ("google-genai", "claude-sonnet-4-5@20250929", Some(3_000_000)),
            ("azure", "gpt-4.1-mini", Some(400_000)),
            ("openrouter", "openai/gpt-4o-mini", Some(150_000)),
            ("mock", "gpt-4o-mini", Some(0)),
            ("nobody", "gpt-4o-mini", None),
        ] {
            let rate = catalogue.find(provider, model).map(|price| price.rate(PriceClass::Input, 0).0);
            assert_eq!(rate, want, "{provider}/{model}");
        }
        assert_eq!(catalogue.provider_at("api.together.xyz"), Some("together"));
        assert_eq!(catalogue.provider_at("models.example.com"), None);
    }

    #[test]
    fn models_paid_by_the_minute_have_a_price() {
        let price = Catalogue::default().find("openai", "whisper-1").unwrap();
        assert_eq!((price.per_audio_minute(), price.rate(PriceClass::Input, 0)), (NanoUsd(6_000_000), PicoUsd(0)));
        assert!(!price.is_free());
    }

    #[test]
    fn rows_of_the_file_win_and_the_others_stay() {
        let text = "#millrace-prices 1 source=contract date=2026-11-01 unit=usd_per_million_tokens\n\
                    @openai\ngpt-4o-mini in=0.1 out=0.2 max_out=99\n@own hosts=models.example.com\nx in=0 out=0\n";
        let catalogue = Catalogue::new(Some(Arc::new(PriceTable::new(text, PriceSource::File).unwrap())));
        let price = catalogue.find("openai", "gpt-4o-mini").unwrap();
        assert_eq!((price.rate(PriceClass::Input, 0), price.source()), (PicoUsd(100_000), PriceSource::File));
        assert_eq!(catalogue.max_output_tokens("openai", "gpt-4o-mini"), Some(99));
        assert_eq!(catalogue.find("openai", "gpt-4o").unwrap().source(), PriceSource::Catalogue);
        assert!(catalogue.find("own", "x").unwrap().is_free());
        assert_eq!(catalogue.provider_at("models.example.com"), Some("own"));
    }

    #[test]
    fn one_price_is_shared_by_all_who_ask() {
        let catalogue = Catalogue::default();
        let first = catalogue.find("openai", "gpt-4o").unwrap();
        assert!(Arc::ptr_eq(&first, &catalogue.find("openai", "gpt-4o").unwrap()));
    }
}
