//! Reads the textual form of a type: the inverse of `LiteralType`'s `Display`.
//!
//! **Invariants.** The recursion is bounded by [`NESTING_MAX`], the text by [`TYPE_BYTES_MAX`].

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::str::{Chars, FromStr};

use crate::error::InvalidArgument;
use crate::limits::{NESTING_MAX, TYPE_BYTES_MAX};
use crate::literal_type::{LiteralType, is_word};

impl FromStr for LiteralType {
    type Err = InvalidArgument;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > TYPE_BYTES_MAX {
            return Err(InvalidArgument::new(
                "type",
                format!("is {} bytes long, {TYPE_BYTES_MAX} are allowed", text.len()),
            ));
        }
        let mut parser = Parser { rest: text.chars().peekable(), text };
        let parsed = parser.literal_type(0)?;
        parser.skip_space();
        if parser.rest.peek().is_some() {
            return Err(parser.wrong("something is left over behind the type"));
        }
        parsed.check().map_err(|error| error.within("type"))?;
        Ok(parsed)
    }
}

struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
    text: &'a str,
}

impl Parser<'_> {
    fn wrong(&self, problem: &str) -> InvalidArgument {
        let short: String = self.text.chars().take(80).collect();
        InvalidArgument::new("type", format!("`{}`: {problem}", short.escape_debug()))
    }

    fn skip_space(&mut self) {
        while self.rest.next_if(|c| c.is_whitespace()).is_some() {}
    }

    fn expect(&mut self, wanted: char) -> Result<(), InvalidArgument> {
        if self.accept(wanted) {
            return Ok(());
        }
        Err(self.wrong(&format!("`{wanted}` is missing")))
    }

    fn accept(&mut self, wanted: char) -> bool {
        self.skip_space();
        self.rest.next_if_eq(&wanted).is_some()
    }

    fn name(&mut self) -> Result<String, InvalidArgument> {
        self.skip_space();
        if !self.accept('"') {
            let mut word = String::new();
            while let Some(character) = self.rest.next_if(|c| is_word(*c)) {
                word.push(character);
            }
            return Ok(word);
        }
        let mut name = String::new();
        loop {
            match self.rest.next() {
                Some('"') => return Ok(name),
                Some('\\') => match self.rest.next() {
                    Some(character) => name.push(character),
                    None => break,
                },
                Some(character) => name.push(character),
                None => break,
            }
        }
        Err(self.wrong("a closing `\"` is missing"))
    }

    fn literal_type(&mut self, depth: usize) -> Result<LiteralType, InvalidArgument> {
        if depth >= NESTING_MAX {
            return Err(self.wrong(&format!("nested deeper than {NESTING_MAX}")));
        }
        let word = self.name()?;
        Ok(match word.as_str() {
            "none" => LiteralType::None,
            "boolean" => LiteralType::Boolean,
            "integer" => LiteralType::Integer,
            "float" => LiteralType::Float,
            "string" => LiteralType::String,
            "bytes" => LiteralType::Bytes,
            "datetime" => LiteralType::Datetime,
            "duration" => LiteralType::Duration,
            "file" => LiteralType::File,
            "list" => LiteralType::List(Box::new(self.one(depth)?)),
            "map" => LiteralType::Map(Box::new(self.one(depth)?)),
            "optional" => LiteralType::Optional(Box::new(self.one(depth)?)),
            "struct" => LiteralType::Struct(self.fields(depth)?),
            "enum" => LiteralType::Enum(self.variants()?),
            "union" => LiteralType::Union(self.members(depth)?),
            "opaque" => {
                self.expect('(')?;
                let format = self.name()?;
                self.expect(')')?;
                LiteralType::Opaque(format)
            }
            _ => {
                return Err(self.wrong(
                    "not a type: none, boolean, integer, float, string, bytes, datetime, \
                     duration, file, list<T>, map<T>, struct{a:T}, enum(a|b), optional<T>, \
                     union<T|U> or opaque(format) are",
                ));
            }
        })
    }

    fn one(&mut self, depth: usize) -> Result<LiteralType, InvalidArgument> {
        self.expect('<')?;
        let inner = self.literal_type(depth + 1)?;
        self.expect('>')?;
        Ok(inner)
    }

    fn fields(&mut self, depth: usize) -> Result<BTreeMap<String, LiteralType>, InvalidArgument> {
        self.expect('{')?;
        let mut fields = BTreeMap::new();
        if self.accept('}') {
            return Ok(fields);
        }
        loop {
            let name = self.name()?;
            self.expect(':')?;
            let inner = self.literal_type(depth + 1)?;
            if fields.insert(name, inner).is_some() {
                return Err(self.wrong("a field is named twice"));
            }
            if !self.accept(',') {
                self.expect('}')?;
                return Ok(fields);
            }
        }
    }

    fn variants(&mut self) -> Result<BTreeSet<String>, InvalidArgument> {
        self.expect('(')?;
        let mut names = BTreeSet::new();
        loop {
            let name = self.name()?;
            if !names.insert(name) {
                return Err(self.wrong("an enum's name stands twice"));
            }
            if !self.accept('|') {
                self.expect(')')?;
                return Ok(names);
            }
        }
    }

    fn members(&mut self, depth: usize) -> Result<BTreeSet<LiteralType>, InvalidArgument> {
        self.expect('<')?;
        let mut members = BTreeSet::new();
        loop {
            let member = self.literal_type(depth + 1)?;
            if !members.insert(member) {
                return Err(self.wrong("a union's type stands twice"));
            }
            if !self.accept('|') {
                self.expect('>')?;
                return Ok(members);
            }
        }
    }
}
