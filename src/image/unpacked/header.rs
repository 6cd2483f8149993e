//! `[header]` of `image.toml`: the fields that can be edited.

use std::fmt::Write;

use super::RepackError;
use crate::image::{Header, OsVersion, Value, text_of};

/// The table.
pub(super) fn header_table(header: &Header) -> String {
    let mut table = format!("\n[header] # version {}\n", header.version());
    // If the command line is a section, it has its own file.
    if !header.cmdline_is_section() {
        table += &text_entry("cmdline", &header.cmdline());
    }
    for field in header.fields() {
        match field.value {
            _ if field.name == "os_version" => {
                let Some(version) = header.os_version() else { continue };
                let _ = writeln!(
                    table,
                    "os_version = \"{}\"\nos_patch_level = \"{}\"",
                    version.version().unwrap_or_default(),
                    version.patch_level().unwrap_or_default()
                );
            }
            Value::Text(text) if field.name == "name" => {
                table += &text_entry("name", text_of(text));
            }
            Value::U32(number) if field.name.ends_with("_addr") => {
                let _ = writeln!(table, "{} = {number:#010x}", field.name);
            }
            // TOML integers are below 2^63.
            Value::U64(number)
                if field.name.ends_with("_addr") && i64::try_from(number).is_ok() =>
            {
                let _ = writeln!(table, "{} = {number:#018x}", field.name);
            }
            _ => {}
        }
    }
    table
}

/// A text as TOML, or in hex under another key if it is not UTF-8.
fn text_entry(key: &str, text: &[u8]) -> String {
    match std::str::from_utf8(text) {
        Ok(text) => format!("{key} = {}\n", toml::Value::from(text)),
        Err(_) => format!("{key}_hex = \"{}\"\n", base16ct::lower::encode_string(text)),
    }
}

/// Set the fields of a header to the values of the table.
pub(super) fn apply_header(header: &mut Header, table: &toml::Table) -> Result<(), RepackError> {
    let expected_error = |key: &str, expected: &str| {
        RepackError::Manifest(format!("header.{key}: expected {expected}"))
    };
    let text = |key: &str| match table.get(key) {
        None => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or_else(|| expected_error(key, "a string")),
    };
    for (key, value) in table {
        match key.as_str() {
            "cmdline" => header.set_cmdline(text(key)?.unwrap_or_default().as_bytes())?,
            "name" => header.set_name(text(key)?.unwrap_or_default().as_bytes())?,
            "cmdline_hex" | "name_hex" => {
                let bytes = text(key)?.and_then(|text| base16ct::mixed::decode_vec(text).ok());
                let bytes = bytes.ok_or_else(|| expected_error(key, "bytes in hex"))?;
                if key == "name_hex" {
                    header.set_name(&bytes)?;
                } else {
                    header.set_cmdline(&bytes)?;
                }
            }
            "os_version" | "os_patch_level" => {}
            _ => {
                let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
                header.set_number(key, number.ok_or_else(|| expected_error(key, "a number"))?)?;
            }
        }
    }
    let Some(old) = header.os_version() else { return Ok(()) };
    let (old_version, old_level) =
        (old.version().unwrap_or_default(), old.patch_level().unwrap_or_default());
    let version = text("os_version")?.unwrap_or(&old_version);
    let level = text("os_patch_level")?.unwrap_or(&old_level);
    // Unusual values are kept if they were not edited.
    if (version, level) != (old_version.as_str(), old_level.as_str()) {
        let expected = "os_version as \"A.B.C\", each below 128, and os_patch_level as \"YYYY-MM\"";
        let bits = OsVersion::from_parts(version, level)
            .ok_or_else(|| expected_error("os_version", expected))?;
        header.set_number("os_version", u64::from(bits.0))?;
    }
    Ok(())
}
