//! `catchment crds`: the custom resource definitions that a cluster needs.

use std::{fs, path::PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::{Console, Failure};
use crate::{
    crds::{CRDS, Crd},
    manifest::nearest,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  catchment crds | kubectl apply --server-side -f -
  catchment crds Broker Trigger
  catchment crds --folder deploy/crds";

/// What `catchment crds` is told.
#[derive(Clone, Debug, Args)]
pub struct CrdsArgs {
    /// Kinds, by kind, plural or short name; all when none is given
    #[arg(value_name = "KIND")]
    pub kinds: Vec<String>,
    /// Write each into a file of this folder, in place of printing them
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

pub(super) fn run(args: &CrdsArgs, console: &Console) -> Result<(), Failure> {
    let chosen = choose(&args.kinds)?;
    if let Some(folder) = &args.folder {
        fs::create_dir_all(folder).map_err(|error| {
            Failure::caused(format!("cannot make {}", folder.display()), &error)
        })?;
        for crd in chosen {
            let path = folder.join(format!("{}.yaml", crd.singular()));
            fs::write(&path, yaml(crd)?).map_err(|error| {
                Failure::caused(format!("cannot write {}", path.display()), &error)
            })?;
        }
        return Ok(());
    }
    if console.is_json() {
        let items: Value = chosen.iter().map(|crd| crd.definition()).collect();
        return console.document(&json!({ "apiVersion": "v1", "kind": "List", "items": items }));
    }
    let documents = chosen.into_iter().map(yaml).collect::<Result<Vec<_>, _>>()?;
    console.print(&documents.join("---\n"))
}

fn yaml(crd: &Crd) -> Result<String, Failure> {
    crd.yaml()
        .map_err(|error| Failure::caused(format!("cannot write {} as YAML", crd.kind), &error))
}

fn choose(names: &[String]) -> Result<Vec<&'static Crd>, Failure> {
    if names.is_empty() {
        return Ok(CRDS.iter().collect());
    }
    let of_name = |name: &String| {
        CRDS.iter().find(|crd| crd.is_called(name)).ok_or_else(|| {
            let kinds = CRDS.iter().map(|crd| crd.kind);
            let hint = match nearest(name, kinds.clone()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("there are {}", kinds.collect::<Vec<_>>().join(", ")),
            };
            Failure::Usage(format!("there is no definition of {name} ({hint})"))
        })
    };
    names.iter().map(of_name).collect()
}
