//! What may be asked for, what is refused, and who wins.

use super::*;

fn choose(json: &str) -> (DeliveryChoice, Vec<String>) {
    let mut problems = Vec::new();
    let spec = serde_json::from_str(json).unwrap();
    let choice = DeliveryChoice::new(&spec, "spec.delivery", &mut problems);
    (choice, problems.iter().map(ToString::to_string).collect())
}

fn plan(broker: &str, trigger: &str) -> DeliveryPlan {
    let [broker, trigger] = [broker, trigger].map(|json| {
        let (choice, problems) = choose(json);
        assert_eq!(problems, [""; 0], "{json}");
        choice
    });
    DeliveryPlan::new(&broker, &trigger)
}

const FULL: &str = r#"{"retry":3,"timeout":"PT2S","backoffPolicy":"linear",
    "backoffDelay":"PT1S","retryAfterMax":"PT0S","format":"json"}"#;

#[test]
fn without_a_word_the_values_of_knatives_broker_hold() {
    let plan = DeliveryPlan::default();
    assert_eq!(plan.attempts_max.get(), 11);
    assert_eq!(plan.backoff.policy, BackoffPolicy::Exponential);
    assert_eq!(plan.backoff.delay, Duration::from_millis(200));
    assert_eq!(plan.timeout, Duration::from_secs(10));
    assert_eq!(plan.retry_after_max, Duration::from_secs(3600));
    assert_eq!(plan.format, None);
}

#[test]
fn a_broker_speaks_for_a_trigger_that_does_not() {
    let expected = DeliveryPlan {
        attempts_max: NonZeroU32::new(4).unwrap(),
        backoff: Backoff { policy: BackoffPolicy::Linear, delay: Duration::from_secs(1) },
        timeout: Duration::from_secs(2),
        retry_after_max: Duration::ZERO,
        format: Some(Format::Json),
    };
    assert_eq!(plan(FULL, "{}"), expected);
    assert_eq!(plan("{}", FULL), expected);
}

#[test]
fn a_trigger_that_names_only_a_sink_keeps_the_brokers_retries() {
    let sink = r#"{"deadLetterSink":{"uri":"http://sink"}}"#;
    assert_eq!(plan(FULL, sink), plan(FULL, "{}"));
}

#[test]
fn each_field_of_a_trigger_goes_over_the_brokers() {
    let base = plan(FULL, "{}");
    let cases = [
        (r#"{"retry":0}"#, DeliveryPlan { attempts_max: NonZeroU32::MIN, ..base.clone() }),
        (r#"{"timeout":"PT5M"}"#, DeliveryPlan { timeout: TIMEOUT_MAX, ..base.clone() }),
        (
            r#"{"backoffPolicy":"exponential"}"#,
            DeliveryPlan {
                backoff: Backoff { policy: BackoffPolicy::Exponential, ..base.backoff },
                ..base.clone()
            },
        ),
        (
            r#"{"backoffDelay":"PT0S"}"#,
            DeliveryPlan {
                backoff: Backoff { delay: Duration::ZERO, ..base.backoff },
                ..base.clone()
            },
        ),
        (r#"{"retryAfterMax":"P1D"}"#, DeliveryPlan { retry_after_max: WAIT_MAX, ..base.clone() }),
        (r#"{"format":"binary"}"#, DeliveryPlan { format: Some(Format::Binary), ..base.clone() }),
    ];
    for (json, expected) in cases {
        assert_eq!(plan(FULL, json), expected, "{json}");
    }
}

#[test]
fn a_wrong_value_is_named_by_path_and_rule() {
    let iso = "must be an ISO 8601 duration such as PT0.2S or P1DT12H";
    let cases = [
        (r#"{"retry":-1}"#, "retry: invalid value: -1: must not be negative".to_owned()),
        (r#"{"retry":1001}"#, "retry: invalid value: 1001: must be at most 1000".into()),
        (
            r#"{"retry":9000000000}"#,
            "retry: invalid value: 9000000000: must be at most 1000".into(),
        ),
        (r#"{"timeout":"10s"}"#, format!("timeout: invalid value: 10s: {iso}")),
        (r#"{"timeout":"PT0S"}"#, "timeout: invalid value: PT0S: must be longer than zero".into()),
        (r#"{"timeout":"-PT1S"}"#, "timeout: invalid value: -PT1S: must not be negative".into()),
        (r#"{"timeout":"PT301S"}"#, "timeout: invalid value: PT301S: must be at most PT5M".into()),
        (r#"{"backoffDelay":""}"#, format!("backoffDelay: invalid value: : {iso}")),
        (
            r#"{"backoffDelay":"-PT1S"}"#,
            "backoffDelay: invalid value: -PT1S: must not be negative".into(),
        ),
        (
            r#"{"backoffDelay":"P1Y"}"#,
            "backoffDelay: invalid value: P1Y: must be at most P1D".into(),
        ),
        (
            r#"{"retryAfterMax":"-PT1S"}"#,
            "retryAfterMax: invalid value: -PT1S: must not be negative".into(),
        ),
        (
            r#"{"backoffPolicy":"Linear"}"#,
            "backoffPolicy: invalid value: Linear: must be linear or exponential".into(),
        ),
        (r#"{"format":"JSON"}"#, "format: invalid value: JSON: must be json or binary".into()),
        (
            r#"{"deadLetterSink":{}}"#,
            "deadLetterSink: expected at least one, got none: ref, uri".into(),
        ),
    ];
    for (json, problem) in cases {
        let (_, problems) = choose(json);
        assert_eq!(problems, [format!("spec.delivery.{problem}")], "{json}");
    }
}

#[test]
fn all_problems_are_told_at_once_and_right_values_kept() {
    let (choice, problems) = choose(
        r#"{"deadLetterSink":{"uri":"x"},"retry":-1,"timeout":"x","backoffPolicy":"x",
            "backoffDelay":"x","retryAfterMax":"PT3S","format":"x"}"#,
    );
    assert_eq!(problems.len(), 6, "{problems:?}");
    let kept = DeliveryChoice {
        retry_after_max: Some(Duration::from_secs(3)),
        ..DeliveryChoice::default()
    };
    assert_eq!(choice, kept);
}

#[test]
fn attempts_end_after_the_last_retry() {
    let plan = plan("{}", r#"{"retry":2,"backoffPolicy":"linear","backoffDelay":"PT1S"}"#);
    let waits: Vec<_> = (1..=4).map(|attempts| plan.wait_after(attempts, None, 0.5)).collect();
    let seconds = |n| Some(Duration::from_secs(n));
    assert_eq!(waits, [seconds(1), seconds(2), None, None]);
}
