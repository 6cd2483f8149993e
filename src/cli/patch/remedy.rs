//! The options that help against an error, a warning or a risk. The library names none.

use anyhow::anyhow;
use serde_json::{Value, json};
use vfioboot::patch::{Error, Label, Plan, Prospect, RcPlan, RcReason, Reason, Risk, Warning};

/// The error with the options that help, if there are any.
pub fn with_remedy(error: Error) -> anyhow::Error {
    let remedy = match &error {
        Error::NoCmdline => "or use --hook init",
        Error::CmdlineForced => "use --hook init",
        Error::NoRuntime(_) => "--runtime FILE (make dist builds it)",
        Error::NoLibmodprobe => "leave out --modules-by libmodprobe",
        Error::RcInert { .. } => "leave out --rc",
        Error::RcTaken { .. } => "or use --no-autostart and leave out --rc",
        Error::NothingToSign => "--vbmeta FILE",
        Error::Undo { .. } => {
            "or vfioboot unpatch --remove, which takes out what the patch added and keeps \
             everything else; vfioboot patch starts over by itself"
        }
        Error::RecordLost(_) => {
            "vfioboot unpatch --remove takes rdinit= off the command line; vfioboot patch starts over \
             by itself"
        }
        Error::CarrierMissing(_) => {
            "or, if that is no longer patched, vfioboot unpatch --remove takes rdinit= off the \
             command line"
        }
        Error::UndoRecord(_) => {
            "vfioboot unpatch --remove takes out what is known of the patch without it"
        }
        // There is no option for it, or the message says what to do.
        _ => return error.into(),
    };
    anyhow!("{:#}: {remedy}", anyhow::Error::from(error))
}

/// A warning for people.
pub fn warning(warning: &Warning) -> String {
    let remedy = match warning {
        Warning::NoKernelConfig => "vfioboot check --config FILE checks one of your own",
        Warning::ModuleMissing { .. } => {
            "give the modules that were built with this kernel with --add-module (a directory, a \
             tar archive, another image)"
        }
        Warning::AutostartUncertain { .. } => "--seclabel names another domain",
        _ => return warning.to_string(),
    };
    format!("{warning}: {remedy}")
}

/// A risk for people.
pub fn risk(risk: &Risk) -> String {
    let option = match risk {
        Risk::RdinitDropped => "--hook init",
        Risk::BootargsReplaced { .. } => "--hook rdinit",
        _ => return risk.to_string(),
    };
    format!("{risk} ({option})")
}

/// Why a device with the user's own key boots the result, or does not.
pub fn yellow(prospect: &Prospect) -> String {
    let why = &prospect.why;
    match why {
        Reason::OldDigest | Reason::UnsignedBlob | Reason::UnsignedVbmeta => {
            format!("{why}; use --avb resign --key")
        }
        Reason::NeedsOwnVbmeta => format!("{why}: give it with --vbmeta to have that done"),
        _ => why.to_string(),
    }
}

/// The reason for the place of the rc files.
pub fn rc_reason(plan: &RcPlan) -> String {
    let reason = &plan.reason;
    match reason {
        RcReason::Read { label: Some(Label::UserBuild), .. } => {
            format!("{reason} (--seclabel names it)")
        }
        _ => reason.to_string(),
    }
}

/// The plan as JSON, its texts with the options that help.
pub fn to_json(plan: &Plan<'_>) -> serde_json::Result<Value> {
    let mut value = serde_json::to_value(plan)?;
    value["warnings"] = plan.warnings.iter().map(warning).collect();
    value["advice"]["risks"] = plan.advice.risks.iter().map(risk).collect();
    value["rc"]["reason"] = json!(rc_reason(&plan.rc));
    if let Some(outlook) = &plan.avb {
        value["avb"]["yellow"]["why"] = json!(yellow(&outlook.yellow));
    }
    Ok(value)
}
