//! `/api/v1/problems`: what is wrong with manifests.

use std::{fmt, sync::Arc};

use axum::{Json, extract::State, http::Uri};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::{Admin, openapi::BadRequest, request::Params},
    Items,
};
use crate::{ingress, manifest::Standing};

/// Something wrong in a manifest. A file with an error counts as it was when it was last good.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ManifestProblem)]
pub(crate) struct ProblemView {
    /// What it means for the manifest.
    #[schema(examples("error", "warning", "note"))]
    severity: &'static str,
    /// The file.
    file: String,
    /// The line, from 1.
    line: u32,
    /// The character on that line, from 1.
    column: u32,
    /// Path of the field, such as `spec.filters[1].exact`; empty when it is about the file.
    field: String,
    /// The rule that is broken.
    message: String,
    /// What was probably meant.
    suggestion: Option<String>,
    /// When it was first seen, in RFC 3339.
    since: String,
    /// The same on one line.
    #[serde(skip)]
    line_of_text: String,
}

impl ProblemView {
    pub(crate) fn of(standing: &Standing) -> Self {
        let problem = &standing.problem;
        Self {
            severity: problem.severity.as_str(),
            file: problem.file.display().to_string(),
            line: problem.position.line,
            column: problem.position.column,
            field: problem.field.clone(),
            message: problem.message.clone(),
            suggestion: problem.suggestion.clone(),
            since: standing.since.to_string(),
            line_of_text: problem.to_string(),
        }
    }
}

impl fmt::Display for ProblemView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line_of_text)
    }
}

/// Lists what is wrong with manifests, in the order of files and lines.
#[utoipa::path(
    get,
    path = "/api/v1/problems",
    operation_id = "listProblems",
    tag = "resources",
    responses(
        (status = 200, description = "the problems", body = Items<ProblemView>),
        BadRequest,
    )
)]
pub(crate) async fn list(
    State(admin): State<Arc<Admin>>,
    uri: Uri,
) -> Result<Json<Items<ProblemView>>, ingress::Problem> {
    Params::read(uri.query(), &[])?;
    let inventory = admin.control.inventory.load();
    Ok(Json(inventory.problems.iter().map(ProblemView::of).collect()))
}
