//! What follows from mending a config: rules that apply to it only then.

use std::sync::Arc;

use super::evaluate::{Evaluation, Finding, evaluate};
use crate::bootset::Facts;
use crate::rules::config::Value;
use crate::rules::{Cause, Condition, Level, Profile, SymbolState, Verdict};

impl Finding {
    /// Whether a setting improves it.
    pub(super) fn is_mendable(&self, facts: &Facts) -> bool {
        match self.verdict {
            Verdict::Fail => true,
            // No symbol is set if it is not certain that the rule applies, or if a vendor module may
            // satisfy it that the config does not name.
            Verdict::Unknown => {
                let known = facts.config.is_some() && facts.arch.is_some();
                let symbols = matches!(self.rule.condition, Condition::Symbols(_));
                let symbols = symbols && !self.reason.is_overruled();
                let named = !self.rule.vendor_module || self.is_of_modules();
                known && symbols && facts.version().is_some() && named
            }
            Verdict::Pass | Verdict::NotApplicable => false,
        }
    }

    /// Something that the config makes a module decided it: built in, it would be certain.
    fn is_of_modules(&self) -> bool {
        let Cause::Symbols(symbols) = &self.reason.cause else { return false };
        symbols
            .iter()
            .any(|own| matches!(own.state, SymbolState::Module { value: Value::Module, .. }))
    }
}

/// The findings that are left to mend when the config has the settings for those of `evaluation`: of rules that
/// apply only then (`when`), or that these settings break. Empty without a config.
pub(super) fn findings(profile: &Profile, facts: &Facts, evaluation: &Evaluation) -> Vec<Finding> {
    let mut left: Vec<Finding> = Vec::new();
    if facts.config.is_none() || !evaluation.findings.iter().any(|own| own.is_mendable(facts)) {
        return left;
    }
    let mut facts = facts.clone();
    // Every round has a rule more.
    loop {
        let version = facts.version();
        let to_mend = |finding: &&Finding| finding.is_mendable(&facts);
        let lines = evaluation.findings.iter().chain(&left).filter(to_mend);
        let lines = lines
            .filter(|finding| {
                finding.rule.level != Level::Optional && !finding.reason.is_overruled()
            })
            .flat_map(|finding| &finding.settings)
            .filter(|line| line.is_for(version));
        let values: Vec<_> = lines.map(|line| (line.symbol.as_ref(), line.as_value())).collect();
        let Some((config, _)) = &mut facts.config else { return left };
        if values.iter().all(|(symbol, value)| config.get(symbol) == Some(value)) {
            return left;
        }
        *config = Arc::new(config.merged(values));
        let is_known = |own: &Finding| {
            let same = |other: &Finding| other.rule.id == own.rule.id;
            let before = evaluation.findings.iter().filter(|one| one.is_mendable(&facts));
            before.chain(&left).any(same)
        };
        let new: Vec<Finding> = evaluate(profile, &facts)
            .findings
            .into_iter()
            .filter(|own| own.is_mendable(&facts) && !is_known(own))
            .collect();
        if new.is_empty() {
            return left;
        }
        left.extend(new);
    }
}
