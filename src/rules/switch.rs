//! Judges kernel parameters that turn something off.

use super::{Assignment, Basis, Cause, Given, KernelInfo, Setting, Switch, Text, Verdict};

/// A verdict, its cause and its basis.
pub(super) type Judged<K> = (
    Verdict,
    Cause<<K as KernelInfo>::Origin, <K as KernelInfo>::Misfit>,
    Basis<<K as KernelInfo>::Origin>,
);

/// Whether the command line leaves on what the parameter turns off.
pub(super) fn judge<K: KernelInfo>(switch: &Switch, kernel: &K) -> Judged<K> {
    match &switch.restore {
        Some(restore) => by_words(switch, restore, kernel),
        None => by_last(switch, kernel),
    }
}

/// The last value counts.
fn by_last<K: KernelInfo>(switch: &Switch, kernel: &K) -> Judged<K> {
    let name = &switch.name;
    match kernel.parameter(name) {
        Setting::NoCommandLine => no_command_line::<K>(),
        Setting::Absent => not_given::<K>(name),
        Setting::Value(value, origin) => given::<K>(name, switch.rejects(&value), (value, origin)),
        Setting::Either([first, second]) => {
            match (switch.rejects(&first.0), switch.rejects(&second.0)) {
                (true, false) => ambiguous::<K>(name, first, second),
                (false, true) => ambiguous::<K>(name, second, first),
                (off, _) => given::<K>(name, off, first),
            }
        }
    }
}

/// Values are lists of words, and every occurrence counts.
fn by_words<K: KernelInfo>(switch: &Switch, restore: &[Text], kernel: &K) -> Judged<K> {
    let name = &switch.name;
    let Some(orders) = kernel.occurrences(name) else { return no_command_line::<K>() };
    // For each order the last word that counts, and whether it turns the thing off.
    let last = |values: &Vec<Given<K::Origin>>| {
        let words = values.iter().flat_map(|(value, origin)| {
            value.split(',').map(move |word| (word.to_owned(), origin.clone()))
        });
        let counts = |(word, _): &Given<K::Origin>| {
            switch.rejects(word) || restore.iter().any(|own| own == word)
        };
        words.filter(counts).last().map(|word| (switch.rejects(&word.0), word))
    };
    let found: Vec<_> = orders.iter().map(last).collect();
    let one = |wanted: bool| {
        let mut words = found.iter().flatten();
        words.find(|(off, _)| *off == wanted).map(|(_, word)| word.clone())
    };
    if let (Some(bad), Some(good)) = (one(true), one(false)) {
        return ambiguous::<K>(name, bad, good);
    }
    if let Some(Some((off, word))) = found.into_iter().next_back() {
        return given::<K>(name, off, word);
    }
    let holds: Vec<Option<bool>> = switch.off_when.iter().map(|when| kernel.holds(when)).collect();
    if !holds.is_empty() && !holds.contains(&Some(false)) {
        let certain = !holds.contains(&None);
        let verdict = if certain { Verdict::Fail } else { Verdict::Unknown };
        let nothing = || Assignment { name: name.clone(), value: Text::default() };
        let parameter = switch.remedy().unwrap_or_else(nothing);
        let cause = Cause::Needed { parameter, when: switch.off_when.clone(), certain };
        return (verdict, cause, Basis::CommandLine(None));
    }
    let others = orders.into_iter().flatten().last();
    others.map_or_else(|| not_given::<K>(name), |value| given::<K>(name, false, value))
}

fn no_command_line<K: KernelInfo>() -> Judged<K> {
    (Verdict::NotApplicable, Cause::NoCommandLine, Basis::Nothing)
}

fn not_given<K: KernelInfo>(name: &Text) -> Judged<K> {
    (Verdict::Pass, Cause::NotGiven { name: name.clone() }, Basis::CommandLine(None))
}

fn given<K: KernelInfo>(name: &Text, off: bool, (value, origin): Given<K::Origin>) -> Judged<K> {
    let basis = Basis::CommandLine(Some(origin.clone()));
    let verdict = if off { Verdict::Fail } else { Verdict::Pass };
    (verdict, Cause::Parameter { name: name.clone(), value, origin }, basis)
}

/// It is unknown which of two values takes effect.
fn ambiguous<K: KernelInfo>(
    name: &Text,
    bad: Given<K::Origin>,
    good: Given<K::Origin>,
) -> Judged<K> {
    let cause = Cause::Ambiguous { name: name.clone(), bad: bad.0, good: good.0 };
    (Verdict::Unknown, cause, Basis::CommandLine(Some(bad.1)))
}
