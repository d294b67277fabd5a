//! Which objects were told of, each in which version: what has changed since is found by comparing.

use std::collections::BTreeMap;

use channel::Name;

use super::Object;

/// What is kept of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// What tells it from others that had its name.
    pub uid: Box<str>,
    /// Its resource version.
    pub version: Box<str>,
    /// Whether its changes are told of.
    pub is_wanted: bool,
}

/// The objects of one watch.
#[derive(Debug, Default)]
pub struct Seen {
    objects: BTreeMap<Name, Known>,
}

/// What an object is to what was seen before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is as it was.
    Same,
    /// It is new.
    Added,
    /// It is another version.
    Updated,
    /// It has the name of one that is gone.
    Replaced(Known),
}

impl Seen {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// What an object is to what was seen of it before.
    pub fn compare(&self, object: &Object) -> Taken {
        match self.objects.get(&object.name) {
            None => Taken::Added,
            Some(known) if *known.uid != *object.uid => Taken::Replaced(known.clone()),
            Some(known) if *known.version == *object.version => Taken::Same,
            Some(_) => Taken::Updated,
        }
    }

    /// What is known of an object.
    pub fn get(&self, name: &Name) -> Option<&Known> {
        self.objects.get(name)
    }

    /// Notes that an object was told of as it is now, if its changes are.
    pub fn note(&mut self, object: &Object, is_wanted: bool) {
        let (uid, version) = ((&*object.uid).into(), (&*object.version).into());
        let known = Known { uid, version, is_wanted };
        self.objects.insert(object.name.clone(), known);
    }

    /// Notes that an object is gone. Returns what it was.
    pub fn forget(&mut self, name: &Name) -> Option<Known> {
        self.objects.remove(name)
    }

    /// Those that `is_there` does not hold of.
    pub fn missing(&self, is_there: impl Fn(&Name) -> bool) -> Vec<(Name, Known)> {
        let gone = self.objects.iter().filter(|(name, _)| !is_there(name));
        gone.map(|(name, known)| (name.clone(), known.clone())).collect()
    }
}
