//! An event explained by manifests alone.

use channel::{Event, Name, Reference, Target};
use dispatcher::{Filter, TriggerPlan, TriggerSpec};

use super::{
    super::{Console, Failure},
    args::ExplainArgs,
};
use crate::{
    config,
    control::{NotReady, PausedBy, SinkFrom},
    controller::{OfHub, Wanted, address_of, found},
    display::escape,
    explain::{Explained, Subject},
    manifest::{self, Resource, Resources, Snapshot, broker_of},
    spec::ChannelKind,
};

/// Names that are offered in place of one that is not there.
const NAMES_SHOWN: usize = 10;

/// Explains `event` by the manifests below the paths, then says what is wrong with them.
pub(super) fn run(args: &ExplainArgs, event: &Event, console: &Console) -> Result<(), Failure> {
    let snapshot =
        manifest::load(&args.paths).map_err(|error| Failure::Failed(error.to_string()))?;
    for standing in &snapshot.problems {
        console.note(&standing.problem.to_string());
    }
    let explained = explained(&snapshot.resources, args, event, &snapshot)?;
    if console.is_json() {
        console.document(&explained)?;
    } else {
        console.print(&escape(&explained.to_string(), true))?;
    }
    if snapshot.has_errors() { Err(not_used(&snapshot)) } else { Ok(()) }
}

/// Why what was explained is not all that the files say.
fn not_used(snapshot: &Snapshot) -> Failure {
    let wrong = snapshot.problems.iter().filter(|it| it.problem.is_error()).count();
    let things = if wrong == 1 { "thing is" } else { "things are" };
    Failure::Failed(format!("{wrong} {things} wrong with the manifests; a wrong file is not used"))
}

fn explained(
    resources: &Resources,
    args: &ExplainArgs,
    event: &Event,
    snapshot: &Snapshot,
) -> Result<Explained, Failure> {
    // clap has seen to the form of both.
    let name = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<Name>().ok());
    let (broker, trigger) = (name(&args.broker), name(&args.trigger));
    let missing = |kind: &str, name: &Name, known: Vec<&Name>| {
        let mut names: Vec<String> =
            known.iter().take(NAMES_SHOWN).map(ToString::to_string).collect();
        names.extend((known.len() > NAMES_SHOWN).then(|| "...".to_owned()));
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let wrong = if snapshot.has_errors() { " (a wrong file is not used)" } else { "" };
        Failure::Failed(format!(
            "there is no {kind} {name} in the manifests; there are: {known}{wrong}"
        ))
    };
    if let Some(broker) = broker.as_ref().filter(|it| !resources.brokers.contains_key(*it)) {
        let known = resources.brokers.keys().collect();
        return Err(missing("broker", broker, known));
    }
    let asked: Vec<Asked<'_>> = resources
        .triggers
        .iter()
        .filter(|(name, _)| trigger.as_ref().is_none_or(|trigger| *name == trigger))
        .filter_map(|(name, resource)| Asked::new(name, resource, resources))
        .filter(|asked| broker.as_ref().is_none_or(|broker| asked.broker == *broker))
        .collect();
    if let Some(trigger) = trigger.as_ref().filter(|_| asked.is_empty()) {
        let known = resources.triggers.keys().collect();
        return Err(missing("trigger", trigger, known));
    }
    Ok(Explained::new(event, asked.iter().map(Asked::subject).collect()))
}

/// A trigger as it would run.
struct Asked<'a> {
    name: &'a Name,
    broker: Name,
    filter: Filter,
    plan: Result<TriggerPlan, NotReady>,
    sink_from: Option<SinkFrom>,
}

impl<'a> Asked<'a> {
    /// `None` for what the loader lets through no more than a trigger without a broker.
    fn new(
        name: &'a Name,
        resource: &'a Resource<TriggerSpec>,
        resources: &Resources,
    ) -> Option<Self> {
        let broker = broker_of(name, &resource.spec)?;
        let filter = Filter::compile(resource.spec.filter.as_ref(), &resource.spec.filters).ok()?;
        let wanted = Wanted::trigger(name, resource)?;
        let of_broker = resources.brokers.get(&broker).map(|resource| OfHub::broker(resource));
        let sink_from = wanted.sink(of_broker).map(|(_, from)| from);
        let plan = match of_broker {
            None => Err(wanted.homeless()),
            Some(of_broker) => wanted
                .targets(of_broker, |reference| found(reference, here(reference, resources)))
                .and_then(|targets| wanted.plan(of_broker, &targets)),
        };
        Some(Self { name, broker, filter, plan, sink_from })
    }

    fn subject(&self) -> Subject<'_> {
        let is_paused = self.plan.as_ref().is_ok_and(|plan| plan.paused);
        Subject {
            name: self.name,
            broker: &self.broker,
            filter: self.filter.clone(),
            plan: self.plan.as_ref().map_err(Clone::clone),
            sink_from: self.sink_from,
            paused: is_paused.then_some(PausedBy::Manifest),
        }
    }
}

/// The address of a broker or a channel that these manifests define.
fn here(reference: &Reference, resources: &Resources) -> Option<Target> {
    let hub = resources.find(reference, ChannelKind::Disk)?;
    address_of(config::LISTEN.parse().ok()?, &hub)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;

    use super::*;

    const MANIFESTS: &str = "\
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: default}
spec: {delivery: {retry: 3, timeout: PT2S, deadLetterSink: {uri: 'http://sink/b'}}}
---
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: other}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: a}
spec:
  broker: default
  subscriber: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: other}}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: b, annotations: {catchment.dev/paused: 'true'}}
spec:
  broker: default
  subscriber: {uri: 'http://x/'}
  delivery: {retry: 1, deadLetterSink: {uri: 'http://sink/t'}}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: c}
spec:
  broker: other
  subscriber: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: s}}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: d}
spec: {broker: nowhere, subscriber: {uri: 'http://x/'}}
";

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ExplainArgs,
    }

    fn explain(flags: &[&str]) -> Result<serde_json::Value, Failure> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.yaml"), MANIFESTS).unwrap();
        let path = folder.path().display().to_string();
        let line = [&["explain", &path, "--event", "-"], flags].concat();
        let args = Line::try_parse_from(line).unwrap().args;
        let event = br#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
        let event = super::super::event::read(event.to_vec(), "stdin").unwrap();
        let snapshot = manifest::load(&args.paths).unwrap();
        let explained = explained(&snapshot.resources, &args, &event, &snapshot)?;
        Ok(serde_json::to_value(explained).unwrap())
    }

    #[test]
    fn the_rest_of_an_event_s_life_is_told() {
        let told = explain(&[]).unwrap();
        let [a, b, c, d] = &told["triggers"].as_array().unwrap()[..] else { panic!("{told}") };
        assert_eq!(a["subscriber"], "http://127.0.0.1:8080/default/other");
        assert_eq!(
            (&a["delivery"]["retry"], &a["delivery"]["timeout"]),
            (&3.into(), &"PT2S".into())
        );
        assert_eq!(
            (&a["deadLetterSink"], &a["deadLetterSinkFrom"]),
            (&"http://sink/b".into(), &"broker".into())
        );
        assert_eq!(
            (&b["deadLetterSink"], &b["deadLetterSinkFrom"]),
            (&"http://sink/t".into(), &"trigger".into())
        );
        assert_eq!((&b["paused"], &b["delivery"]["retry"]), (&"manifest".into(), &1.into()));
        assert_eq!(
            (&b["delivery"]["timeout"], &b["repliesTo"]),
            (&"PT2S".into(), &"default/default".into())
        );
        assert_eq!((&c["ready"], &c["reason"]), (&false.into(), &"SubscriberUnresolved".into()));
        assert_eq!((&d["ready"], &d["reason"]), (&false.into(), &"BrokerDoesNotExist".into()));
        assert_eq!((&told["total"], &told["matched"]), (&4.into(), &4.into()));
    }

    #[test]
    fn a_broker_or_a_trigger_may_be_chosen_and_must_be_there() {
        let names = |flags: &[&str]| {
            let told = explain(flags).unwrap();
            let triggers = told["triggers"].as_array().unwrap().iter();
            triggers.map(|it| it["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(&["--broker", "default/default"]), ["a", "b"]);
        assert_eq!(names(&["--trigger", "default/d"]), ["d"]);
        for (flags, words) in [
            (
                ["--broker", "default/othr"],
                "there is no broker default/othr in the manifests; there are: default/default, default/other",
            ),
            (
                ["--trigger", "default/x"],
                "there is no trigger default/x in the manifests; there are: default/a, default/b, default/c, default/d",
            ),
        ] {
            assert_eq!(explain(&flags).unwrap_err().to_string(), words);
        }
    }
}
