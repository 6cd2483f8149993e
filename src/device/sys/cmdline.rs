//! The words of a kernel command line.

/// The words. Double quotes keep spaces in a value (`next_arg` in `lib/cmdline.c`) and are left
/// where they are.
pub fn words(cmdline: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    cmdline
        .split(move |c: char| {
            quoted ^= c == '"';
            !quoted && c.is_ascii_whitespace()
        })
        .filter(|word| !word.is_empty())
}

/// The value of the last `name=`: each overwrites the one before.
pub fn value<'l>(cmdline: &'l str, name: &str) -> Option<&'l str> {
    words(cmdline)
        .filter_map(|word| word.split_once('='))
        .filter(|(key, _)| *key == name)
        .last()
        .map(|(_, value)| value)
}
