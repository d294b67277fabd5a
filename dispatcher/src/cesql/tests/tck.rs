//! The compatibility kit of the specification: `cesql_tck` in the folder that `CATCHMENT_VECTORS`
//! names, from `cesql/cesql_tck` of cloudevents/spec.

use std::collections::BTreeMap;
use std::{env, fs, path::Path};

use serde::Deserialize;

use super::*;

/// Cases that this engine answers differently, and the sentence that decides.
const EXCEPTIONS: &[(&str, &str, &str)] = &[(
    "not_operator",
    "Invalid int cast",
    "3.7: \"Integer -> Boolean: Returns `false` if the integer is `0`, and `true` otherwise\", which \
     engines MUST support: NOT 10 is false, without an error",
)];

/// How many cases the kit has.
const CASES: usize = 275;

#[derive(Deserialize)]
struct Suite {
    tests: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    name: String,
    expression: Scalar,
    result: Option<Scalar>,
    error: Option<String>,
    event: Option<BTreeMap<String, Scalar>>,
    #[serde(default)]
    event_overrides: BTreeMap<String, Scalar>,
}

/// A YAML scalar. A time without quotes is the text that stands there, `FALSE` is a truth value,
/// and an expression may look like a number or a truth value itself.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Scalar {
    Boolean(bool),
    Integer(i32),
    String(String),
}

impl Scalar {
    fn text(&self) -> String {
        match self {
            Self::Boolean(truth) => truth.to_string(),
            Self::Integer(number) => number.to_string(),
            Self::String(text) => text.clone(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Boolean(_) => Kind::Boolean,
            Self::Integer(_) => Kind::Integer,
            Self::String(_) => Kind::String,
        }
    }

    fn value(&self) -> Value<'_> {
        match self {
            Self::Boolean(truth) => Value::Boolean(*truth),
            Self::Integer(number) => Value::Integer(*number),
            Self::String(text) => Value::String(text.into()),
        }
    }
}

/// `None` when the case passes, or what came instead.
fn run(case: &Case) -> Result<(), String> {
    let text = case.expression.text();
    let expression = match (Expression::parse(&text), case.error.as_deref()) {
        (Err(_), Some("parse")) => return Ok(()),
        (Err(error), _) => return Err(error.to_string()),
        (Ok(_), Some("parse")) => return Err("parses".to_owned()),
        (Ok(expression), _) => expression,
    };
    let add = |sample: Sample, (name, scalar): (&String, &Scalar)| {
        sample.with(name, &scalar.text(), scalar.kind())
    };
    let event = match &case.event {
        Some(event) => event.iter().fold(Sample::default(), add),
        None => Sample::minimal(),
    };
    let event = case.event_overrides.iter().fold(event, add);

    let found = expression.evaluate(&event);
    let faults: Vec<&str> = found.faults.iter().map(kind).collect();
    let expected: Vec<&str> = case.error.as_deref().into_iter().collect();
    let is_value_right = case.result.as_ref().is_none_or(|result| result.value() == found.value);
    let is_accepted = found.value == Value::Boolean(true) && faults.is_empty();
    if !is_value_right || faults != expected {
        return Err(format!("{:?} with {faults:?}", found.value));
    }
    if expression.accepts(&event) != is_accepted {
        return Err("accepts and evaluate disagree".to_owned());
    }
    Ok(())
}

/// The kit's word for a fault.
fn kind(fault: &Fault<'_>) -> &'static str {
    match fault {
        Fault::DivisionByZero | Fault::Overflow => "math",
        Fault::Cast { .. } => "cast",
        Fault::MissingAttribute(_) => "missingAttribute",
        Fault::MissingFunction { .. } => "missingFunction",
        Fault::Function(_) => "functionEvaluation",
        Fault::Steps | Fault::Built => "generic",
    }
}

#[test]
fn the_compatibility_kit_passes_but_for_its_own_error() {
    let Some(folder) = env::var_os("CATCHMENT_VECTORS") else {
        println!("CATCHMENT_VECTORS is not set: the compatibility kit of CESQL was NOT run");
        return;
    };
    let folder = Path::new(&folder).join("cesql_tck");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{folder:?}: {error}"))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    let (mut cases, mut passed, mut failed) = (0, 0, Vec::new());
    println!("{:<34} {:>5} {:>6}", "file", "cases", "passed");
    for path in &files {
        let file = path.file_stem().unwrap().to_str().unwrap();
        let suite: Suite = serde_saphyr::from_str(&fs::read_to_string(path).unwrap())
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        let before = failed.len();
        for case in &suite.tests {
            if let Err(found) = run(case) {
                failed.push((file.to_owned(), case.name.clone(), found));
            }
        }
        let passed_here = suite.tests.len() - (failed.len() - before);
        println!("{file:<34} {:>5} {passed_here:>6}", suite.tests.len());
        cases += suite.tests.len();
        passed += passed_here;
    }
    println!("{:<34} {cases:>5} {passed:>6}", format!("{} files", files.len()));
    for (file, name, found) in &failed {
        let reason = EXCEPTIONS.iter().find(|it| (it.0, it.1) == (file, name)).map(|it| it.2);
        println!("{file}, {name:?}: {found}; {}", reason.unwrap_or("NOT an exception"));
    }
    let failed: Vec<_> = failed.iter().map(|it| (it.0.as_str(), it.1.as_str())).collect();
    let listed: Vec<_> = EXCEPTIONS.iter().map(|it| (it.0, it.1)).collect();
    assert_eq!(failed, listed, "the cases that fail are not the listed exceptions");
    assert_eq!((cases, passed), (CASES, CASES - EXCEPTIONS.len()));
}
