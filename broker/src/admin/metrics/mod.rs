//! `/metrics`: everything that is counted, in the OpenMetrics text format.
//!
//! `table` has every metric with its name, labels and meaning, `rows` writes them; `scrape` gathers
//! the numbers of one moment; `process` asks the operating system.

mod process;
mod rows;
mod scrape;
mod table;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use axum::{
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    registry::Registry,
};

use super::{Admin, openapi::BadRequest, request::Params};
use crate::ingress::Problem;
use rows::Rows;
use scrape::Scrape;
use table::families;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Shows all metrics.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "metrics",
    responses(
        (status = 200, description = "OpenMetrics 1.0 text", body = String, content_type = "application/openmetrics-text"),
        BadRequest,
    )
)]
pub(super) async fn metrics(
    State(admin): State<Arc<Admin>>,
    uri: Uri,
) -> Result<Response, Problem> {
    Params::read(uri.query(), &[])?;
    let books = admin.control.books().await;
    let scrape = Scrape::new(&admin.control, books, admin.process.started_at);
    let text = encode(scrape).map_err(|error| {
        let detail = format!("the metrics cannot be written: {error}");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    })?;
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response())
}

fn encode(scrape: Scrape) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(scrape));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in families() {
            let unit = family.unit.as_ref();
            let metric = encoder.encode_descriptor(family.name, family.help, unit, family.kind)?;
            (family.rows)(self, &mut Rows::new(metric, family.labels))?;
        }
        Ok(())
    }
}
