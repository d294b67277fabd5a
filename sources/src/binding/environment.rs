//! What containers are told of their sink.

use channel::Target;

use crate::CloudEventOverrides;

/// The names of all variables that may be set.
pub const VARIABLES: [&str; 3] = ["K_SINK", "K_CE_OVERRIDES", "K_CA_CERTS"];

/// The variables of a container, by name; each name is there at most once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Environment(Vec<(&'static str, String)>);

impl Environment {
    /// `K_SINK` is `url`, where `target` leads; `K_CE_OVERRIDES` the overrides as JSON, empty without any;
    /// `K_CA_CERTS` the certificates to trust there, where there are some.
    pub fn new(url: String, target: &Target, overrides: Option<&CloudEventOverrides>) -> Self {
        let [sink, ce_overrides, ca_certs] = VARIABLES;
        // A map of text to text is JSON.
        let overrides = overrides.map(|it| serde_json::to_string(it).unwrap_or_default());
        let certificates = target.ca_certs.clone().filter(|certificates| !certificates.is_empty());
        let mut variables = vec![(sink, url), (ce_overrides, overrides.unwrap_or_default())];
        variables.extend(certificates.map(|certificates| (ca_certs, certificates)));
        Self(variables)
    }

    /// All of them, with their values.
    pub fn variables(&self) -> &[(&'static str, String)] {
        &self.0
    }
}
