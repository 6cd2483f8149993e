//! An `import` line put where init honours it.

use super::lexer::Script;

/// `text`, an `init.rc`, with one line more that imports `path`; None when it has that line.
///
/// The line goes behind the last `import`, else in front of the first section: at neither place
/// is a section open whose commands or options it would cut off. Init reads imported files after
/// the importing one, in order. All other bytes stay as they are.
pub fn add_import(text: &[u8], path: &str) -> Option<Vec<u8>> {
    let script = Script::read(text);
    let imports = || script.statements.iter().filter(|statement| statement.words[0] == "import");
    if imports().any(|import| import.words.get(1).is_some_and(|word| word == path)) {
        return None;
    }
    let line = format!("import {path}\n");
    let first = script.statements.first().map_or(0, |statement| statement.range.start);
    let (at, closed) =
        imports().next_back().map_or((first, true), |import| (import.range.end, import.closed));
    let (head, tail) = text.split_at(at);
    let end: &[u8] = if closed { b"" } else { b"\n" };
    Some([head, end, line.as_bytes(), tail].concat())
}
