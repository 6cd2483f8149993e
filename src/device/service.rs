//! Guests as a service of the machine: what is written for systemd, OpenRC or runit, whichever runs it.
//!
//! Everything is files and links, so that it can be shown before it is written and works in a tree as well.
//! What others wrote is not replaced and not removed: what is ours begins with [`MARK`].

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::bootfile::DeviceSpec;
use crate::device::sys::host::{Host, errno_text};

/// What our files say of themselves, in the first or second line.
pub const MARK: &str = "# By vfiorun service install; vfiorun service remove removes it.";

/// What starts services on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// systemd.
    Systemd,
    /// OpenRC.
    OpenRc,
    /// runit, with this directory of services that it runs.
    Runit(&'static str),
}

/// Where runit looks for the services it runs: Void, Artix, Debian.
const RUNIT: &[&str] = &["etc/runit/runsvdir/default", "etc/service", "var/service"];

impl Manager {
    /// The one that runs this machine: each makes a directory when it starts.
    ///
    /// # Errors
    /// When there is none of these.
    pub fn of(host: &Host) -> Result<Self, ServiceError> {
        let runit = || RUNIT.iter().copied().find(|directory| host.exists(directory));
        if host.exists("run/systemd/system") {
            Ok(Self::Systemd)
        } else if host.exists("run/openrc") {
            Ok(Self::OpenRc)
        } else if host.exists("run/runit")
            && let Some(directory) = runit()
        {
            Ok(Self::Runit(directory))
        } else if host.exists("system/bin/init") {
            Err(ServiceError::Android)
        } else {
            Err(ServiceError::NoManager)
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::OpenRc => "OpenRC",
            Self::Runit(_) => "runit",
        }
    }

    /// Whether the service runs: systemd makes a control group for what does, OpenRC a link. `None` where that
    /// has to be asked in another way.
    pub fn is_active(self, host: &Host) -> Option<bool> {
        match self {
            Self::Systemd => Some(host.exists("sys/fs/cgroup/vfiorun.slice/vfiorun.service")),
            Self::OpenRc => Some(host.exists("run/openrc/started/vfiorun")),
            Self::Runit(_) => None,
        }
    }

    /// How the service is started now.
    pub fn start(self) -> &'static str {
        match self {
            Self::Systemd => "systemctl daemon-reload && systemctl start vfiorun",
            Self::OpenRc => "rc-service vfiorun start",
            Self::Runit(_) => "it starts within seconds (sv status vfiorun)",
        }
    }

    /// How it is ended now.
    pub fn stop(self) -> &'static str {
        match self {
            Self::Systemd => "systemctl stop vfiorun",
            Self::OpenRc => "rc-service vfiorun stop",
            Self::Runit(_) => "sv down vfiorun",
        }
    }
}

/// A file or a link of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Relative to the [`Host`].
    pub path: String,
    /// What it is.
    pub content: Content,
}

/// What a piece is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A file.
    Text(String),
    /// A file that is executed.
    Script(String),
    /// A link to this.
    Link(String),
}

/// What a service consists of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The path of vfiorun.
    pub program: PathBuf,
    /// The directory of guest files.
    pub guests: PathBuf,
    /// Devices that are on vfio-pci from the boot on.
    pub bind: Vec<DeviceSpec>,
}

/// Why there is no service.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Android has init, and services come with a module.
    #[error(
        "this is Android: install the module that `vfioboot module` writes, or patch with --hook rc"
    )]
    Android,
    /// Neither of those that are known.
    #[error(
        "neither systemd, OpenRC nor runit runs this machine (no /run/systemd/system, /run/openrc, /run/runit): have it start `vfiorun autostart --stay`"
    )]
    NoManager,
    /// A path that none of these files can have.
    #[error("{}: a path with spaces, quotes, % or $ cannot be in a service", .0.display())]
    Path(PathBuf),
    /// Somebody else's file is there.
    #[error("/{0}: somebody else's: move it away first")]
    Foreign(String),
    /// A file cannot be read, written or removed.
    #[error("/{path}: {}", errno_text(.error))]
    Io {
        /// Its path.
        path: String,
        /// The reason.
        #[source]
        error: io::Error,
    },
}

/// The pieces of the service for a manager. Modules are loaded where VFIO is one.
///
/// # Errors
/// When a path cannot be written in such a file.
pub fn pieces(
    host: &Host,
    manager: Manager,
    settings: &Settings,
) -> Result<Vec<Piece>, ServiceError> {
    let word = |path: &Path| {
        let text = path.to_string_lossy().into_owned();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+@:,=~".contains(&b);
        match text.bytes().all(plain) {
            true => Ok(text),
            false => Err(ServiceError::Path(path.to_owned())),
        }
    };
    let (program, guests) = (word(&settings.program)?, word(&settings.guests)?);
    let bind: Vec<String> = settings.bind.iter().map(DeviceSpec::to_string).collect();
    let bind = (!bind.is_empty()).then(|| format!("{program} bind {}", bind.join(" ")));
    let run = format!("{program} autostart --at-boot --stay {guests}");
    let mut pieces = match manager {
        Manager::Systemd => systemd(&run, &guests, bind.as_deref()),
        Manager::OpenRc => openrc(&run, bind.as_deref()),
        Manager::Runit(directory) => runit(&run, bind.as_deref(), directory),
    };
    if is_module(host) {
        let text = format!("{MARK}\nvfio-pci\nvfio_iommu_type1\n");
        let path = "etc/modules-load.d/vfiorun.conf".to_owned();
        pieces.push(Piece { path, content: Content::Text(text) });
    }
    Ok(pieces)
}

/// Whether vfio-pci is a module of the running kernel, by the lists that depmod and the build make.
fn is_module(host: &Host) -> bool {
    let Ok(release) = host.read("proc/sys/kernel/osrelease") else { return false };
    let has = |list: &str| {
        let mut found = false;
        for directory in ["lib/modules", "usr/lib/modules"] {
            host.each_line(&format!("{directory}/{release}/{list}"), &mut |line| {
                let path = line.split(':').next().unwrap_or_default();
                let name = path.rsplit('/').next().unwrap_or_default();
                found |= name.replace('_', "-").starts_with("vfio-pci.ko");
            });
        }
        found
    };
    !has("modules.builtin") && has("modules.dep")
}

fn text(path: &str, text: String) -> Piece {
    Piece { path: path.to_owned(), content: Content::Text(text) }
}

fn script(path: &str, text: String) -> Piece {
    Piece { path: path.to_owned(), content: Content::Script(text) }
}

fn link(path: String, to: &str) -> Piece {
    Piece { path, content: Content::Link(to.to_owned()) }
}

/// Where the administrator's units of systemd are.
const UNITS: &str = "etc/systemd/system";

fn systemd(run: &str, guests: &str, bind: Option<&str>) -> Vec<Piece> {
    let service = format!(
        "{MARK}
[Unit]
Description=Guests of vfiorun
After=network.target systemd-modules-load.service vfiorun-bind.service
RequiresMountsFor={guests}

[Service]
Type=notify
ExecStart={run}
Slice=vfiorun.slice
# Each guest has a control group below that of this service.
Delegate=yes
# The guests are powered down by their vfiorun; QEMU must not hear of it.
KillMode=mixed
TimeoutStartSec=300
TimeoutStopSec=600
Restart=on-failure
RestartSec=5
LimitMEMLOCK=infinity

[Install]
WantedBy=multi-user.target
"
    );
    let slice = format!("{MARK}\n[Unit]\nDescription=Guests of vfiorun\n");
    let mut pieces = vec![
        text(&format!("{UNITS}/vfiorun.slice"), slice),
        text(&format!("{UNITS}/vfiorun.service"), service),
        link(
            format!("{UNITS}/multi-user.target.wants/vfiorun.service"),
            "/etc/systemd/system/vfiorun.service",
        ),
    ];
    pieces.extend(bind.into_iter().flat_map(systemd_bind));
    pieces
}

/// The unit that binds devices before udev hears of them.
fn systemd_bind(bind: &str) -> [Piece; 2] {
    let unit = format!(
        "{MARK}
[Unit]
Description=PCI devices on vfio-pci before their drivers see them
DefaultDependencies=no
After=systemd-modules-load.service
# The kernel's events of devices are repeated then, on which udev loads their drivers.
Before=systemd-udev-trigger.service sysinit.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={bind}

[Install]
WantedBy=sysinit.target
"
    );
    [
        text(&format!("{UNITS}/vfiorun-bind.service"), unit),
        link(
            format!("{UNITS}/sysinit.target.wants/vfiorun-bind.service"),
            "/etc/systemd/system/vfiorun-bind.service",
        ),
    ]
}

fn openrc(run: &str, bind: Option<&str>) -> Vec<Piece> {
    let (program, arguments) = run.split_once(' ').unwrap_or((run, ""));
    let service = format!(
        "#!/sbin/openrc-run
{MARK}
description=\"Guests of vfiorun\"
command=\"{program}\"
command_args=\"{arguments}\"
command_background=true
pidfile=\"/run/$RC_SVCNAME.pid\"
output_log=\"/var/log/vfiorun.log\"
error_log=\"/var/log/vfiorun.log\"
retry=\"TERM/600/KILL/5\"
rc_ulimit=\"-l unlimited\"

depend() {{
    need localmount
    after modules net vfiorun-bind
}}
"
    );
    let mut pieces = vec![
        script("etc/init.d/vfiorun", service),
        link("etc/runlevels/default/vfiorun".to_owned(), "/etc/init.d/vfiorun"),
    ];
    if let Some(bind) = bind {
        let early = format!(
            "#!/sbin/openrc-run
{MARK}
description=\"PCI devices on vfio-pci before their drivers see them\"

depend() {{
    need sysfs
    before udev-trigger hwdrivers modules
}}

start() {{
    ebegin \"Binding devices to vfio-pci\"
    modprobe -q vfio-pci
    {bind}
    eend $?
}}
"
        );
        pieces.push(script("etc/init.d/vfiorun-bind", early));
        pieces.push(link(
            "etc/runlevels/sysinit/vfiorun-bind".to_owned(),
            "/etc/init.d/vfiorun-bind",
        ));
    }
    pieces
}

fn runit(run: &str, bind: Option<&str>, directory: &str) -> Vec<Piece> {
    let bind = bind.map(|bind| format!("modprobe -q vfio-pci\n{bind}\n")).unwrap_or_default();
    let service = format!("#!/bin/sh\n{MARK}\nexec 2>&1\nulimit -l unlimited\n{bind}exec {run}\n");
    vec![
        script("etc/sv/vfiorun/run", service),
        link(format!("{directory}/vfiorun"), "/etc/sv/vfiorun"),
    ]
}

/// How a piece is on the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is not there.
    Missing,
    /// It is ours.
    Ours,
    /// It is somebody else's.
    Foreign,
}

impl Piece {
    /// How it is on the machine.
    pub fn found(&self, host: &Host) -> Found {
        let place = host.path(&self.path);
        let ours = match (&self.content, place.symlink_metadata()) {
            (_, Err(_)) => return Found::Missing,
            (Content::Link(to), Ok(_)) => {
                fs::read_link(place).is_ok_and(|found| found == Path::new(to))
            }
            (Content::Text(_) | Content::Script(_), Ok(_)) => host
                .read(&self.path)
                .is_ok_and(|text| text.lines().take(2).any(|line| line == MARK)),
        };
        if ours { Found::Ours } else { Found::Foreign }
    }

    fn write(&self, host: &Host) -> io::Result<()> {
        let place = host.path(&self.path);
        fs::create_dir_all(place.parent().unwrap_or(Path::new("/")))?;
        let (text, mode) = match &self.content {
            Content::Link(to) => {
                // Ours, or none.
                _ = fs::remove_file(&place);
                return symlink(to, place);
            }
            Content::Text(text) => (text, 0o644),
            Content::Script(text) => (text, 0o755),
        };
        let new = place.with_extension("new");
        _ = fs::remove_file(&new);
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(mode).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(new, place)
    }
}

/// Writes the pieces, or nothing when one of their places has somebody else's file.
///
/// # Errors
/// See [`ServiceError`].
pub fn install(host: &Host, pieces: &[Piece]) -> Result<(), ServiceError> {
    if let Some(foreign) = pieces.iter().find(|piece| piece.found(host) == Found::Foreign) {
        return Err(ServiceError::Foreign(foreign.path.clone()));
    }
    for piece in pieces {
        let failed = |error| ServiceError::Io { path: piece.path.clone(), error };
        piece.write(host).map_err(failed)?;
    }
    Ok(())
}

/// Removes those of the pieces that are ours, the last first. Returns their paths.
///
/// # Errors
/// When one cannot be removed.
pub fn remove(host: &Host, pieces: &[Piece]) -> Result<Vec<String>, ServiceError> {
    let mut removed = Vec::new();
    for piece in pieces.iter().rev().filter(|piece| piece.found(host) == Found::Ours) {
        let failed = |error| ServiceError::Io { path: piece.path.clone(), error };
        fs::remove_file(host.path(&piece.path)).map_err(failed)?;
        if piece.path == "etc/sv/vfiorun/run" {
            // With what runit keeps in it, it stays.
            _ = fs::remove_dir(host.path("etc/sv/vfiorun"));
        }
        removed.push(piece.path.clone());
    }
    Ok(removed)
}

/// All pieces that a service of a manager may have, to look for: with a binding, and with modules.
pub fn all_pieces(manager: Manager) -> Vec<Piece> {
    let any = "/vfiorun";
    let mut pieces = match manager {
        Manager::Systemd => systemd(any, any, Some(any)),
        Manager::OpenRc => openrc(any, Some(any)),
        Manager::Runit(directory) => runit(any, Some(any), directory),
    };
    pieces.push(text("etc/modules-load.d/vfiorun.conf", String::new()));
    pieces
}
