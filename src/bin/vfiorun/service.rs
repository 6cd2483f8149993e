//! `vfiorun service install`, `remove` and `status`.

use std::path::PathBuf;

use serde_json::json;
use vfioboot::bootfile::DeviceSpec;
use vfioboot::device::service::{self, Content, Found, Manager, Piece, Settings};
use vfioboot::usage::{Matches, UsageError};

use crate::autostart;
use crate::global::Global;
use crate::outcome::{Answer, Failure, Outcome};
use crate::output;

pub struct Install {
    guests: Option<PathBuf>,
    bind: Vec<DeviceSpec>,
    dry_run: bool,
}

impl Install {
    pub fn of(given: &Matches) -> Result<Self, UsageError> {
        Ok(Self {
            guests: given.value("guests").map(PathBuf::from),
            bind: given.parsed("bind")?,
            dry_run: given.has("dry-run"),
        })
    }
}

pub fn install(global: &Global, arguments: &Install) -> Outcome {
    let host = global.host();
    let manager = Manager::of(&host)?;
    let program = std::env::current_exe()
        .map_err(|error| Failure::new(format!("where this program is: {error}")))?;
    let guests = match &arguments.guests {
        Some(guests) => std::path::absolute(guests)?,
        None => autostart::usual_directory(&host),
    };
    let settings = Settings { program, guests, bind: arguments.bind.clone() };
    let pieces = service::pieces(&host, manager, &settings)?;
    if arguments.dry_run {
        output::print(&pieces.iter().map(shown).collect::<String>())?;
        return Ok(Answer::Yes);
    }
    // A binding of before that is not wanted any more.
    service::remove(&host, &service::all_pieces(manager))?;
    service::install(&host, &pieces)?;
    let mut text: String = pieces.iter().map(|piece| format!("/{}\n", piece.path)).collect();
    text += &format!(
        "the guests of {} start with the machine ({}); now: {}\n",
        settings.guests.display(),
        manager.name(),
        manager.start()
    );
    output::print(&text)?;
    Ok(Answer::Yes)
}

/// A file with its content, as a shell would write it.
fn shown(piece: &Piece) -> String {
    let path = &piece.path;
    match &piece.content {
        Content::Link(to) => format!("ln -s {to} /{path}\n"),
        Content::Text(text) => format!("cat > /{path} << 'EOF'\n{text}EOF\n"),
        Content::Script(text) => {
            format!("cat > /{path} << 'EOF'\n{text}EOF\nchmod 755 /{path}\n")
        }
    }
}

pub fn remove(global: &Global) -> Outcome {
    let host = global.host();
    let manager = Manager::of(&host)?;
    let removed = service::remove(&host, &service::all_pieces(manager))?;
    if removed.is_empty() {
        output::print("no service of vfiorun is installed\n")?;
        return Ok(Answer::Yes);
    }
    let mut text: String = removed.iter().map(|path| format!("/{path}: removed\n")).collect();
    text += &format!("guests that run go on; to end them: {}\n", manager.stop());
    output::print(&text)?;
    Ok(Answer::Yes)
}

pub fn status(global: &Global, as_json: bool) -> Outcome {
    let host = global.host();
    let manager = Manager::of(&host)?;
    let found: Vec<(Piece, Found)> = service::all_pieces(manager)
        .into_iter()
        .map(|piece| {
            let found = piece.found(&host);
            (piece, found)
        })
        .filter(|(_, found)| *found != Found::Missing)
        .collect();
    let ours: Vec<&str> = found
        .iter()
        .filter(|(_, found)| *found == Found::Ours)
        .map(|(piece, _)| piece.path.as_str())
        .collect();
    let installed = !ours.is_empty();
    let active = manager.is_active(&host);
    if as_json {
        output::print_json(&json!({
            "format": 1, "manager": manager.name(), "installed": installed, "active": active, "files": ours,
        }))?;
    } else {
        let state = match (installed, active) {
            (false, _) => "not installed",
            (true, Some(true)) => "installed, running",
            (true, Some(false)) => "installed, not running",
            (true, None) => "installed",
        };
        let mut text = format!("{}: {state}\n", manager.name());
        for (piece, found) in &found {
            let whose = if *found == Found::Ours { "" } else { ": somebody else's" };
            text += &format!("  /{}{whose}\n", piece.path);
        }
        output::print(&text)?;
    }
    Ok(if installed { Answer::Yes } else { Answer::No })
}
