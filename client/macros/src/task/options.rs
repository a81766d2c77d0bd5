//! What stands behind `#[task(..)]`.
//!
//! **Invariants.** Each mistake is said where it stands (semantics 33).

use proc_macro2::Span;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, ExprLit, Ident, Lit, LitBool, Path, Result, Token, parenthesized};

use super::function::Function;

/// The names of all options, for the message about an unknown one.
const KNOWN: &str = "cache_version, serialize, ignore(..), name, project, domain, max_age, wait, \
                     overwrite, read_only, enabled, client, crate";

/// An option that was given, and where.
pub(super) struct Given<T> {
    pub(super) at: Span,
    pub(super) value: T,
}

/// What stands behind `#[task(..)]`.
#[derive(Default)]
pub(super) struct Options {
    pub(super) name: Option<Given<Expr>>,
    pub(super) project: Option<Given<Expr>>,
    pub(super) domain: Option<Given<Expr>>,
    pub(super) cache_version: Option<Given<Expr>>,
    pub(super) serialize: Option<Given<Expr>>,
    pub(super) overwrite: Option<Given<Expr>>,
    pub(super) read_only: Option<Given<Expr>>,
    pub(super) enabled: Option<Given<Expr>>,
    pub(super) max_age: Option<Given<Expr>>,
    pub(super) wait: Option<Given<Expr>>,
    pub(super) client: Option<Given<Expr>>,
    pub(super) krate: Option<Given<Path>>,
    pub(super) ignore: Option<Given<Vec<Ident>>>,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Self::default();
        while !input.is_empty() {
            options.option(input)?;
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

impl Options {
    fn option(&mut self, input: ParseStream<'_>) -> Result<()> {
        let name = input.call(Ident::parse_any)?;
        match name.to_string().as_str() {
            "name" => text(&mut self.name, &name, input),
            "project" => text(&mut self.project, &name, input),
            "domain" => text(&mut self.domain, &name, input),
            "cache_version" => text(&mut self.cache_version, &name, input),
            "serialize" => flag(&mut self.serialize, &name, input),
            "overwrite" => flag(&mut self.overwrite, &name, input),
            "read_only" => flag(&mut self.read_only, &name, input),
            "enabled" => value(&mut self.enabled, &name, input),
            "max_age" => value(&mut self.max_age, &name, input),
            "wait" => value(&mut self.wait, &name, input),
            "client" => value(&mut self.client, &name, input),
            "crate" => value(&mut self.krate, &name, input),
            "ignore" => {
                let list;
                parenthesized!(list in input);
                let names =
                    Punctuated::<Ident, Token![,]>::parse_terminated_with(&list, Ident::parse_any)?;
                if names.is_empty() {
                    return Err(Error::new(name.span(), "`ignore()` names no argument"));
                }
                once(&mut self.ignore, &name, names.into_iter().collect())
            }
            other => Err(Error::new(
                name.span(),
                format!("`{other}` is no option of a task; these are: {KNOWN}"),
            )),
        }
    }

    /// Checks what can be known of the options before the program runs.
    pub(super) fn check(&self, function: &Function) -> Result<()> {
        let mut found = Vec::new();
        self.check_caching(function, &mut found);
        self.check_ignored(function, &mut found);
        if let (Some(overwrite), Some(read_only)) = (&self.overwrite, &self.read_only)
            && is_literally(&overwrite.value, true)
            && is_literally(&read_only.value, true)
        {
            let problem = "`overwrite` and `read_only` together neither read nor store; \
                           `enabled = false` says that";
            found.push(Error::new(read_only.at, problem));
        }
        let first = found.into_iter().reduce(|mut all, next| {
            all.combine(next);
            all
        });
        first.map_or(Ok(()), Err)
    }

    /// Whether the declaration says that nothing is cached.
    fn is_disabled(&self) -> bool {
        self.enabled.as_ref().is_some_and(|given| is_literally(&given.value, false))
    }

    /// Options that mean something only if there is caching.
    fn check_caching(&self, function: &Function, found: &mut Vec<Error>) {
        let disabled = self.is_disabled();
        if self.cache_version.is_some() && !disabled {
            return;
        }
        let why = if disabled {
            "caching is off (`enabled = false`)"
        } else {
            "there is no `cache_version`, and without one nothing is cached"
        };
        let serialize = self.serialize.as_ref().filter(|given| !is_literally(&given.value, false));
        let hashed = function.inputs.iter().filter_map(|input| input.hash.as_ref());
        let needing = [
            ("serialize", serialize.map(|given| given.at)),
            ("ignore", self.ignore.as_ref().map(|given| given.at)),
            ("max_age", self.max_age.as_ref().map(|given| given.at)),
        ];
        let before = found.len();
        for (option, at) in needing {
            if let Some(at) = at {
                found.push(Error::new(at, format!("`{option}` means nothing here: {why}")));
            }
        }
        found.extend(
            hashed
                .map(|hash| Error::new_spanned(hash, format!("`hash` means nothing here: {why}"))),
        );
        if found.len() == before && !disabled {
            let problem = "a task needs a `cache_version = \"..\"`: change it when the function \
                           gives other results than before";
            found.push(Error::new(Span::call_site(), problem));
        }
    }

    fn check_ignored(&self, function: &Function, found: &mut Vec<Error>) {
        let Some(Given { value: names, .. }) = &self.ignore else { return };
        for (index, name) in names.iter().enumerate() {
            let Some(input) = function.inputs.iter().find(|input| input.ident == *name) else {
                let problem = format!("there is no argument `{name}` to ignore");
                found.push(Error::new(name.span(), problem));
                continue;
            };
            if names.iter().take(index).any(|before| before == name) {
                found.push(Error::new(name.span(), format!("`{name}` is ignored already")));
            }
            if let Some(hash) = &input.hash {
                let problem = format!("`{name}` is ignored, so its hash does not count");
                found.push(Error::new_spanned(hash, problem));
            }
        }
    }

    /// Whether this argument does not count.
    pub(super) fn ignores(&self, ident: &Ident) -> bool {
        self.ignore.as_ref().is_some_and(|given| given.value.contains(ident))
    }
}

/// `option = expression`, where a literal has to be a string that is not blank.
fn text(place: &mut Option<Given<Expr>>, name: &Ident, input: ParseStream<'_>) -> Result<()> {
    input.parse::<Token![=]>()?;
    let expression: Expr = input.parse()?;
    if let Expr::Lit(ExprLit { lit, .. }) = &expression {
        match lit {
            Lit::Str(text) if text.value().trim().is_empty() => {
                return Err(Error::new(lit.span(), format!("`{name}` must not be blank")));
            }
            Lit::Str(_) => {}
            _ => {
                let problem = format!("`{name}` is a string, such as \"1.0\"");
                return Err(Error::new(lit.span(), problem));
            }
        }
    }
    once(place, name, expression)
}

/// `option = value`.
fn value<T: Parse>(
    place: &mut Option<Given<T>>,
    name: &Ident,
    input: ParseStream<'_>,
) -> Result<()> {
    input.parse::<Token![=]>()?;
    let value = input.parse()?;
    once(place, name, value)
}

/// `option`, or `option = expression`.
fn flag(place: &mut Option<Given<Expr>>, name: &Ident, input: ParseStream<'_>) -> Result<()> {
    if input.peek(Token![=]) {
        return value(place, name, input);
    }
    let lit = Lit::Bool(LitBool::new(true, name.span()));
    once(place, name, Expr::Lit(ExprLit { attrs: Vec::new(), lit }))
}

fn once<T>(place: &mut Option<Given<T>>, name: &Ident, value: T) -> Result<()> {
    if place.is_some() {
        return Err(Error::new(name.span(), format!("`{name}` is given twice")));
    }
    *place = Some(Given { at: name.span(), value });
    Ok(())
}

/// Whether an expression is this very literal.
fn is_literally(expression: &Expr, wanted: bool) -> bool {
    matches!(expression, Expr::Lit(ExprLit { lit: Lit::Bool(lit), .. }) if lit.value == wanted)
}
