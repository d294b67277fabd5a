//! Secrets: given by a file or an environment variable, never shown, never readable by everybody.

use std::{
    ffi::OsString,
    fmt, fs,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// Most bytes of a secret: the longest tokens take a few KiB.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Who else may read a file: the last three bits of its mode.
const OTHERS_READ: u32 = 0o004;

/// A password or token. `Debug` does not show it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret that is known already.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// What it is, for whoever has to send it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Where a secret comes from: the environment variable when one is named and set, else the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretSource {
    /// A file that holds nothing else; one line break at its end does not count.
    pub file: Option<PathBuf>,
    /// The name of an environment variable.
    pub env: Option<String>,
}

impl SecretSource {
    /// Whether there is one.
    pub fn is_given(&self) -> bool {
        self.file.is_some() || self.env.is_some()
    }

    /// The secret, or `None` when none is asked for. `field` is what the two settings begin with,
    /// such as `kafka.sasl.password`; `env` looks environment variables up.
    pub(super) fn read(
        &self,
        field: &str,
        env: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Option<Secret>, String> {
        if let Some(name) = &self.env {
            if let Some(value) = env(name) {
                let text =
                    value.into_string().map_err(|_| format!("{field}Env: {name} is no text"))?;
                return whole(text).map(Some).map_err(|rule| format!("{field}Env: {name} {rule}"));
            }
            if self.file.is_none() {
                return Err(format!("{field}Env: the environment variable {name} is not set"));
            }
        }
        self.file.as_deref().map(|path| read_file(path, &format!("{field}File"))).transpose()
    }
}

/// The secret that a file holds. `field` names the setting.
pub(super) fn read_file(path: &Path, field: &str) -> Result<Secret, String> {
    check_file(path, field)?;
    let say = |what: &dyn fmt::Display| format!("{field}: {}: {what}", path.display());
    let file = fs::File::open(path).map_err(|error| say(&error))?;
    let mut text = String::new();
    file.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| say(&error))?;
    whole(text).map_err(|rule| say(&rule))
}

/// Whether a secret file may be used: it is there, and not for everybody to read.
///
/// What is no regular file, such as a pipe, is as private as whoever made it wanted.
pub(super) fn check_file(path: &Path, field: &str) -> Result<(), String> {
    let say = |what: &dyn fmt::Display| format!("{field}: {}: {what}", path.display());
    let metadata = fs::metadata(path).map_err(|error| say(&error))?;
    if metadata.is_dir() {
        return Err(say(&"is a folder"));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if metadata.is_file() && mode & OTHERS_READ != 0 {
        return Err(say(&format!(
            "everybody may read it (mode {mode:04o}); use chmod 600, or defaultMode: 0440 where a \
             Secret is mounted"
        )));
    }
    Ok(())
}

fn whole(text: String) -> Result<Secret, &'static str> {
    if text.len() as u64 > SECRET_BYTES_MAX {
        return Err("is longer than 64 KiB");
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() { Err("is empty") } else { Ok(Secret(line.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    fn env(name: &str) -> Option<OsString> {
        match name {
            "SET" => Some("from-env".into()),
            "EMPTY" => Some("".into()),
            _ => None,
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::new("canary");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "Secret Some(Secret)");
    }

    #[test]
    fn the_environment_goes_over_the_file() {
        let (_folder, path) = file("from-file\r\n", 0o640);
        let file = Some(path);
        for (source, expected) in [
            (SecretSource::default(), None),
            (SecretSource { file: file.clone(), env: None }, Some("from-file")),
            (SecretSource { file: file.clone(), env: Some("SET".to_owned()) }, Some("from-env")),
            (SecretSource { file: file.clone(), env: Some("UNSET".to_owned()) }, Some("from-file")),
            (SecretSource { file: None, env: Some("SET".to_owned()) }, Some("from-env")),
        ] {
            let secret = source.read("x.password", &env).unwrap();
            assert_eq!(secret.as_ref().map(Secret::expose), expected, "{source:?}");
        }
    }

    #[test]
    fn what_cannot_be_a_secret_is_refused_in_words() {
        let (_open, open) = file("canary", 0o644);
        let (_empty, empty) = file("\n", 0o600);
        let (_long, long) = file(&"x".repeat(65 << 10), 0o600);
        let folder = tempfile::tempdir().unwrap();
        let of_file = |path: &Path| SecretSource { file: Some(path.to_owned()), env: None };
        let of_env = |name: &str| SecretSource { file: None, env: Some(name.to_owned()) };
        for (source, expected) in [
            (of_file(&open), "everybody may read it (mode 0644); use chmod 600"),
            (of_file(&empty), "is empty"),
            (of_file(&long), "is longer than 64 KiB"),
            (of_file(folder.path()), "is a folder"),
            (of_file(Path::new("/no/such/file")), "x.passwordFile: /no/such/file: No such file"),
            (of_env("UNSET"), "x.passwordEnv: the environment variable UNSET is not set"),
            (of_env("EMPTY"), "x.passwordEnv: EMPTY is empty"),
        ] {
            let error = source.read("x.password", &env).unwrap_err();
            assert!(error.contains(expected) && !error.contains("canary"), "{error}");
        }
    }
}
