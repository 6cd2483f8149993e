//! The value of `--limit`.

use vfioboot::compression::Budget;

/// Suffixes and the shift each stands for.
const UNITS: &[(char, u32)] = &[('K', 10), ('M', 20), ('G', 30), ('T', 40)];

/// Bytes, or a number with one of the suffixes K, M, G and T.
pub fn parse(text: &str) -> Result<Budget, String> {
    let unit =
        UNITS.iter().find(|(suffix, _)| text.ends_with([*suffix, suffix.to_ascii_lowercase()]));
    let digits = &text[..text.len() - usize::from(unit.is_some())];
    let number: u64 = digits.parse().map_err(|_| "expected bytes, such as 4G or 512M")?;
    let factor = 1 << unit.map_or(0, |(_, shift)| *shift);
    number.checked_mul(factor).map(Budget::of).ok_or_else(|| "is too large".to_owned())
}
