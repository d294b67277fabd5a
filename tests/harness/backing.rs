//! The channels that a scene can run on, and what each needs from outside.

use std::fmt;

use serde_json::{Value, json};

use crate::program::Setup;

/// Where a broker keeps its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backing {
    /// In memory.
    Memory,
    /// In the data folder.
    Disk,
}

impl Backing {
    /// The kind of `messaging.knative.dev`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Memory => "InMemoryChannel",
            Self::Disk => "DiskChannel",
        }
    }

    /// The `spec` of its template.
    #[must_use]
    pub fn spec(&self) -> Value {
        json!({})
    }

    /// What the program is told about it.
    #[must_use]
    pub fn configure(&self, setup: Setup) -> Setup {
        setup
    }

    /// Those that outlive the program.
    #[must_use]
    pub fn durable() -> Vec<Self> {
        vec![Self::Disk]
    }
}

impl fmt::Display for Backing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}
