//! What finding the triggers of an event costs, by how many there are and what their filters look at.

use std::{collections::BTreeMap, hint::black_box, time::Duration};

use channel::{Draft, Event, Invalid, SpecVersion};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dispatcher::{
    FilterSpec,
    filter::Filter,
    route::{RouteTable, Scratch},
};
use fastrand::Rng;

/// What the filters of a broker look like.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// `type` and `source` exact, 20 types for all triggers.
    Hot,
    /// 60 % as in `Hot`; 10 % each with a third exact attribute, with a prefix of `source`, with a
    /// suffix of `subject`, and with nothing but a prefix of `source`.
    Mixed,
    /// `type` and `source` exact and almost every trigger's own.
    Selective,
}

/// Triggers, and events that one of them wants at least.
struct Workload {
    filters: Vec<Filter>,
    events: Vec<Event>,
}

const EVENTS: usize = 512;
const SEED: u64 = 7;

impl Workload {
    fn new(shape: Shape, triggers: u32) -> Result<Self, Vec<Invalid>> {
        let mut rng = Rng::with_seed(SEED);
        let (types, sources) = match shape {
            Shape::Selective => ((triggers / 2).max(4), (triggers / 2).max(4)),
            Shape::Hot | Shape::Mixed => (20, (triggers / 20).max(4)),
        };
        let mut filters = Vec::new();
        let mut wanted = Vec::new();
        for _ in 0..triggers {
            let event = Wanted {
                ty: rng.u32(..types),
                source: rng.u32(..sources),
                item: rng.u32(..sources),
            };
            let tenth = if matches!(shape, Shape::Mixed) { rng.u8(..10) } else { 0 };
            filters.push(Filter::compile(None, &event.filters(tenth))?);
            wanted.push(event);
        }
        let mut events = Vec::new();
        while events.len() < EVENTS {
            let Some(wanted) = rng.choice(&wanted) else { break };
            events.push(wanted.event().map_err(|invalid| vec![invalid])?);
        }
        Ok(Self { filters, events })
    }

    fn table(&self) -> RouteTable {
        RouteTable::new((0..).zip(&self.filters))
    }
}

/// Numbers that an event's attributes are made of.
struct Wanted {
    ty: u32,
    source: u32,
    item: u32,
}

impl Wanted {
    fn ty(&self) -> String {
        format!("com.example.orders.v1.event{}", self.ty)
    }

    fn source(&self) -> String {
        format!("/apis/v1/namespaces/team{}/sources/s{}/", self.source % 97, self.source)
    }

    fn tier(&self) -> String {
        (self.item % 50).to_string()
    }

    fn event(&self) -> Result<Event, Invalid> {
        let mut draft = Draft::new(SpecVersion::V10);
        draft.push_wire("id", support::ID.as_bytes())?;
        draft.push_wire("source", format!("{}instance", self.source()).as_bytes())?;
        draft.push_wire("type", self.ty().as_bytes())?;
        draft.push_wire("subject", format!("orders/x/item{}", self.item).as_bytes())?;
        draft.push_wire("tier", self.tier().as_bytes())?;
        draft.finish()
    }

    /// Filters that want this event; `tenth` chooses their kind.
    fn filters(&self, tenth: u8) -> Vec<FilterSpec> {
        let ty = || ("type", self.ty());
        let source = || ("source", format!("{}instance", self.source()));
        let exact = |attributes: &[_]| FilterSpec { exact: Some(map(attributes)), ..none() };
        let prefix = || FilterSpec { prefix: Some(map(&[("source", self.source())])), ..none() };
        let suffix = map(&[("subject", format!("/item{}", self.item))]);
        match tenth {
            0..6 => vec![exact(&[ty(), source()])],
            6 => vec![exact(&[ty(), source(), ("tier", self.tier())])],
            7 => vec![exact(&[ty()]), prefix()],
            8 => vec![exact(&[ty()]), FilterSpec { suffix: Some(suffix), ..none() }],
            _ => vec![prefix()],
        }
    }
}

fn none() -> FilterSpec {
    FilterSpec::default()
}

fn map(attributes: &[(&str, String)]) -> BTreeMap<String, String> {
    attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

#[allow(clippy::panic, reason = "a workload that is wrong must not be measured")]
fn workload(shape: Shape, triggers: u32) -> Workload {
    Workload::new(shape, triggers).unwrap_or_else(|invalid| panic!("{shape:?}: {invalid:?}"))
}

fn matching(criterion: &mut Criterion) {
    for shape in [Shape::Hot, Shape::Mixed, Shape::Selective] {
        let mut group = criterion.benchmark_group(format!("matching/{shape:?}").to_lowercase());
        group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(2));
        group.throughput(Throughput::Elements(1));
        for triggers in [1, 10, 100, 1_000, 10_000, 100_000] {
            let workload = workload(shape, triggers);
            let table = workload.table();
            let mut scratch = Scratch::new();
            for event in &workload.events {
                let mut matches = 0;
                table.matches(event, &mut scratch, |_| matches += 1);
                assert!(matches > 0, "an event of {shape:?} that nobody wants");
            }
            let mut events = workload.events.iter().cycle();
            group.bench_function(BenchmarkId::from_parameter(triggers), |bencher| {
                bencher.iter(|| {
                    let mut sum = 0;
                    if let Some(event) = events.next() {
                        table.matches(event, &mut scratch, |id| sum += id);
                    }
                    black_box(sum)
                });
            });
        }
        group.finish();
    }
}

/// What a change of the triggers costs the side that makes the table.
fn building(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("building/mixed");
    group.sample_size(10).measurement_time(Duration::from_secs(2));
    for triggers in [1_000, 100_000] {
        let workload = workload(Shape::Mixed, triggers);
        group.throughput(Throughput::Elements(triggers.into()));
        group.bench_function(BenchmarkId::from_parameter(triggers), |bencher| {
            bencher.iter_with_large_drop(|| workload.table());
        });
    }
    group.finish();
}

criterion_group!(benches, matching, building);
criterion_main!(benches);
