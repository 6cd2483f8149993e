//! Details of a payload.

use std::fmt::Write;

use serde_json::{Value as Json, json};
use vfioboot::bootset::{BootSet, KernelState, Ramdisk};
use vfioboot::image::DtTable;
use vfioboot::kernel::{Arch, Kernel, KernelConfig};

use super::modules;

/// Details of a payload: for people, and as data.
pub(super) struct Detail {
    pub lines: Vec<String>,
    pub json: Json,
}

/// The entries of a table of device trees, one a line.
pub(super) fn table_detail(table: DtTable) -> Detail {
    let mut lines =
        vec![format!("{} version {}, {} entries", table.form, table.version, table.count)];
    for entry in &table.entries {
        let ids = entry.ids.iter().filter(|(_, value)| *value != 0);
        let ids: String = ids.map(|(name, value)| format!(" {name} {value:#x}")).collect();
        lines.push(format!("{} bytes at {}{ids}", entry.size, entry.offset));
    }
    let outside = (table.count as usize).saturating_sub(table.entries.len());
    if outside > 0 {
        lines.push(format!("{outside} point outside of the table"));
    }
    Detail { lines, json: json!({ "table": table }) }
}

/// The kernel of the image of this index; that of a normal boot is already known.
pub(super) fn kernel_detail(set: &BootSet<'_>, image: usize, bytes: &[u8]) -> Detail {
    let scan = |kernel: &Kernel<'_>| match &set.kernel().state {
        KernelState::NoConfig | KernelState::Config if set.kernel().image == Some(image) => {
            let facts = set.facts();
            Ok((facts.release.clone(), facts.config.is_some()))
        }
        _ => kernel.scan().map(|scan| (scan.version, scan.ikconfig.is_some())),
    };
    let scanned = Kernel::parse(bytes).and_then(|kernel| Ok((kernel.describe(), scan(&kernel)?)));
    match scanned {
        Ok((container, (version, config))) => {
            let text = format!(
                "{container}, {}, {}",
                version.as_deref().unwrap_or("no version found"),
                if config { "embedded config" } else { "no embedded config" }
            );
            let json = json!({ "container": container, "version": version, "config": config });
            Detail { lines: vec![text], json }
        }
        Err(error) => unreadable("kernel", &error),
    }
}

pub(super) fn config_detail(config: KernelConfig) -> Detail {
    let (version, arch) = (config.release(), config.arch().map(Arch::name));
    let text = format!(
        "{}, {}",
        version.unwrap_or("no version in it"),
        arch.unwrap_or("architecture not known")
    );
    Detail { lines: vec![text], json: json!({ "version": version, "arch": arch }) }
}

pub(super) fn ramdisk_detail(ramdisk: &Ramdisk<'_>) -> Detail {
    match ramdisk.survey() {
        Ok(survey) => {
            let found = survey.kinds.findings().iter().map(|f| match f.maker {
                Some(maker) => format!("{}, {maker} ({})", f.kind, f.evidence),
                None => format!("{} ({})", f.kind, f.evidence),
            });
            let mut lines = vec![found.collect::<Vec<_>>().join(", ")];
            let mut json = json!({ "kinds": survey.kinds });
            if let Some((text, data)) = modules::describe(ramdisk) {
                lines.push(text);
                json["modules"] = data;
            }
            Detail { lines, json }
        }
        Err(error) => unreadable("ramdisk", error),
    }
}

fn unreadable(what: &str, error: &dyn std::error::Error) -> Detail {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(message, ": {cause}");
        source = cause.source();
    }
    let text = format!("not readable as a {what}: {message}");
    Detail { lines: vec![text], json: json!({ "error": message }) }
}
