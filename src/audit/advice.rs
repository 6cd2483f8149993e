//! What to do about a finding, for the board's SoC and the config that is there.

use crate::bootset::Known;
use crate::rules::{
    KconfigLine, KernelInfo, List, Profile, Rule, Soc, SocPart, Symbol, Text, config::Value,
};

/// A config with more families of SoCs than this is for no board in particular.
const FEW: usize = 3;

/// What to do.
pub(super) struct Advice {
    /// The fix, if it is not the rule's.
    pub fix: Option<Text>,
    /// The settings that make the rule pass; empty if none does.
    pub settings: Vec<KconfigLine>,
}

/// What to do if this rule fails.
pub(super) fn of(profile: &Profile, rule: &Rule, known: &Known<'_>) -> Advice {
    if let Some(part) = rule.by_soc {
        let is_set = |soc: &&Soc| matches!(known.symbol(&soc.symbol), Symbol::Value(Value::Yes));
        let families: Vec<&Soc> = profile.socs.iter().filter(is_set).collect();
        if (1..=FEW).contains(&families.len()) {
            return for_board(rule, part, &families);
        }
    }
    let needed =
        |line: &KconfigLine| line.when.as_ref().is_none_or(|when| known.holds(when) == Some(true));
    Advice { fix: None, settings: rule.settings().into_iter().filter(needed).collect() }
}

fn for_board(rule: &Rule, part: SocPart, families: &[&Soc]) -> Advice {
    let sentences: Vec<String> = families.iter().map(|soc| soc.advice(part)).collect();
    let drivers: Vec<&Text> = families.iter().flat_map(|soc| soc.drivers(part).iter()).collect();
    let Some(first) = drivers.first() else {
        return Advice { fix: Some(sentences.join(" ").into()), settings: Vec::new() };
    };
    // The rule's settings but for its own driver, then those of the families.
    let mut settings = rule.settings();
    let own: Vec<&Text> = rule.condition.symbols().collect();
    settings.retain(|line| !own.contains(&&line.symbol));
    let built_in = |symbol: &Text| KconfigLine {
        symbol: symbol.clone(),
        value: Text::Borrowed("y"),
        since: None,
        until: None,
        when: None,
    };
    settings.push(built_in(first));
    let others = families.iter().filter_map(|soc| soc.drivers(part).first());
    settings.extend(others.filter(|own| own != first).map(built_in));
    Advice { fix: Some(sentences.join(" ").into()), settings }
}

impl Soc {
    fn drivers(&self, part: SocPart) -> &List<Text> {
        match part {
            SocPart::Bridge => &self.bridge,
            SocPart::Iommu => &self.iommu,
        }
    }

    /// `Qualcomm: set CONFIG_ARM_SMMU=y.`
    fn advice(&self, part: SocPart) -> String {
        let drivers: Vec<String> =
            self.drivers(part).iter().map(|symbol| format!("CONFIG_{symbol}=y")).collect();
        let mut text = match (drivers.is_empty(), part) {
            (false, _) => format!("{}: set {}.", self.name, drivers.join(" or ")),
            (true, SocPart::Iommu) => format!(
                "{}: there is no IOMMU before PCIe, and no setting makes passthrough of PCI devices \
                 possible.",
                self.name
            ),
            (true, SocPart::Bridge) => format!("{}: it has no PCIe.", self.name),
        };
        if part == SocPart::Iommu && !self.note.is_empty() {
            text.push(' ');
            text.push_str(&self.note);
        }
        text
    }
}
