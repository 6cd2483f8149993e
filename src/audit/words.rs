//! Words for the kernel command line.

use super::{EffectiveCmdline, Facts, Level, Profile};

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
        let line = EffectiveCmdline::new(facts);
        let there = |word: &str| {
            line.iter().flat_map(EffectiveCmdline::parameters).any(|there| there.word == word)
        };
        let applies = self.words.iter().filter(|rule| {
            let here = rule.arch.is_empty() || facts.arch.is_some_and(|a| rule.arch.contains(&a));
            here && rule.when.iter().all(|when| when.holds(facts) == Some(true))
        });
        let words = applies.map(|rule| &rule.word);
        words.filter(|word| !there(&word.word)).cloned().collect()
    }
}
