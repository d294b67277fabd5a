//! Lease -> the lanes of one broker in one worker that want its event, and back settled.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use channel::Lease;

use crate::{
    Fanout, Routes, Trigger, TriggerKey, dead_letter,
    lane::{Lane, SharedLease},
    route::Scratch,
    worker::Worker,
};

/// The lanes of one broker in one worker.
pub(crate) struct Lanes {
    worker: Rc<Worker>,
    pub(crate) fanout: Arc<Fanout>,
    view: RefCell<View>,
    /// The count of overflows in use when this worker last looked.
    overflows_seen: Cell<u64>,
}

struct View {
    /// The triggers that `places` follows.
    routes: Arc<Routes>,
    /// The lane of each trigger of `routes`, made when its first event comes.
    places: Vec<Option<Rc<Lane>>>,
    by_key: HashMap<TriggerKey, Rc<Lane>>,
}

impl Lanes {
    pub(crate) fn new(worker: Rc<Worker>, fanout: Arc<Fanout>) -> Rc<Self> {
        let routes = fanout.routes.load_full();
        let places = vec![None; routes.triggers().len()];
        let view = RefCell::new(View { routes, places, by_key: HashMap::new() });
        Rc::new(Self { worker, fanout, view, overflows_seen: Cell::new(0) })
    }

    /// Reads the overflows that have come into use, whichever worker put something there: each lends
    /// what it holds over the readers of all workers.
    pub(crate) fn read_overflows(&self) {
        let count = self.fanout.overflows.count();
        if self.overflows_seen.replace(count) == count {
            return;
        }
        let routes = Arc::clone(&self.view.borrow().routes);
        for trigger in routes.triggers().iter().filter(|trigger| trigger.usage.overflows()) {
            self.lane(trigger).borrow();
        }
    }

    /// Gives an event to every lane that wants it; one that nobody wants is settled at once.
    pub(crate) fn dispatch(&self, routes: &Arc<Routes>, lease: Lease, scratch: &mut Scratch) {
        self.refresh(routes);
        if lease.problem().is_some() {
            dead_letter::bury_undecodable(&self.worker, &self.fanout, lease);
            return;
        }
        let now = Instant::now();
        let event = lease.event().clone();
        let shared = SharedLease::new(lease);
        // Held to the end, so that the first lane cannot settle what the others still want.
        let own = shared.ticket();
        routes.table().matches(&event, scratch, |place| {
            if let Some(lane) = self.place(routes, place) {
                lane.offer(event.clone(), shared.ticket(), now);
            }
        });
        own.done();
    }

    fn place(&self, routes: &Routes, place: u32) -> Option<Rc<Lane>> {
        let index = usize::try_from(place).ok()?;
        if let Some(Some(lane)) = self.view.borrow().places.get(index) {
            return Some(Rc::clone(lane));
        }
        let lane = self.lane(routes.triggers().get(index)?);
        if let Some(slot) = self.view.borrow_mut().places.get_mut(index) {
            *slot = Some(Rc::clone(&lane));
        }
        Some(lane)
    }

    pub(crate) fn lane(&self, trigger: &Arc<Trigger>) -> Rc<Lane> {
        let mut view = self.view.borrow_mut();
        let lane = view.by_key.entry(trigger.key).or_insert_with(|| {
            Lane::new(Rc::clone(&self.worker), Arc::clone(&self.fanout), Arc::clone(trigger))
        });
        Rc::clone(lane)
    }

    /// Follows a change of the triggers: lanes go on with their new plan, or end.
    pub(crate) fn refresh(&self, routes: &Arc<Routes>) {
        if Arc::ptr_eq(&self.view.borrow().routes, routes) {
            return;
        }
        let now = Instant::now();
        let mut view = self.view.borrow_mut();
        let mut lanes = std::mem::take(&mut view.by_key);
        view.places.clear();
        for trigger in routes.triggers() {
            let lane = lanes.remove(&trigger.key);
            if let Some(lane) = &lane {
                view.by_key.insert(trigger.key, Rc::clone(lane));
            }
            view.places.push(lane);
        }
        view.routes = Arc::clone(routes);
        let staying: Vec<(Rc<Lane>, Arc<Trigger>)> = routes
            .triggers()
            .iter()
            .filter_map(|trigger| {
                Some((Rc::clone(view.by_key.get(&trigger.key)?), Arc::clone(trigger)))
            })
            .collect();
        drop(view);
        for (lane, trigger) in staying {
            lane.update(trigger, now);
        }
        for (key, lane) in lanes {
            if lane.trigger().usage.is_kept() {
                lane.park();
                self.view.borrow_mut().by_key.insert(key, lane);
            } else {
                lane.retire();
            }
        }
        // New triggers may have something waiting from before.
        self.overflows_seen.set(u64::MAX);
        self.read_overflows();
    }

    /// Ends the lanes of triggers that were not ready and are now deleted.
    pub(crate) fn end_parked(&self) {
        let routes = Arc::clone(&self.view.borrow().routes);
        let mut gone = Vec::new();
        self.view.borrow_mut().by_key.retain(|key, lane| {
            let is_kept = lane.trigger().usage.is_kept();
            let stays = !lane.is_parked() || is_kept || routes.find(*key).is_some();
            if !stays {
                gone.push(Rc::clone(lane));
            }
            stays
        });
        gone.iter().for_each(Lane::retire);
    }

    /// Ends all lanes with their broker.
    pub(crate) fn retire(&self) {
        self.each(if self.fanout.outlives { Lane::abandon } else { Lane::retire });
    }

    pub(crate) fn each(&self, mut then: impl FnMut(&Rc<Lane>)) {
        let lanes: Vec<_> = self.view.borrow().by_key.values().map(Rc::clone).collect();
        lanes.iter().for_each(&mut then);
    }
}
