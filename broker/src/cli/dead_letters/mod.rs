//! `catchment dead-letters`: looks at what could not be delivered, sends it again or drops it.

mod api;
mod args;
mod view;

use args::Action;
pub use args::DeadLettersArgs;
pub(super) use args::{EXAMPLES, parse_admin, parse_name};

use super::output::{Console, Failure, paint};
use api::{Admin, Page};
use args::{PurgeArgs, Select};

/// Does what the arguments say with a running server's dead letters.
///
/// # Errors
///
/// [`Failure::Usage`] for a selection that selects nothing or contradicts itself,
/// [`Failure::Failed`] when the server cannot be reached or refuses.
pub(super) async fn run(args: DeadLettersArgs, console: &Console) -> Result<(), Failure> {
    let admin = Admin::new(args.admin, args.timeout);
    match args.action {
        Action::List(list) => {
            let filter = list.filter.resolve(jiff::Timestamp::now())?;
            let page = admin.list(&filter, list.limit, list.after).await?;
            if console.is_json() {
                return console.print(&page.json());
            }
            console.print(&view::list(&page)?)
        }
        Action::Show { id } => {
            let letter = admin.show(&id).await?;
            if console.is_json() {
                return console.print(&format!("{}\n", crate::display::indent_json(letter.json())));
            }
            console.print(&view::letter(&letter.read()?, console.style())?)
        }
        Action::Redrive(select) => {
            let select = select.resolve(jiff::Timestamp::now())?;
            let redriven = admin.redrive(&select).await?;
            report(console, &select, redriven.redriven, "redriven", redriven.without_trigger)
        }
        Action::Purge(PurgeArgs { select, yes }) => {
            let select = select.resolve(jiff::Timestamp::now())?;
            if !yes && !is_confirmed(&admin, &select, console).await? {
                return Err(Failure::Failed("nothing was purged".to_owned()));
            }
            let purged = admin.purge(&select).await?;
            report(console, &select, purged, "purged", 0)
        }
    }
}

/// Shows a person how much is about to go; a script without a terminal has decided already.
async fn is_confirmed(admin: &Admin, select: &Select, console: &Console) -> Result<bool, Failure> {
    if !console.is_asked() {
        return Ok(true);
    }
    let count = match select {
        Select::Ids(ids) => api::count(ids.len()),
        Select::Filter(filter) => admin.list(filter, 1, None).await?.total,
    };
    let letters = view::letters(count);
    console.confirm(&format!("purge {letters}? they cannot be brought back (--yes does not ask)"))
}

/// Fewer than the ids that were named is a failure; none that match a filter is not. `stuck` are those
/// that are there and have no trigger to go to.
fn report(
    console: &Console,
    select: &Select,
    done: u64,
    word: &str,
    stuck: u64,
) -> Result<(), Failure> {
    if console.is_json() {
        console.document(&match stuck {
            0 => serde_json::json!({ word: done }),
            _ => serde_json::json!({ word: done, "withoutTrigger": stuck }),
        })?;
    } else {
        let good = paint::GOOD;
        console.print(&format!("{good}{word}{good:#} {}\n", view::letters(done)))?;
    }
    let no_trigger = format!(
        "{stuck} {} no trigger to go to (such can be shown and purged)",
        if stuck == 1 { "dead letter has" } else { "dead letters have" },
    );
    match select {
        Select::Ids(ids) if done < api::count(ids.len()) => {
            let missing = (api::count(ids.len()) - done).saturating_sub(stuck);
            let absent =
                format!("{missing} of {} dead letters are not there to be {word}", ids.len());
            Err(Failure::Failed(match (missing, stuck) {
                (_, 0) => absent,
                (0, _) => no_trigger,
                _ => format!("{absent}; {no_trigger}"),
            }))
        }
        Select::Filter(_) if stuck > 0 && !console.is_json() => {
            console.print(&format!("{no_trigger}\n"))
        }
        Select::Ids(_) | Select::Filter(_) => Ok(()),
    }
}

impl Page {
    /// The page for programs, values as the server wrote them.
    fn json(&self) -> String {
        let items: Vec<&str> = self.items.iter().map(|item| item.json()).collect();
        let next = serde_json::json!(self.next);
        let text =
            format!(r#"{{"items":[{}],"total":{},"next":{next}}}"#, items.join(","), self.total);
        format!("{}\n", crate::display::indent_json(&text))
    }
}
