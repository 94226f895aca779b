//! Prices of organizations in SQLite.

use rusqlite::params;

use super::{columns::Json, tx::SqliteTx};
use crate::{
    base::Id,
    store::{
        record::OrganizationPrices,
        tx::{Outcome, Prices},
    },
};

impl Prices for SqliteTx<'_> {
    fn organization_prices(&self, organization: &Id) -> Outcome<Option<OrganizationPrices>> {
        let sql = "SELECT organization, prices, changed_by, changed_at, revision FROM organization_prices \
             WHERE organization = ?";
        self.first(sql, [organization], |columns| {
            Ok(OrganizationPrices {
                organization: columns.take()?,
                prices: columns.list()?,
                changed_by: columns.take()?,
                changed_at: columns.take()?,
                revision: columns.take()?,
            })
        })
    }

    fn put_organization_prices(&mut self, row: &OrganizationPrices) -> Outcome<()> {
        let prices = Json(&row.prices);
        if row.revision == 0 {
            return self.change(
                "INSERT INTO organization_prices (organization, prices, changed_by, changed_at, revision) \
                 VALUES (?, ?, ?, ?, 1) ON CONFLICT DO NOTHING",
                params![row.organization, prices, row.changed_by, row.changed_at],
            );
        }
        self.change(
            "UPDATE organization_prices SET prices = ?, changed_by = ?, changed_at = ?, revision = revision + 1 \
             WHERE organization = ? AND revision = ?",
            params![prices, row.changed_by, row.changed_at, row.organization, row.revision],
        )
    }
}
