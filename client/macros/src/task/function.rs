//! The function below `#[task]`, and whether it can be a task.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Attribute, Error, Expr, FnArg, Ident, ItemFn, Pat, PatIdent, PatType, Path, Result, ReturnType,
    Safety, Token, Type, TypeImplTrait, parse_quote,
};

/// A function that can be a task.
pub(super) struct Function {
    /// As it stands, without the attributes that are ours.
    pub(super) item: ItemFn,
    pub(super) inputs: Vec<Input>,
    pub(super) returns: Type,
}

/// One of its arguments.
pub(super) struct Input {
    pub(super) ident: Ident,
    pub(super) ty: Type,
    /// The function that makes its hash.
    pub(super) hash: Option<Path>,
}

impl Function {
    /// # Errors
    /// Everything that keeps it from being a task.
    pub(super) fn check(mut item: ItemFn) -> Result<Self> {
        let mut found = signature_problems(&item);
        let mut inputs = Vec::new();
        for argument in &mut item.sig.inputs {
            match input(argument) {
                Ok(input) => inputs.push(input),
                Err(error) => found.push(error),
            }
        }
        let returns = match &item.sig.output {
            ReturnType::Default => parse_quote!(()),
            ReturnType::Type(_, ty) => {
                found.extend(ImplTrait::find(ty).map(|at| {
                    Error::new(at, "a task returns a type that has a name, not `impl Trait`")
                }));
                ty.as_ref().clone()
            }
        };
        let first = found.into_iter().reduce(|mut all, next| {
            all.combine(next);
            all
        });
        first.map_or(Ok(Self { item, inputs, returns }), Err)
    }

    /// Whether it is an async function.
    pub(super) const fn is_async(&self) -> bool {
        self.item.sig.asyncness.is_some()
    }
}

/// The same function without the attributes on arguments that only this macro knows.
pub(super) fn without_input_attributes(mut item: ItemFn) -> ItemFn {
    for argument in &mut item.sig.inputs {
        if let FnArg::Typed(typed) = argument {
            typed.attrs.retain(|attribute| !attribute.path().is_ident("input"));
        }
    }
    item
}

fn signature_problems(item: &ItemFn) -> Vec<Error> {
    let signature = &item.sig;
    let mut found = Vec::new();
    if let Some(constness) = &signature.constness {
        found.push(Error::new(constness.span(), "a task asks a daemon, so it cannot be `const`"));
    }
    if let Safety::Unsafe(token) = &signature.safety {
        let problem = "a task cannot be `unsafe`: whoever calls it may get what another call gave";
        found.push(Error::new(token.span(), problem));
    }
    if let Some(abi) = &signature.abi {
        found.push(Error::new(abi.span(), "a task is called from Rust: it has no ABI of its own"));
    }
    if let Some(variadic) = &signature.variadic {
        found.push(Error::new(variadic.span(), "a task has a fixed number of arguments"));
    }
    let generics = &signature.generics;
    if !generics.params.is_empty() || generics.where_clause.is_some() {
        let problem = "a task has one signature, so it cannot be generic; write `&str` for a \
                       borrowed argument, and a task for each type";
        let at = if generics.params.is_empty() {
            generics.where_clause.span()
        } else {
            generics.params.span()
        };
        found.push(Error::new(at, problem));
    }
    if !cfg!(feature = "async")
        && let Some(asyncness) = &signature.asyncness
    {
        let problem = "an async task needs the feature `tokio` of memod-client";
        found.push(Error::new(asyncness.span(), problem));
    }
    found
}

fn input(argument: &mut FnArg) -> Result<Input> {
    let typed = match argument {
        FnArg::Typed(typed) => typed,
        FnArg::Receiver(receiver) => {
            let problem = "a task is a function, not a method: what it needs of `self` are \
                           arguments, or they would not count";
            return Err(Error::new(receiver.span(), problem));
        }
    };
    let hash = hash(typed)?;
    let ident = match typed.pat.as_ref() {
        Pat::Ident(PatIdent { by_ref: None, subpat: None, ident, .. }) => ident.clone(),
        pattern => {
            return Err(Error::new(
                pattern.span(),
                "an input needs a name; take the pattern apart in the function's body",
            ));
        }
    };
    if let Type::Reference(reference) = typed.ty.as_ref()
        && let Some(mutability) = &reference.mutability
    {
        let problem = "what a task changes in its arguments would not happen on a hit; return it";
        return Err(Error::new(mutability.span(), problem));
    }
    if let Some(at) = ImplTrait::find(&typed.ty) {
        return Err(Error::new(at, "a task has one signature: name the type of this argument"));
    }
    Ok(Input { ident, ty: typed.ty.as_ref().clone(), hash })
}

/// Takes the attribute `#[input(..)]` off an argument.
fn hash(argument: &mut PatType) -> Result<Option<Path>> {
    let is_ours = |attribute: &Attribute| attribute.path().is_ident("input");
    let mut hash = None;
    for attribute in argument.attrs.iter().filter(|attribute| is_ours(attribute)) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("hash") {
                return Err(meta.error("an input has the attribute `hash = path::to::function`"));
            }
            if hash.is_some() {
                return Err(meta.error("`hash` is given twice"));
            }
            meta.input.parse::<Token![=]>()?;
            match meta.input.parse::<Expr>()? {
                Expr::Path(path) if path.qself.is_none() => hash = Some(path.path),
                other => {
                    let problem = "`hash` is the path of a function from a reference to a `String`";
                    return Err(Error::new(other.span(), problem));
                }
            }
            Ok(())
        })?;
    }
    argument.attrs.retain(|attribute| !is_ours(attribute));
    Ok(hash)
}

/// Finds `impl Trait` in a type.
#[derive(Default)]
struct ImplTrait(Option<proc_macro2::Span>);

impl ImplTrait {
    fn find(ty: &Type) -> Option<proc_macro2::Span> {
        let mut found = Self::default();
        found.visit_type(ty);
        found.0
    }
}

impl<'a> Visit<'a> for ImplTrait {
    fn visit_type_impl_trait(&mut self, found: &'a TypeImplTrait) {
        self.0.get_or_insert(found.impl_token.span());
        visit::visit_type_impl_trait(self, found);
    }
}
