//! `catchment check`: everything that is wrong with manifests, all at once.

use std::{fmt, path::PathBuf};

use serde::Serialize;

use crate::{
    cli::{CheckArgs, Console, Failure},
    manifest::{self, Problem, Severity, Snapshot},
};

/// Reads manifests and prints every problem, one per line and a summary, or one JSON document.
///
/// # Errors
///
/// [`Failure::Reported`] when any problem is an error; warnings and notes are printed, but are no
/// failure. [`Failure::Failed`] for a path that is not there or not readable.
pub fn run(args: CheckArgs, console: &Console) -> Result<(), Failure> {
    let snapshot = load(&args.paths)?;
    let report = Report::new(&snapshot);
    if console.is_json() {
        console.document(&report)?;
    } else {
        console.print(&report.to_string())?;
    }
    if report.errors == 0 { Ok(()) } else { Err(Failure::Reported) }
}

fn load(paths: &[PathBuf]) -> Result<Snapshot, Failure> {
    manifest::load(paths).map_err(|error| Failure::Failed(error.to_string()))
}

/// What was found, as `--output json` has it.
#[derive(Debug, Serialize)]
struct Report<'a> {
    resources: usize,
    errors: usize,
    warnings: usize,
    problems: Vec<&'a Problem>,
}

impl<'a> Report<'a> {
    fn new(snapshot: &'a Snapshot) -> Self {
        let problems: Vec<&Problem> = snapshot.problems.iter().map(|it| &it.problem).collect();
        let count = |severity| problems.iter().filter(|it| it.severity == severity).count();
        Self {
            resources: snapshot.resources.len(),
            errors: count(Severity::Error),
            warnings: count(Severity::Warning),
            problems,
        }
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{problem}")?;
        }
        let counted = |count: usize, thing: &str| {
            format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
        };
        write!(f, "{}, {}", counted(self.resources, "resource"), counted(self.errors, "problem"))?;
        match self.warnings {
            0 => writeln!(f),
            warnings => writeln!(f, ", {}", counted(warnings, "warning")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const GOOD: &str =
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: default}\n";

    fn check(text: &str) -> Snapshot {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.yaml"), text).unwrap();
        load(&[folder.path().to_owned()]).unwrap()
    }

    /// The report without the folder's name, and its errors.
    fn report(text: &str) -> (String, usize) {
        let snapshot = check(text);
        let report = Report::new(&snapshot);
        let lines = report.to_string();
        let lines = lines.lines().map(|line| line.rsplit_once('/').map_or(line, |(_, line)| line));
        (lines.collect::<Vec<_>>().join("\n"), report.errors)
    }

    #[test]
    fn good_manifests_are_counted() {
        assert_eq!(report(GOOD), ("1 resource, 0 problems".to_owned(), 0));
    }

    #[test]
    fn a_problem_is_a_line_and_makes_it_fail() {
        let expected = "a.yaml:1:1: metadata.name: is required\n\
                        a.yaml:3:1: metdata: unknown field (did you mean metadata?)\n\
                        0 resources, 2 problems";
        assert_eq!(report(&GOOD.replace("metadata", "metdata")), (expected.to_owned(), 2));
    }

    #[test]
    fn a_warning_is_no_failure() {
        let (lines, errors) = report("apiVersion: v1\nkind: Service\n");
        assert!(lines.ends_with("0 resources, 0 problems, 1 warning"), "{lines}");
        assert_eq!(errors, 0);
    }

    #[test]
    fn json_says_the_same() {
        let snapshot = check("apiVersion: v1\nkind: Secrets\n");
        let report = serde_json::to_value(Report::new(&snapshot)).unwrap();
        let file = report["problems"][0]["file"].as_str().unwrap().to_owned();
        assert!(file.ends_with("/a.yaml"));
        let expected = serde_json::json!({
            "resources": 0,
            "errors": 1,
            "warnings": 0,
            "problems": [{
                "severity": "error",
                "file": file,
                "line": 2,
                "column": 7,
                "field": "kind",
                "message": "unknown kind Secrets",
                "suggestion": "Secret",
            }],
        });
        assert_eq!(report, expected);
    }

    #[test]
    fn a_path_that_is_not_there_is_wrong_usage() {
        let failure = load(&[PathBuf::from("/nowhere/at/all")]).unwrap_err();
        assert!(matches!(failure, Failure::Failed(_)));
    }
}
