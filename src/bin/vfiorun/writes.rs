//! Writes to sysfs, as a dry run shows them.

use serde_json::{Value, json};
use vfioboot::device::sys::host::Write;

/// As a shell would make them, under the subject that they are for.
pub fn text(subject: &str, writes: &[Write]) -> String {
    let mut text = format!("# {subject}\n");
    if writes.is_empty() {
        text += "# nothing to do\n";
    }
    for write in writes {
        text += &format!("{write}\n");
    }
    text
}

/// As JSON.
pub fn json(writes: &[Write]) -> Vec<Value> {
    writes
        .iter()
        .map(|write| json!({ "path": format!("/{}", write.path), "value": write.value.trim_end() }))
        .collect()
}
