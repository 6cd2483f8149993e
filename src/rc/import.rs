//! Add an `import` line where init honours it.

use super::lexer::Script;

/// Add a line that imports `path` to `text`, an `init.rc`. None when the line is already there.
///
/// The line goes after the last `import`, or else before the first section: neither place is
/// inside a section, which the line would end. Init reads imported files after the importing one,
/// in order. All other bytes are kept.
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

/// Take the lines out that import `path`. None when there are none. What [`add_import`] adds is taken
/// out as it was added.
pub fn remove_import(text: &[u8], path: &str) -> Option<Vec<u8>> {
    let script = Script::read(text);
    let imports = script.statements.iter().filter(|statement| {
        statement.words[0] == "import" && statement.words.get(1).is_some_and(|word| word == path)
    });
    let mut kept = text.to_vec();
    let ranges: Vec<_> = imports.map(|import| import.range.clone()).collect();
    ranges.iter().rev().for_each(|range| drop(kept.drain(range.clone())));
    (!ranges.is_empty()).then_some(kept)
}
