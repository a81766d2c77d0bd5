//! The flags of `memo log`.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use memod_protocol::limits::LOG_ROWS_MAX;
use memod_protocol::{Outcome, Verb};

use crate::args::number;

/// How many requests are printed unless a number is given.
const LIMIT: u32 = 20;

const DETAILS: &str = "\
Oldest first. All projects and domains are shown unless --project or --domain is given; what the \
environment says does not count here. The daemon remembers a bounded number of requests, and none \
from before its start. With --follow, memo warns when the daemon has gone and when \
another has begun.

In a pipe each request is one line of fields between tabs, in this order: time, verb, outcome, \
reason or error, project, domain, task, uid, pid, program, seconds, bytes, key. With --format json \
each line is one object.";

/// Arguments of `memo log`.
#[derive(Debug, Clone, Args)]
#[command(after_help = DETAILS)]
pub(crate) struct LogArgs {
    /// Goes on with new requests as they are answered, until it is interrupted; if the daemon ends,
    /// waits for the next one.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Requests for this task only.
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) task: Option<String>,
    /// Requests of this kind only.
    #[arg(long, value_name = "VERB", value_parser = verbs())]
    pub(crate) verb: Option<Verb>,
    /// Requests that ended like this only.
    #[arg(long, value_name = "OUTCOME", value_parser = outcomes())]
    pub(crate) outcome: Option<Outcome>,
    /// Requests of this user only.
    #[arg(
        long,
        value_name = "UID",
        value_parser = number::user,
        allow_negative_numbers = true
    )]
    pub(crate) uid: Option<u32>,
    /// Prints the last N requests, at most 1000.
    #[arg(
        long,
        value_name = "N",
        default_value_t = LIMIT,
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(LOG_ROWS_MAX))
    )]
    pub(crate) limit: u32,
}

fn verbs() -> impl TypedValueParser<Value = Verb> {
    PossibleValuesParser::new(Verb::ALL.map(Verb::name)).map(|given| {
        let found = Verb::ALL.into_iter().find(|verb| verb.name() == given);
        found.expect("the parser lets nothing else through")
    })
}

fn outcomes() -> impl TypedValueParser<Value = Outcome> {
    PossibleValuesParser::new(Outcome::ALL.map(Outcome::name)).map(|given| {
        let found = Outcome::ALL.into_iter().find(|outcome| outcome.name() == given);
        found.expect("the parser lets nothing else through")
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Command, Line};

    fn parsed(line: &[&str]) -> Result<LogArgs, clap::Error> {
        match Line::try_parse_from(["memo", "log"].iter().chain(line))?.command {
            Command::Log(args) => Ok(args),
            other => panic!("not a log: {other:?}"),
        }
    }

    #[test]
    fn kinds_are_called_as_in_the_answer() {
        for verb in Verb::ALL {
            assert_eq!(parsed(&["--verb", verb.name()]).expect("a verb").verb, Some(verb));
        }
        for outcome in Outcome::ALL {
            let args = parsed(&["--outcome", outcome.name()]).expect("an outcome");
            assert_eq!(args.outcome, Some(outcome));
        }
        assert!(parsed(&["--verb", "ponder"]).is_err());
        assert!(parsed(&["--outcome", "Hit"]).is_err());
    }

    #[test]
    fn the_number_is_one_that_the_daemon_gives() {
        assert_eq!(parsed(&[]).expect("nothing is needed").limit, LIMIT);
        assert_eq!(parsed(&["--limit", "1000"]).expect("the most").limit, LOG_ROWS_MAX);
        for wrong in ["0", "1001", "-1", "many"] {
            assert!(parsed(&["--limit", wrong]).is_err(), "{wrong}");
        }
    }
}
