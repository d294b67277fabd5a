//! Which dead letters a request is about, over all hubs.

use std::collections::{BTreeSet, HashMap};

use axum::http::StatusCode;
use channel::{Hub, HubKind};
use dispatcher::Selection;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    super::super::request::{self, Params, invalid},
    HubState, Id, Inventory, Problem,
};

/// Most ids in one request.
const IDS_MAX: usize = 10_000;

/// Which dead letters are meant: `ids`, or `all`, or any of the filters, of which all must hold.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = DeadLetterChoice)]
pub(super) struct ChoiceBody {
    /// These, at most 10,000; ids of dead letters that are not kept are passed over.
    ids: Option<Vec<String>>,
    /// All of them; must be true when it is there.
    all: Option<bool>,
    /// Those of this trigger, as `namespace/name`.
    trigger: Option<String>,
    /// Those of this broker, as `namespace/name`.
    broker: Option<String>,
    /// Those of this subscription, as `namespace/name`.
    subscription: Option<String>,
    /// Those of this channel, as `namespace/name`.
    channel: Option<String>,
    /// Those for this reason: `exhausted`, `refused`, `aged`, `overflow`, `loop` or `reply`.
    reason: Option<String>,
    /// Those that failed at or after this time, in RFC 3339.
    since: Option<String>,
    /// Those that failed before this time, in RFC 3339.
    until: Option<String>,
}

/// Which hubs a filter lets through.
#[derive(Debug)]
enum Wanted {
    /// Those of one kind.
    Kind(HubKind),
    /// One.
    One(Hub),
}

/// Which dead letters are meant.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// What the hub must be, each.
    hubs: Vec<Wanted>,
    ids: Option<HashMap<Hub, BTreeSet<u64>>>,
    selection: Selection,
}

impl Choice {
    /// What the filters of a query choose; all without any.
    pub(super) fn of_query(params: &Params) -> Result<Self, Problem> {
        Self::filters(|name| params.text(name))
    }

    /// What a body chooses.
    ///
    /// # Errors
    ///
    /// 400 when it chooses nothing, or in two ways at once.
    pub(super) fn of_body(body: ChoiceBody) -> Result<Self, Problem> {
        let filters = [
            ("trigger", &body.trigger),
            ("broker", &body.broker),
            ("subscription", &body.subscription),
            ("channel", &body.channel),
            ("reason", &body.reason),
            ("since", &body.since),
            ("until", &body.until),
        ];
        let has_filter = filters.iter().any(|(_, value)| value.is_some());
        match (&body.ids, body.all, has_filter) {
            (Some(ids), None, false) => Self::of_ids(ids),
            (None, Some(true), false) => Ok(Self::default()),
            (_, Some(false), _) => Err(invalid("all", "must be true when it is there")),
            (None, None, true) => Self::filters(|name| {
                let (_, value) = filters.iter().find(|(other, _)| *other == name)?;
                value.as_deref()
            }),
            (None, None, false) => {
                let detail = "nothing is chosen: give ids, or all, or a filter";
                Err(Problem::new(StatusCode::BAD_REQUEST, detail))
            }
            _ => {
                let detail = "ids, all and filters exclude each other";
                Err(Problem::new(StatusCode::BAD_REQUEST, detail))
            }
        }
    }

    fn filters<'a>(value: impl Fn(&str) -> Option<&'a str>) -> Result<Self, Problem> {
        let read = Reader(value);
        let mut hubs = Vec::new();
        for kind in HubKind::ALL {
            let of_kind = |name| Wanted::One(Hub { kind, name });
            hubs.extend(read.get(kind.as_str(), request::name)?.map(of_kind));
        }
        let mut taker = None;
        for kind in HubKind::ALL {
            if let Some(name) = read.get(kind.taker(), request::name)? {
                hubs.push(Wanted::Kind(kind));
                taker = Some(name);
            }
        }
        let selection = Selection {
            ids: None,
            trigger: taker,
            reason: read.get("reason", request::reason)?,
            since: read.get("since", request::time)?,
            until: read.get("until", request::time)?,
        };
        Ok(Self { hubs, ids: None, selection })
    }

    fn of_ids(ids: &[String]) -> Result<Self, Problem> {
        if ids.len() > IDS_MAX {
            return Err(invalid("ids", &format!("must not be more than {IDS_MAX}")));
        }
        let mut by_hub: HashMap<Hub, BTreeSet<u64>> = HashMap::new();
        // What is no id cannot be kept, as an id that nobody gave out.
        for id in ids.iter().filter_map(|id| id.parse::<Id>().ok()) {
            by_hub.entry(id.hub).or_default().insert(id.number);
        }
        Ok(Self { ids: Some(by_hub), ..Self::default() })
    }

    /// The hubs that may keep some of them, brokers first and in the order of their names, and which of
    /// each.
    pub(super) fn hubs<'a>(
        &self,
        inventory: &'a Inventory,
    ) -> impl Iterator<Item = (&'a HubState, Selection)> {
        inventory.hubs().filter_map(|(hub, state)| {
            let state = state.as_ref().ok()?;
            let is_wanted = |wanted: &Wanted| match wanted {
                Wanted::Kind(kind) => *kind == hub.kind,
                Wanted::One(one) => *one == hub,
            };
            if !self.hubs.iter().all(is_wanted) {
                return None;
            }
            let mut selection = self.selection.clone();
            if let Some(ids) = &self.ids {
                selection.ids = Some(ids.get(&hub)?.clone());
            }
            Some((state, selection))
        })
    }
}

/// Reads filters by name, from a query or a body.
struct Reader<F>(F);

impl<'a, F: Fn(&str) -> Option<&'a str>> Reader<F> {
    fn get<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Problem> {
        (self.0)(name).map(parse).transpose().map_err(|rule| invalid(name, &rule))
    }
}
