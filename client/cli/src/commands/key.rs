//! `memo key`: the key of a call.
//!
//! **Does not** need a daemon.

use std::collections::BTreeMap;
use std::io::Write;

use crate::args::{CallFlags, Screen, Settings};
use crate::describe;
use crate::exit::{self, Outcome};
use crate::output::json::{Object, digests};

/// Prints the key; with `--verbose` also what it is made of.
///
/// # Errors
/// If the flags describe no call.
pub(crate) fn run(flags: &CallFlags, settings: &Settings) -> Outcome {
    let call = describe::call(flags, &settings.scope)?;
    describe::warn_of_strangers(&call, settings.screen);
    let identity = call.identity()?;
    let key = identity.key().to_string();
    let signature = identity.signature.to_string();
    let inputs: BTreeMap<_, _> = identity.inputs.into_iter().collect();
    if settings.screen.is_json() {
        let object = Object::default()
            .with("key", key)
            .with("signature", signature)
            .with("inputs", digests(&inputs));
        Screen::json(&object.into())?;
    } else if settings.screen.verbose {
        let labels: Vec<String> = inputs.keys().map(|name| format!("input {name}")).collect();
        let mut fields = vec![("key", key), ("signature", signature)];
        for (label, digest) in labels.iter().zip(inputs.values()) {
            fields.push((label, digest.to_string()));
        }
        settings.screen.fields(&fields)?;
    } else {
        // Alone, so that a script can take it as it is.
        let mut out = Screen::out();
        writeln!(out, "{key}")?;
        out.flush()?;
    }
    Ok(exit::DONE)
}
