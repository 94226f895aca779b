//! Price tables as text: their form, and finding a row.
//!
//! A table stays the text that it is: only the places of its sections are kept, so one that nobody asks costs nothing.
//!
//! ```text
//! #millrace-prices 1 source=contracts date=2026-11-01 unit=usd_per_million_tokens
//! @openai hosts=api.openai.com
//! gpt-4o gpt-4o-####-##-##  in=2.50 out=10 read=1.25 context=128000
//! gpt-5.4                   in=2.50 out=15  over=272000 in=5 out=22.5
//! ```
//!
//! - The first line names the source, the day of the facts and the unit: `usd_per_million_tokens` with at most 6 decimals, or
//!   `pico_usd_per_token`. `rows=`, where it stands, must be the number of rows: then a cut file is noticed.
//! - `@` begins a provider, with the hosts at which it is called (`*` is any text) and `else=`, the provider whose rows hold
//!   where its own have none.
//! - A row has names, then prices. In a name `*` is any text and `#` a digit; a name without `*` beats one with it, else the
//!   first row wins.
//! - Prices: `in`, `out`, `read`, `write`, `write1h`, `audio_in`, `audio_out`, `reasoning`, `image_in`, `image_out`; and of one
//!   `request`, `search` or `image` made, or `audio_minute` heard (USD, or nano-USD beside pico-USD). `over=N` begins the prices of prompts of more than N tokens. `context`, `max_out` (tokens) and `since`
//!   (a date) describe the model.
//! - Other lines that begin with `#` are comments. Spaces and tabs are the same.

use std::{borrow::Cow, ops::Range, sync::Arc};

use crate::base::{NanoUsd, PicoUsd};

use super::{
    glob::fits,
    rates::{PriceClass, StatedPrices},
    tariff::{Price, PriceSource},
};

const MARK: &str = "#millrace-prices 1";

/// What is wrong with a table, and in which line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct PriceTableError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong, with what to do.
    pub message: String,
}

/// What the first line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceTableHead {
    /// Where the facts come from.
    pub source: Box<str>,
    /// The day of the facts.
    pub date: Box<str>,
    /// The day whose prices were taken, where the source knew prices of several days.
    pub as_of: Option<Box<str>>,
    rows: Option<usize>,
    unit: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Unit {
    PicoPerToken,
    #[default]
    UsdPerMillion,
}

/// A table of prices.
pub struct PriceTable {
    text: Cow<'static, str>,
    head: PriceTableHead,
    sections: Box<[Section]>,
    source: PriceSource,
}

/// The rows of one provider, as places in the text.
struct Section {
    head: Range<usize>,
    rows: Range<usize>,
    /// Line of `head`, from 1.
    line: usize,
}

/// One row.
pub struct PriceRow {
    /// What the model costs.
    pub price: Arc<Price>,
    /// Most tokens of prompt and answer together.
    pub context_window: Option<u64>,
    /// Most tokens of an answer.
    pub output_max: Option<u64>,
}

impl PriceTable {
    /// Takes a table; its rows are read when they are asked for, or by [`PriceTable::check`].
    ///
    /// # Errors
    /// The first line is no head.
    pub fn new(text: impl Into<Cow<'static, str>>, source: PriceSource) -> Result<Self, PriceTableError> {
        let text = text.into();
        let head = PriceTableHead::parse(&text).map_err(|message| PriceTableError { line: 1, message })?;
        let sections = sections(&text).into();
        Ok(Self { text, head, sections, source })
    }

    /// Reads every row, and finds every problem; the number of rows when there is none.
    ///
    /// # Errors
    /// All of them, in order of lines.
    pub fn check(&self) -> Result<usize, Vec<PriceTableError>> {
        let mut errors = Vec::new();
        let refuse = |line, message: &str| PriceTableError { line, message: message.to_owned() };
        let mut count = 0;
        let start = self.sections.first().map_or(self.text.len(), |section| section.head.start);
        for (index, line) in lines(self.text.get(..start).unwrap_or_default()) {
            errors.push(refuse(index + 1, &format!("`{}` stands before the first `@provider`", shown(line))));
        }
        for section in &self.sections {
            let name = self.name(section);
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
                errors.push(refuse(section.line, "`@` needs a provider in small letters"));
            }
            let known = |word: &str| word.starts_with("hosts=") || word.starts_with("else=");
            let words = self.text.get(section.head.clone()).unwrap_or_default().split_whitespace().skip(1);
            for word in words.filter(|word| !known(word)) {
                errors.push(refuse(section.line, &format!("unknown word `{}`; known: `hosts=`, `else=`", shown(word))));
            }
            for (index, line) in lines(self.text.get(section.rows.clone()).unwrap_or_default()) {
                count += 1;
                if let Err(message) = self.row(line) {
                    errors.push(refuse(section.line + index + 1, &message));
                }
            }
        }
        if errors.is_empty() && self.head.rows.is_some_and(|rows| rows != count) {
            errors.push(refuse(1, &format!("`rows=` says another number than the {count} rows of the file")));
        }
        if errors.is_empty() { Ok(count) } else { Err(errors) }
    }

    /// What the first line says.
    #[must_use]
    pub fn head(&self) -> &PriceTableHead {
        &self.head
    }

    /// Finds the row of a model among those of a provider. A row that cannot be read is no row: [`PriceTable::check`] tells.
    #[must_use]
    pub fn find(&self, provider: &str, model: &str) -> Option<PriceRow> {
        let mut by_wildcard = None;
        for section in self.sections.iter().filter(|section| self.name(section) == provider) {
            for (_, line) in lines(self.text.get(section.rows.clone())?) {
                for name in names(line).filter(|name| fits(name, model)) {
                    if !name.contains('*') {
                        return self.row(line).ok();
                    }
                    by_wildcard = by_wildcard.or(Some(line));
                }
            }
        }
        self.row(by_wildcard?).ok()
    }

    /// The provider whose rows hold where those of this one have none.
    #[must_use]
    pub fn fallback(&self, provider: &str) -> Option<&str> {
        let mut sections = self.sections.iter().filter(|section| self.name(section) == provider);
        sections.find_map(|section| self.word(section, "else="))
    }

    /// The provider that is called at a host.
    #[must_use]
    pub fn provider_at(&self, host: &str) -> Option<&str> {
        let is_at = |section: &&Section| {
            let hosts = self.word(section, "hosts=").unwrap_or_default();
            hosts.split(',').any(|pattern| !pattern.is_empty() && fits(pattern, host))
        };
        self.sections.iter().find(is_at).map(|section| self.name(section))
    }

    /// Every row: provider, names, and what the row says.
    pub fn rows(&self) -> impl Iterator<Item = (&str, Vec<&str>, PriceRow)> {
        self.sections.iter().flat_map(move |section| {
            let rows = self.text.get(section.rows.clone()).unwrap_or_default();
            let row = move |line| Some((self.name(section), names(line).collect(), self.row(line).ok()?));
            lines(rows).filter_map(move |(_, line)| row(line))
        })
    }

    fn name(&self, section: &Section) -> &str {
        let head = self.text.get(section.head.clone()).unwrap_or_default();
        head.split_whitespace().next().and_then(|word| word.strip_prefix('@')).unwrap_or_default()
    }

    fn word(&self, section: &Section, name: &str) -> Option<&str> {
        let head = self.text.get(section.head.clone())?;
        head.split_whitespace().find_map(|word| word.strip_prefix(name))
    }

    fn row(&self, line: &str) -> Result<PriceRow, String> {
        if names(line).next().is_none() {
            return Err("a row begins with the name of a model".to_owned());
        }
        let mut reading = Reading { unit: self.head.unit, ..Reading::default() };
        for word in line.split_whitespace().skip_while(|word| !word.contains('=')) {
            let (name, value) =
                word.split_once('=').ok_or_else(|| format!("`{}` stands behind prices", shown(word)))?;
            reading.read(name, value)?;
        }
        reading.finish(self.source, &self.head.date)
    }
}

/// A row as far as it is read.
#[derive(Default)]
struct Reading<'t> {
    unit: Unit,
    tiers: Vec<(u64, StatedPrices)>,
    base: StatedPrices,
    per_request: NanoUsd,
    per_search: NanoUsd,
    per_image: NanoUsd,
    per_audio_minute: NanoUsd,
    context_window: Option<u64>,
    output_max: Option<u64>,
    since: Option<&'t str>,
}

impl<'t> Reading<'t> {
    fn read(&mut self, name: &str, value: &'t str) -> Result<(), String> {
        let count = || value.parse::<u64>().map_err(|_| format!("`{name}=` takes a whole number"));
        match name {
            "over" => {
                let over = count()?;
                if self.tiers.last().is_some_and(|(last, _)| *last >= over) {
                    return Err("`over=` must ascend".to_owned());
                }
                self.tiers.push((over, StatedPrices::default()));
            }
            "context" => self.context_window = Some(count()?),
            "max_out" => self.output_max = Some(count()?),
            "since" if is_date(value) => self.since = Some(value),
            "since" => return Err("`since=` takes a date such as `2026-08-21`".to_owned()),
            "request" => self.per_request = self.unit.fee(value)?,
            "search" => self.per_search = self.unit.fee(value)?,
            "image" => self.per_image = self.unit.fee(value)?,
            "audio_minute" => self.per_audio_minute = self.unit.fee(value)?,
            _ => {
                let class = PriceClass::of_name(name).ok_or_else(|| {
                    let known = PriceClass::ALL.map(|class| format!("`{}=`", class.name())).join(", ");
                    format!(
                        "unknown price `{}`; known: {known}, `request=`, `search=`, `image=`, `audio_minute=`",
                        shown(name)
                    )
                })?;
                let place = self.tiers.last_mut().map_or(&mut self.base, |(_, stated)| stated);
                if place.get(class).is_some() {
                    return Err(format!("`{name}=` stands twice"));
                }
                *place = place.with(class, Some(self.unit.price(value)?));
            }
        }
        Ok(())
    }

    fn finish(self, source: PriceSource, date: &str) -> Result<PriceRow, String> {
        let price = Price::new(self.base, source, Some(self.since.unwrap_or(date)));
        let price = price.ok_or("a row needs `in=` and `out=`")?.with_request_fee(self.per_request);
        let price = price.with_search_fee(self.per_search).with_image_fee(self.per_image);
        let price = price.with_audio_minute(self.per_audio_minute);
        let price = self.tiers.into_iter().fold(price, |price, (over, stated)| price.with_tier(over, stated));
        Ok(PriceRow { price: Arc::new(price), context_window: self.context_window, output_max: self.output_max })
    }
}

impl Unit {
    fn price(self, text: &str) -> Result<PicoUsd, String> {
        match self {
            Self::PicoPerToken => {
                text.parse().map(PicoUsd).map_err(|_| format!("`{}` is no whole number of pico-USD", shown(text)))
            }
            Self::UsdPerMillion => {
                let nano = self.fee(text)?.units();
                // A millionth of so many nano-USD, in pico-USD.
                if nano % 1_000 == 0 { Ok(PicoUsd(nano / 1_000)) } else { Err("at most 6 decimals".to_owned()) }
            }
        }
    }

    fn fee(self, text: &str) -> Result<NanoUsd, String> {
        let fee = match self {
            Self::PicoPerToken => text.parse().ok().map(NanoUsd),
            Self::UsdPerMillion => text.parse().ok(),
        };
        let fee = fee.filter(|fee| *fee >= NanoUsd::ZERO);
        fee.ok_or_else(|| format!("`{}` is no price of 0 or more", shown(text)))
    }
}

impl PriceTableHead {
    fn parse(text: &str) -> Result<Self, String> {
        let line = text.lines().next().unwrap_or_default();
        let words = line.strip_prefix(MARK).filter(|rest| rest.starts_with([' ', '\t']));
        let words = words.ok_or_else(|| format!("a price table begins with `{MARK} source=... date=... unit=...`"))?;
        let word = |name: &str| words.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let needed = |name: &str| word(name).ok_or_else(|| format!("`{name}=` is missing"));
        let date = needed("date")?;
        let as_of = word("as_of");
        if [Some(date), as_of].into_iter().flatten().any(|date| !is_date(date)) {
            return Err("a date looks like `2026-08-21`".to_owned());
        }
        let unit = match needed("unit")? {
            "usd_per_million_tokens" => Unit::UsdPerMillion,
            "pico_usd_per_token" => Unit::PicoPerToken,
            _ => return Err("`unit=` is `usd_per_million_tokens` or `pico_usd_per_token`".to_owned()),
        };
        let rows = word("rows").map(str::parse).transpose().map_err(|_| "`rows=` takes a number".to_owned())?;
        Ok(Self { source: needed("source")?.into(), date: date.into(), as_of: as_of.map(Box::from), rows, unit })
    }
}

fn is_date(text: &str) -> bool {
    fits("####-##-##", text)
}

/// A word of a message, cut.
fn shown(word: &str) -> String {
    word.chars().take(40).collect()
}

/// The names of a row: they stand before its first price.
fn names(line: &str) -> impl Iterator<Item = &str> {
    line.split_whitespace().take_while(|word| !word.contains('='))
}

/// The lines that say something, with their number from 0.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with('#') && !line.trim().is_empty())
}

/// Where the sections begin and end.
fn sections(text: &str) -> Vec<Section> {
    let mut found: Vec<Section> = Vec::new();
    let mut at = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if line.starts_with('@') {
            if let Some(last) = found.last_mut() {
                last.rows.end = at;
            }
            let end = at + line.len();
            found.push(Section { head: at..end, rows: end..text.len(), line: index + 1 });
        }
        at += line.len();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "#millrace-prices 1 source=test date=2026-08-21 unit=usd_per_million_tokens";

    fn table(rows: &str) -> PriceTable {
        PriceTable::new(format!("{HEAD}\n{rows}"), PriceSource::File).unwrap()
    }

    #[test]
    fn row_is_found_by_its_whole_name_before_a_wildcard() {
        let table = table(
            "@openai hosts=api.openai.com,*.example.com else=other\n\
             # comment\n\
             gpt-*   in=1 out=2\n\
             \n\
             gpt-4o* in=3 out=4\n\
             GPT-4o gpt-4o-####  in=0.000001 out=10 read=1.25 request=0.005 search=0.01 image=0.04 image_in=3 image_out=30 context=10 max_out=7 since=2026-01-02\n\
             @other\n\
             gpt-4o  in=9 out=9  over=100 in=18\n",
        );
        assert_eq!(table.check(), Ok(4));
        for (provider, model, want) in [
            ("openai", "gpt-4o", Some(1)),
            ("openai", "gpt-4o-2026", Some(1)),
            ("openai", "gpt-4o-mini", Some(1_000_000)),
            ("openai", "o3", None),
            ("other", "gpt-4o", Some(9_000_000)),
            ("none", "gpt-4o", None),
        ] {
            let rate = table.find(provider, model).map(|row| row.price.rate(PriceClass::Input, 0).0);
            assert_eq!(rate, want, "{provider}/{model}");
        }
        let row = table.find("openai", "gpt-4o").unwrap();
        assert_eq!((row.context_window, row.output_max), (Some(10), Some(7)));
        assert_eq!((row.price.per_request(), row.price.date()), (NanoUsd(5_000_000), Some("2026-01-02")));
        assert_eq!((row.price.per_search(), row.price.per_image()), (NanoUsd(10_000_000), NanoUsd(40_000_000)));
        let pictures = [PriceClass::ImageInput, PriceClass::ImageOutput].map(|class| row.price.rate(class, 0).0);
        assert_eq!(pictures, [3_000_000, 30_000_000]);
        let row = table.find("other", "gpt-4o").unwrap();
        assert_eq!(row.price.rate(PriceClass::Input, 101), PicoUsd(18_000_000));
        assert_eq!(row.price.date(), Some("2026-08-21"));
        assert_eq!(table.provider_at("API.openai.com"), Some("openai"));
        assert_eq!(table.provider_at("eu.example.com"), Some("openai"));
        assert_eq!(table.provider_at("example.com"), None);
        assert_eq!((table.fallback("openai"), table.fallback("other")), (Some("other"), None));
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        for (rows, line, said) in [
            ("@openai\ngpt in=1\n", 3, "needs `in=` and `out=`"),
            ("@openai\n\ngpt in=1 out=x\n", 4, "`x` is no price"),
            ("@openai\ngpt in=-1 out=1\n", 3, "0 or more"),
            ("@openai\ngpt in=1.0000001 out=1\n", 3, "at most 6 decimals"),
            ("@openai\ngpt in=1 in=2 out=1\n", 3, "stands twice"),
            ("@openai\ngpt in=1 out=1 inn=3\n", 3, "unknown price `inn`"),
            ("@openai\ngpt in=1 out=1 gpt-4\n", 3, "stands behind prices"),
            ("@openai\nin=1 out=1\n", 3, "begins with the name"),
            ("@openai\ngpt in=1 out=1 search=-1\n", 3, "0 or more"),
            ("@openai\ngpt in=1 out=1 over=9 in=2 over=9 in=3\n", 3, "must ascend"),
            ("@openai\ngpt in=1 out=1 since=today\n", 3, "takes a date"),
            ("@openai\ngpt in=1 out=1 context=many\n", 3, "whole number"),
            ("gpt in=1 out=1\n", 2, "before the first"),
            ("@OpenAI\n", 2, "small letters"),
            ("@openai host=x\n", 2, "unknown word"),
        ] {
            let errors = table(rows).check().unwrap_err();
            assert_eq!(errors.len(), 1, "{rows}: {errors:?}");
            assert!(errors[0].line == line && errors[0].message.contains(said), "{rows}: {}", errors[0]);
        }
        for (head, said) in [
            ("", "begins with"),
            ("#millrace-prices 2 source=a date=2026-08-21 unit=pico_usd_per_token", "begins with"),
            ("#millrace-prices 1 date=2026-08-21 unit=pico_usd_per_token", "`source=` is missing"),
            ("#millrace-prices 1 source=a date=21.8.2026 unit=pico_usd_per_token", "a date looks"),
            ("#millrace-prices 1 source=a date=2026-08-21 unit=eur", "`unit=`"),
        ] {
            let error = PriceTable::new(head, PriceSource::File).err().unwrap();
            assert!(error.line == 1 && error.message.contains(said), "{head}: {error}");
        }
        let cut = format!("{HEAD} rows=2\n@openai\ngpt in=1 out=1\n");
        let errors = PriceTable::new(cut, PriceSource::File).unwrap().check().unwrap_err();
        assert!(errors[0].message.contains("another number than the 1 rows"), "{errors:?}");
    }
}
