//! The rc files of `vfioboot patch`.

use std::io;

use anyhow::anyhow;
use vfioboot::patch::{RcFile, RcOptions, RcPlan, RcReason};

use super::remedy;
use crate::cli::input::Input;
use crate::cli::print::say;
use crate::cli::style::{DIM, HEAD};

/// The options for rc files from the arguments.
pub fn options(
    files: &[Input],
    autostart: bool,
    seclabel: Option<&String>,
) -> anyhow::Result<RcOptions> {
    let file = |input: &Input| {
        let name = input.path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| anyhow!("{}: an rc file needs a name", input.name()))?;
        Ok(RcFile { name: name.to_owned(), bytes: input.to_vec() })
    };
    Ok(RcOptions {
        files: files.iter().map(file).collect::<anyhow::Result<_>>()?,
        autostart,
        seclabel: seclabel.cloned(),
    })
}

/// An SELinux context as rc files write it.
pub fn seclabel(text: &str) -> Result<String, String> {
    let part = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "_.,:-".contains(c))
    };
    let parts: Vec<&str> = text.splitn(4, ':').collect();
    match parts.len() == 4 && parts.into_iter().all(part) {
        true => Ok(text.to_owned()),
        false => Err("expected USER:ROLE:TYPE:LEVEL, as u:r:su:s0".to_owned()),
    }
}

/// Print what starts guests, or why nothing does. The edits show the added files.
pub fn print(plan: &RcPlan) -> io::Result<()> {
    if plan.reason == RcReason::NotRequested {
        return Ok(());
    }
    let who = match &plan.seclabel {
        Some(label) => format!("by init, as {label}"),
        None => "not by init".to_owned(),
    };
    say!("{HEAD}autostart of guests{HEAD:#}: {who}  {DIM}{}{DIM:#}", remedy::rc_reason(plan))
}
