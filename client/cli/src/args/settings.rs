//! What the global flags and the environment come to.

use std::io::IsTerminal;
use std::path::PathBuf;

use memod_client::Mode;
use memod_protocol::Scope;

use crate::args::{ColorChoice, Format, Globals};
use crate::exit::Failure;

/// What all commands see: flags over environment over defaults.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The socket that was asked for.
    pub(crate) socket: Option<PathBuf>,
    /// Project and domain.
    pub(crate) scope: Scope,
    /// Who asked for that project or domain.
    pub(crate) scope_from: ScopeFrom,
    /// Whether starting a daemon is forbidden.
    pub(crate) no_start: bool,
    /// What the environment says of reading and writing.
    mode: Option<String>,
    /// How to write.
    pub(crate) screen: Screen,
}

/// Who asked for the project or the domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ScopeFrom {
    /// Nobody: both are the defaults.
    Default,
    /// The environment.
    Environment,
    /// The command line.
    Flags,
}

/// How to write to whom.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent fact")]
pub(crate) struct Screen {
    /// The form of answers.
    pub(crate) format: Format,
    /// Whether standard output is a terminal.
    pub(crate) out_is_terminal: bool,
    /// Whether standard error is a terminal.
    pub(crate) err_is_terminal: bool,
    /// Whether to colour standard output.
    pub(crate) color: bool,
    /// Whether to colour standard error.
    pub(crate) err_color: bool,
    /// Whether to leave out warnings and progress.
    pub(crate) quiet: bool,
    /// Whether to say more.
    pub(crate) verbose: bool,
}

impl Settings {
    /// What the flags come to in this process's environment.
    ///
    /// # Errors
    /// If a project or a domain cannot be a name.
    pub(crate) fn new(globals: &Globals) -> Result<Self, Failure> {
        Self::resolve(globals, |name| std::env::var(name).ok())
    }

    fn resolve(
        globals: &Globals,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let set = |name: &str| environment(name).filter(|value| !value.is_empty());
        let (project, project_from) =
            choose(globals.project.as_deref(), set("MEMOD_PROJECT"), "default");
        let (domain, domain_from) =
            choose(globals.domain.as_deref(), set("MEMOD_DOMAIN"), "development");
        let scope = Scope::new(project, domain);
        scope.check()?;
        Ok(Self {
            socket: globals.socket.clone(),
            scope,
            scope_from: project_from.max(domain_from),
            no_start: globals.no_start || set("MEMOD_NO_START").is_some_and(|value| value != "0"),
            mode: set("MEMOD_MODE"),
            screen: Screen::resolve(globals, set("NO_COLOR").is_some()),
        })
    }

    /// Whether to read and to write, unless a flag says it.
    ///
    /// # Errors
    /// If what the environment says is none of the four.
    pub(crate) fn mode(&self) -> Result<Mode, Failure> {
        match self.mode.as_deref() {
            None | Some("enabled") => Ok(Mode::Enabled),
            Some("disabled") => Ok(Mode::Disabled),
            Some("read-only") => Ok(Mode::ReadOnly),
            Some("overwrite") => Ok(Mode::Overwrite),
            Some(other) => {
                let problem = format!("$MEMOD_MODE is `{other}`, which is no mode");
                Err(Failure::usage(problem)
                    .with_hint("it can be enabled, disabled, read-only or overwrite"))
            }
        }
    }
}

fn choose(flag: Option<&str>, set: Option<String>, default: &str) -> (String, ScopeFrom) {
    match (flag, set) {
        (Some(given), _) => (given.to_owned(), ScopeFrom::Flags),
        (None, Some(value)) => (value, ScopeFrom::Environment),
        (None, None) => (default.to_owned(), ScopeFrom::Default),
    }
}

impl Screen {
    /// How to write for these flags in this process's environment.
    pub(crate) fn new(globals: &Globals) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self::resolve(globals, no_color)
    }

    fn resolve(globals: &Globals, no_color: bool) -> Self {
        let out_is_terminal = std::io::stdout().is_terminal();
        let err_is_terminal = std::io::stderr().is_terminal();
        let color = |is_terminal: bool| match globals.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => is_terminal && !no_color,
        };
        Self {
            format: globals.format,
            out_is_terminal,
            err_is_terminal,
            color: color(out_is_terminal),
            err_color: color(err_is_terminal),
            quiet: globals.quiet > 0,
            verbose: globals.verbose > 0,
        }
    }

    /// Text without colours, for tests.
    #[cfg(test)]
    pub(crate) fn plain(out_is_terminal: bool) -> Self {
        let globals = Globals { color: ColorChoice::Never, ..Globals::default() };
        Self { out_is_terminal, err_is_terminal: false, ..Self::resolve(&globals, true) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(globals: &Globals, environment: &[(&str, &str)]) -> Result<Settings, Failure> {
        Settings::resolve(globals, |name| {
            let found = environment.iter().find(|(given, _)| *given == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn flags_over_environment_over_defaults() {
        let nothing = settings(&Globals::default(), &[]).expect("defaults are valid");
        assert_eq!(nothing.scope, Scope::new("default", "development"));
        assert_eq!(nothing.scope_from, ScopeFrom::Default);
        let environment = [("MEMOD_PROJECT", "p"), ("MEMOD_DOMAIN", "d")];
        let set = settings(&Globals::default(), &environment).expect("valid");
        assert_eq!(set.scope, Scope::new("p", "d"));
        assert_eq!(set.scope_from, ScopeFrom::Environment);
        let flags = Globals { domain: Some("other".into()), ..Globals::default() };
        let both = settings(&flags, &environment).expect("valid");
        assert_eq!(both.scope, Scope::new("p", "other"));
        assert_eq!(both.scope_from, ScopeFrom::Flags);
    }

    #[test]
    fn an_empty_project_is_an_error_that_names_it() {
        let flags = Globals { project: Some(String::new()), ..Globals::default() };
        let failure = settings(&flags, &[]).expect_err("it is empty");
        assert_eq!(failure.exit, crate::exit::USAGE);
        assert!(failure.message.contains("project"), "{failure}");
    }

    #[test]
    fn an_empty_variable_is_as_good_as_none() {
        let environment = [("MEMOD_PROJECT", ""), ("MEMOD_NO_START", "")];
        let set = settings(&Globals::default(), &environment).expect("valid");
        assert_eq!(set.scope.project, "default");
        assert!(!set.no_start);
    }

    #[test]
    fn semantics_23_the_environment_says_the_mode() {
        let mode = |value| {
            settings(&Globals::default(), &[("MEMOD_MODE", value)])
                .expect("others ignore it")
                .mode()
        };
        for (value, expected) in [
            ("", Mode::Enabled),
            ("enabled", Mode::Enabled),
            ("disabled", Mode::Disabled),
            ("read-only", Mode::ReadOnly),
            ("overwrite", Mode::Overwrite),
        ] {
            assert_eq!(mode(value), Ok(expected), "{value}");
        }
        let failure = mode("readonly").expect_err("it is none");
        assert_eq!(failure.exit, crate::exit::USAGE);
        assert!(failure.message.contains("`readonly`"), "{failure}");
    }

    #[test]
    fn no_color_counts_only_for_auto() {
        let always = Globals { color: ColorChoice::Always, ..Globals::default() };
        assert!(settings(&always, &[("NO_COLOR", "1")]).expect("valid").screen.color);
    }
}
