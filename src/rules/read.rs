//! Reads profiles from TOML and checks them as a whole before any rule is used.

use std::collections::{BTreeMap, HashSet};

use toml::Spanned;

use super::raw::{self, File};
use super::{BUILTIN, Builtin, List, Profile, Rule, Text};

/// Why a profile could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// It is not TOML, or has unknown keys.
    #[error("profile {name}")]
    Toml {
        /// The profile.
        name: String,
        /// The error of the TOML reader; its text names line and column.
        #[source]
        error: toml::de::Error,
    },
    /// An invalid table.
    #[error("profile {name}, line {line}: {message}")]
    Rule {
        /// The profile.
        name: String,
        /// Where the table begins, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// There is no such built-in profile.
    #[error("no profile \"{0}\"; the built-in ones are {list}", list = names())]
    NoSuchProfile(String),
}

/// The names of the built-in profiles: `a, b, c`.
fn names() -> String {
    let names: Vec<&str> = BUILTIN.iter().map(|builtin| builtin.name).collect();
    names.join(", ")
}

/// The offset of a table in the profile, in bytes, and a message about it.
type AtOffset = (usize, String);

impl Builtin {
    /// Read it.
    ///
    /// # Errors
    /// None in practice: the build script has read it.
    pub fn read(self) -> Result<Profile, ProfileError> {
        Profile::parse(self.text, self.name)
    }
}

impl Profile {
    /// The built-in profile of this name.
    ///
    /// # Errors
    /// [`ProfileError::NoSuchProfile`].
    pub fn builtin(name: &str) -> Result<Self, ProfileError> {
        match BUILTIN.iter().find(|builtin| builtin.name == name) {
            Some(builtin) => builtin.read(),
            None => Err(ProfileError::NoSuchProfile(name.to_owned())),
        }
    }

    /// Read a profile; `name` is for messages.
    ///
    /// # Errors
    /// [`ProfileError`], naming the line.
    pub fn parse(text: &str, name: &str) -> Result<Self, ProfileError> {
        let file: File = toml::from_str(text)
            .map_err(|error| ProfileError::Toml { name: name.to_owned(), error })?;
        let base = match base_of(&file, name).map_err(|fault| at_line(fault, text, name))? {
            Some(builtin) => builtin.read()?,
            None => Profile::default(),
        };
        check(file, base, name).map_err(|fault| at_line(fault, text, name))
    }
}

fn at_line((start, message): AtOffset, text: &str, name: &str) -> ProfileError {
    let line = 1 + text[..start.min(text.len())].matches('\n').count();
    ProfileError::Rule { name: name.to_owned(), line, message }
}

/// The profile of this file, which builds on `base`.
fn check(file: File, base: Profile, name: &str) -> Result<Profile, AtOffset> {
    let mut profile = select(&file, base)?;
    profile.name = name.to_owned().into();
    profile.title = file.title;
    if let Some(list) = file.arch {
        let at = |message| (list.span().start, message);
        profile.arch = raw::arches(list.get_ref()).map_err(at)?;
    }
    let rules = profile.rules.to_mut();
    for raw in file.overrides {
        at_offset(raw, |raw| raw.apply(rules))?;
    }
    let mut own: Vec<(usize, Text)> = Vec::new();
    let mut ids: HashSet<Text> = rules.iter().map(|rule| rule.id.clone()).collect();
    for raw in file.rule {
        let start = raw.span().start;
        let rule = at_offset(raw, raw::RawRule::check)?;
        if !ids.insert(rule.id.clone()) {
            return Err((start, format!("rule id {} is used twice", rule.id)));
        }
        own.extend(rule.alternative.clone().map(|alternative| (start, alternative)));
        rules.push(rule);
    }
    for raw in file.word {
        profile.parameters.to_mut().push(at_offset(raw, raw::RawParameter::check)?);
    }
    for raw in file.note {
        profile.notes.to_mut().push(at_offset(raw, raw::RawNote::check)?);
    }
    for raw in file.soc {
        profile.socs.to_mut().push(at_offset(raw, raw::RawSoc::check)?);
    }
    join(&mut profile.modules, file.modules);
    join(&mut profile.part_of, file.part_of);
    join(&mut profile.initcalls, file.initcalls);
    if let Some((start, id)) = own.into_iter().find(|(_, id)| !ids.contains(id)) {
        return Err((start, format!("alternative = \"{id}\": there is no such rule")));
    }
    // The base's rule may have been left out.
    for rule in profile.rules.to_mut() {
        rule.alternative = rule.alternative.take().filter(|id| ids.contains(id));
    }
    Ok(profile)
}

/// Put the names of a table in the place of those of the base.
fn join(base: &mut List<(Text, List<Text>)>, own: BTreeMap<Text, raw::Names>) {
    let kept = std::mem::take(base.to_mut()).into_iter();
    let kept: Vec<_> = kept.filter(|(symbol, _)| !own.contains_key(symbol)).collect();
    let own = own.into_iter().map(|(symbol, names)| (symbol, names.list()));
    *base = kept.into_iter().chain(own).collect();
}

fn at_offset<R, T>(
    raw: Spanned<R>,
    check: impl FnOnce(R) -> Result<T, String>,
) -> Result<T, AtOffset> {
    let start = raw.span().start;
    check(raw.into_inner()).map_err(|message| (start, message))
}

/// The built-in profile that this one extends.
fn base_of(file: &File, name: &str) -> Result<Option<Builtin>, AtOffset> {
    let Some(extends) = &file.extends else {
        let needs_base = |key: &str| format!("{key} with `extends` only");
        let lists = [("`keep` goes", &file.keep), ("`drop` goes", &file.drop)];
        for (key, list) in lists {
            if let Some(list) = list {
                return Err((list.span().start, needs_base(key)));
            }
        }
        return match file.overrides.first() {
            Some(raw) => Err((raw.span().start, needs_base("`override` goes"))),
            None => Ok(None),
        };
    };
    let wanted = extends.get_ref().as_str();
    match BUILTIN.iter().find(|own| own.name == wanted && wanted != name) {
        Some(builtin) => Ok(Some(*builtin)),
        None => {
            let message = format!("extends \"{wanted}\", expected a built-in profile: {}", names());
            Err((extends.span().start, message))
        }
    }
}

/// The base with the rules that `keep` and `drop` leave.
fn select(file: &File, mut base: Profile) -> Result<Profile, AtOffset> {
    for (list, keep) in [(&file.keep, true), (&file.drop, false)] {
        let Some(list) = list else { continue };
        for id in list.get_ref() {
            if !base.rules.iter().any(|rule| rule.id.starts_with(id.as_str())) {
                let message = format!("{} has no rule whose id begins with \"{id}\"", base.name);
                return Err((list.span().start, message));
            }
        }
        let named = |rule: &Rule| list.get_ref().iter().any(|id| rule.id.starts_with(id.as_str()));
        base.rules.to_mut().retain(|rule| named(rule) == keep);
    }
    Ok(base)
}
