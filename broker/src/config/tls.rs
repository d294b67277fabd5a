//! How a connection to a server is made safe.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use rustls::pki_types::{
    CertificateDer,
    pem::{self, PemObject as _},
};
use serde::Deserialize;

use super::{file::put, secret};

/// TLS towards a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// Whether connections must be encrypted. Default no.
    pub enabled: bool,
    /// PEM file of the authorities to trust. Default: those of the system.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the program's own certificate.
    pub cert_file: Option<PathBuf>,
    /// PEM file of its key.
    pub key_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Tls {
    enabled: Option<bool>,
    ca_file: Option<PathBuf>,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
}

impl Tls {
    pub(super) fn apply(self, settings: &mut TlsSettings) {
        put(&mut settings.enabled, self.enabled);
        settings.ca_file = self.ca_file.or(settings.ca_file.take());
        settings.cert_file = self.cert_file.or(settings.cert_file.take());
        settings.key_file = self.key_file.or(settings.key_file.take());
    }
}

impl TlsSettings {
    /// What cannot be used; the settings are at `path`.
    pub(super) fn check(&self, path: &str, problems: &mut Vec<String>) {
        if self.cert_file.is_some() != self.key_file.is_some() {
            problems.push(format!("{path}.certFile, keyFile: one needs the other"));
        }
        let has_file =
            self.ca_file.is_some() || self.cert_file.is_some() || self.key_file.is_some();
        if has_file && !self.enabled {
            problems.push(format!("{path}.enabled: must be true for the files to be used"));
        }
    }

    /// What of the system's files cannot be used.
    pub(super) fn check_files(&self, path: &str, problems: &mut Vec<String>) {
        if let Some(key) = &self.key_file {
            problems.extend(secret::check_file(key, &format!("{path}.keyFile")).err());
        }
        for (file, field) in [(&self.ca_file, "caFile"), (&self.cert_file, "certFile")] {
            let problem = file.as_ref().and_then(|file| certificates_problem(file));
            problems.extend(problem.map(|what| format!("{path}.{field}: {what}")));
        }
    }
}

/// Why a file holds no certificates, if so.
fn certificates_problem(file: &Path) -> Option<String> {
    let say = |what: &dyn fmt::Display| Some(format!("{}: {what}", file.display()));
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(file).and_then(|certificates| certificates.collect());
    match found {
        Ok(certificates) if certificates.is_empty() => say(&"holds no certificate in PEM"),
        Ok(_) => None,
        Err(pem::Error::Io(error)) => say(&error),
        Err(error) => say(&format!("is not PEM: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_certificates_is_looked_into() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let good = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(certificates_problem(&file("good.pem", good)), None);
        for (path, rule) in [
            (file("key.pem", key), "holds no certificate"),
            (file("text.pem", "garbage"), "holds no certificate"),
            (file("cut.pem", "-----BEGIN CERTIFICATE-----\nAAAA"), "is not PEM"),
            (folder.path().join("none.pem"), "No such file"),
        ] {
            let problem = certificates_problem(&path).expect(rule);
            assert!(problem.contains(rule), "{problem}");
        }
    }
}
