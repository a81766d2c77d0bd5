//! `memo rm`: forget entries.
//!
//! **Invariants.** Without a condition nothing is forgotten. Where somebody can be asked, they are
//! asked with the number at hand; where not, all but keys and tasks want `--yes`.

use std::io::{self, BufRead, IsTerminal};
use std::time::Duration;

use memod_client::Client;
use memod_protocol::{Filter, Selector, name};
use serde_json::json;

use crate::args::duration::milliseconds;
use crate::args::{RemoveArgs, ScopeFrom, Screen, Settings};
use crate::connect;
use crate::exit::{self, Failure, Outcome};
use crate::output::progress::Progress;
use crate::output::units::{self, entries};
use crate::output::{shown, tell};

/// Forgets, or only counts.
///
/// # Errors
/// If the flags select nothing, nobody has agreed, or the daemon gives no answer.
pub(crate) fn run(args: RemoveArgs, settings: &Settings) -> Outcome {
    let is_broad = args.keys.is_empty() && (args.task.is_none() || args.all);
    let (is_agreed, is_dry) = (args.yes, args.dry_run);
    // With `--scope` or a project, `--all` is an error or forgets everything.
    let may_be_elsewhere = !args.scope && settings.scope_from != ScopeFrom::Flags;
    let told = |matched, is_dry, selector: &Selector| {
        answer(matched, is_dry, (selector, may_be_elsewhere), settings.screen)
    };
    let selector = select(args, settings)?;
    let client = connect::asking(settings);
    let can_ask = io::stdin().is_terminal() && settings.screen.err_is_terminal;
    if !is_agreed && !is_dry {
        if can_ask {
            match count(&client, &selector, true, settings.screen)? {
                0 => return told(0, false, &selector),
                found if is_confirmed(found, &selector)? => {}
                _ => {
                    tell("nothing removed");
                    return Ok(exit::NOTHING);
                }
            }
        } else if is_broad {
            return Err(Failure::usage(
                "all but keys and --task want --yes where nobody can be asked",
            )
            .with_hint("look first with --dry-run"));
        }
    }
    let matched = count(&client, &selector, is_dry, settings.screen)?;
    told(matched, is_dry, &selector)
}

/// What the flags select.
fn select(args: RemoveArgs, settings: &Settings) -> Result<Selector, Failure> {
    if !args.keys.is_empty() {
        return Ok(Selector::Keys(args.keys));
    }
    if args.all && settings.scope_from == ScopeFrom::Flags {
        return Err(Failure::usage("--all means all projects and domains")
            .with_hint("--scope forgets the one project and domain that is given"));
    }
    if let Some(task) = &args.task {
        name::check("task", task)?;
    }
    let filter = Filter {
        scope: None,
        task: args.task,
        cache_version: args.cache_version.as_deref().map(name::cache_version).transpose()?,
        writer_uid: args.writer,
        older_than_ms: args.older_than.map(milliseconds),
    };
    if filter.is_everything() && !args.scope && !args.all {
        return Err(Failure::usage("nothing says what to forget").with_hint(
            "give keys, --task, --scope, --writer, --older-than, or --all for everything",
        ));
    }
    let is_named = filter.task.is_some() || settings.scope_from != ScopeFrom::Default;
    let is_scoped = args.scope || (is_named && !args.all);
    let scope = is_scoped.then(|| settings.scope.clone());
    Ok(Selector::Matching(Filter { scope, ..filter }))
}

fn count(
    client: &Client,
    selector: &Selector,
    is_dry: bool,
    screen: Screen,
) -> Result<u64, Failure> {
    let mut progress = Progress::new(screen);
    Ok(client.invalidate(selector, is_dry, &mut |done| progress.set(done))?)
}

fn is_confirmed(found: u64, selector: &Selector) -> io::Result<bool> {
    let question = format!("Remove {}{}? [y/N] ", entries(found), described(selector));
    io::Write::write_all(&mut io::stderr().lock(), question.as_bytes())?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
}

fn described(selector: &Selector) -> String {
    let Selector::Matching(filter) = selector else { return String::new() };
    let task = filter.task.as_ref().map(|task| format!(" of task `{}`", shown(task)));
    let version = filter.cache_version.as_ref();
    let version = version.map(|version| format!(", version `{}`,", shown(version)));
    let scope = filter.scope.as_ref().map(|scope| {
        let (project, domain) = (shown(&scope.project), shown(&scope.domain));
        format!(" in project `{project}`, domain `{domain}`")
    });
    let scope = scope.unwrap_or_else(|| " in all projects and domains".to_owned());
    let writer = filter.writer_uid.map(|uid| format!(" written by user {uid}"));
    let age = filter
        .older_than_ms
        .map(|age| format!(" older than {}", units::duration(Duration::from_millis(age))));
    let [task, version, writer, age] = [task, version, writer, age].map(Option::unwrap_or_default);
    [task, version, writer, age, scope].concat()
}

fn answer(
    matched: u64,
    is_dry: bool,
    (selector, may_be_elsewhere): (&Selector, bool),
    screen: Screen,
) -> Outcome {
    if screen.is_json() {
        Screen::json(&json!({ "matched": matched }))?;
    } else {
        let line = match (matched, is_dry) {
            (0, _) => unmatched(selector, may_be_elsewhere),
            (_, true) => format!("{} would be removed", entries(matched)),
            (_, false) => format!("{} removed", entries(matched)),
        };
        let mut out = Screen::out();
        io::Write::write_all(&mut out, format!("{line}\n").as_bytes())?;
        io::Write::flush(&mut out)?;
    }
    Ok(if matched == 0 { exit::NOTHING } else { exit::DONE })
}

/// Where it was looked in vain, and how to look elsewhere if that is what is left to be done.
fn unmatched(selector: &Selector, may_be_elsewhere: bool) -> String {
    match selector {
        Selector::Keys(_) => "nothing matched: there is no entry of these keys".to_owned(),
        Selector::Matching(filter) => {
            let elsewhere = match &filter.scope {
                Some(_) if may_be_elsewhere => "; with --all it is looked in all",
                _ => "",
            };
            format!("nothing matched: there is no entry{}{elsewhere}", described(selector))
        }
    }
}

#[cfg(test)]
mod tests {
    use memod_protocol::{Key, Scope};

    use super::*;
    use crate::args::Globals;

    fn selected(args: RemoveArgs, project: Option<&str>) -> Result<Selector, Failure> {
        let globals = Globals { project: project.map(str::to_owned), ..Globals::default() };
        let mut settings = Settings::new(&globals).expect("valid");
        if project.is_none() {
            settings.scope = Scope::new("default", "development");
            settings.scope_from = ScopeFrom::Default;
        }
        select(args, &settings)
    }

    fn filter(args: RemoveArgs, project: Option<&str>) -> Filter {
        match selected(args, project).expect("selects something") {
            Selector::Matching(filter) => filter,
            Selector::Keys(_) => panic!("no key was given"),
        }
    }

    #[test]
    fn nothing_selects_nothing() {
        let failure = selected(RemoveArgs::default(), None).expect_err("no condition");
        assert_eq!(failure.exit, exit::USAGE);
        assert!(selected(RemoveArgs::default(), Some("p")).is_err());
    }

    #[test]
    fn a_task_has_a_name() {
        let args = RemoveArgs { task: Some(String::new()), ..RemoveArgs::default() };
        let failure = selected(args, None).expect_err("it is empty");
        assert_eq!(failure, Failure::usage("task: must not be empty"));
    }

    #[test]
    fn semantics_7_a_cache_version_is_never_blank() {
        for blank in ["", " ", "\t"] {
            let args = RemoveArgs {
                task: Some("t".into()),
                cache_version: Some(blank.into()),
                ..RemoveArgs::default()
            };
            let failure = selected(args, None).expect_err("it is blank");
            assert_eq!(failure, Failure::usage("cache_version: must not be blank"));
        }
    }

    #[test]
    fn keys_are_taken_as_they_are() {
        let keys = vec![Key::from_bytes([7; 32])];
        let args = RemoveArgs { keys: keys.clone(), ..RemoveArgs::default() };
        assert_eq!(selected(args, None), Ok(Selector::Keys(keys)));
    }

    #[test]
    fn a_task_is_one_of_the_scope() {
        let args = RemoveArgs {
            task: Some("t".into()),
            cache_version: Some(" 1 ".into()),
            ..RemoveArgs::default()
        };
        let found = filter(args, None);
        assert_eq!(found.scope, Some(Scope::new("default", "development")));
        assert_eq!(found.cache_version.as_deref(), Some("1"));
    }

    #[test]
    fn age_and_writer_apply_everywhere_unless_a_project_is_given() {
        let old =
            || RemoveArgs { older_than: Some(Duration::from_secs(1)), ..RemoveArgs::default() };
        let found = filter(old(), None);
        assert_eq!((found.scope, found.older_than_ms), (None, Some(1000)));
        assert_eq!(filter(old(), Some("p")).scope.expect("it is given").project, "p");
    }

    #[test]
    fn everything_is_not_taken_for_a_project() {
        let all = || RemoveArgs { all: true, ..RemoveArgs::default() };
        assert!(filter(all(), None).is_everything());
        assert!(selected(all(), Some("p")).is_err());
        let found = filter(RemoveArgs { task: Some("t".into()), ..all() }, None);
        assert_eq!((found.scope, found.task.as_deref()), (None, Some("t")));
    }

    #[test]
    fn a_question_says_what_it_is_about_and_an_answer_where_nothing_was() {
        let args = RemoveArgs { task: Some("t\n".into()), ..RemoveArgs::default() };
        let selector = Selector::Matching(filter(args, None));
        let text = described(&selector);
        assert_eq!(
            unmatched(&selector, true),
            format!("nothing matched: there is no entry{text}; with --all it is looked in all")
        );
        assert_eq!(
            unmatched(&selector, false),
            format!("nothing matched: there is no entry{text}")
        );
        assert_eq!(text, " of task `t\\n` in project `default`, domain `development`");
        let args = RemoveArgs {
            writer: Some(7),
            older_than: Some(Duration::from_secs(43_200)),
            ..RemoveArgs::default()
        };
        let text = described(&Selector::Matching(filter(args, None)));
        assert_eq!(text, " written by user 7 older than 12h 0m in all projects and domains");
    }
}
