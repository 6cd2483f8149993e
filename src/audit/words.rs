//! Words for the kernel command line, and reading one.

use super::{Facts, Level, Profile, Provenance};
use crate::kernel::config::Value;

/// A word that belongs on the kernel command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// As it is written: `intel_iommu=on`.
    pub word: String,
    /// How much it matters; an optional one is for the user to choose.
    pub level: Level,
    /// Why.
    pub why: String,
}

/// What the builtin profile says belongs on the command line of such a kernel and is not there
/// yet, in the profile's order. Nothing where it is not certain that a word helps: none on
/// arm64, and none without a config.
pub fn recommended_words(facts: &Facts) -> Vec<Word> {
    match Profile::builtin("passthrough") {
        Ok(profile) => profile.recommended_words(facts),
        // A test reads every builtin profile.
        Err(_) => Vec::new(),
    }
}

impl Profile {
    /// What this profile says belongs on the command line of such a kernel and is not there yet.
    pub fn recommended_words(&self, facts: &Facts) -> Vec<Word> {
        let line = facts.cmdline.as_deref().unwrap_or_default();
        let applies = self.words.iter().filter(|rule| {
            let here = rule.arch.is_empty() || facts.arch.is_some_and(|a| rule.arch.contains(&a));
            here && rule.when.iter().all(|when| when.holds(facts) == Some(true))
        });
        let words = applies.map(|rule| &rule.word);
        words.filter(|word| !words_of(line).any(|there| there == word.word)).cloned().collect()
    }
}

/// The words of a command line. A double quote keeps spaces in a word (`next_arg` in
/// `lib/cmdline.c`); quotes are not part of it.
pub(super) fn words_of(line: &str) -> impl Iterator<Item = String> {
    let mut characters = line.chars().peekable();
    std::iter::from_fn(move || {
        while characters.next_if(char::is_ascii_whitespace).is_some() {}
        characters.peek()?;
        let mut word = String::new();
        let mut quoted = false;
        while let Some(character) = characters.next_if(|c| quoted || !c.is_ascii_whitespace()) {
            match character {
                '"' => quoted = !quoted,
                other => word.push(other),
            }
        }
        Some(word)
    })
}

/// The last value of the parameter `name` on `line`; `-` and `_` are the same in names
/// (`parameq` in `kernel/params.c`). Words behind `--` are for init.
fn last_value(line: &str, name: &str) -> Option<String> {
    let same = |a: &str, b: &str| a.replace('-', "_") == b.replace('-', "_");
    words_of(line)
        .take_while(|word| word != "--")
        .filter_map(|word| {
            let (key, value) = word.split_once('=').unwrap_or((&word, ""));
            same(key, name).then(|| value.to_owned())
        })
        .last()
}

/// What a parameter is set to.
pub(super) enum Setting {
    /// Nothing is known about the command line.
    NoCmdline,
    /// It does not occur in what is known.
    Absent(Provenance),
    /// Its values: one, or two when built-in and given line differ and which comes last is not
    /// known (upstream and GKI order them differently under `CMDLINE_EXTEND`).
    Values(Vec<(String, Provenance)>),
}

/// What the parameter `name` is, by the command line and the one built into the kernel.
pub(super) fn parameter(facts: &Facts, name: &str) -> Setting {
    let config = facts.config.as_ref();
    let builtin = config.and_then(|(config, provenance)| match config.get("CMDLINE") {
        Some(Value::Text(text)) if !text.is_empty() => Some((text.as_str(), provenance.clone())),
        _ => None,
    });
    let force = config.is_some_and(|(config, _)| {
        config.is_set("CMDLINE_FORCE") || config.is_set("CMDLINE_OVERRIDE")
    });
    let extend = config.is_some_and(|(config, _)| {
        // x86 has no EXTEND: CMDLINE_BOOL puts the built-in line in front.
        config.is_set("CMDLINE_EXTEND") || config.is_set("CMDLINE_BOOL")
    });
    let given = facts.cmdline.as_deref().filter(|_| !force);
    // CMDLINE_FROM_BOOTLOADER: the built-in one counts only where no other is given.
    let builtin = builtin.filter(|_| force || extend || given.is_none());
    if given.is_none() && builtin.is_none() {
        return Setting::NoCmdline;
    }
    let builtin_value = builtin
        .as_ref()
        .and_then(|(line, from)| last_value(line, name).map(|value| (value, from.clone())));
    let given_value =
        given.and_then(|line| last_value(line, name)).map(|value| (value, Provenance::Cmdline));
    let values: Vec<_> = builtin_value.into_iter().chain(given_value).collect();
    match values.is_empty() {
        true => Setting::Absent(match (given, builtin) {
            (None, Some((_, provenance))) => provenance,
            _ => Provenance::Cmdline,
        }),
        false => Setting::Values(values),
    }
}
