//! `vfiorun rom`.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use vfioboot::bootfile::DeviceSpec;
use vfioboot::device::bus::pci;
use vfioboot::device::bus::rom::Rom;
use vfioboot::device::sys::host::errno_text;
use vfioboot::usage::{Matches, UsageError};

use crate::global::Global;
use crate::outcome::{Answer, Failure, Outcome};
use crate::output;

pub struct Arguments {
    devices: Vec<DeviceSpec>,
    file: PathBuf,
}

impl Arguments {
    pub fn of(given: &Matches) -> Result<Self, UsageError> {
        let file = given.value("FILE").unwrap_or_default().into();
        Ok(Self { devices: given.parsed("DEV")?, file })
    }
}

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let host = global.host();
    let named = |device: &pci::PciDevice| arguments.devices.iter().any(|spec| device.matches(spec));
    let found: Vec<_> = pci::enumerate(&host)?.into_iter().filter(named).collect();
    let [device] = found.as_slice() else {
        return Err(Failure::new(format!("{} devices are called so: name one", found.len())));
    };
    let rom = Rom::read(&host, device)?;
    let file = arguments.file.display();
    let failed = |error| Failure::new(format!("{file}: {}", errno_text(&error)));
    let mut made =
        OpenOptions::new().write(true).create_new(true).open(&arguments.file).map_err(failed)?;
    made.write_all(&rom.bytes).map_err(failed)?;
    let (size, kinds) = (rom.bytes.len(), rom.kinds.join(" and "));
    output::print(&format!(
        "{file}: {size} bytes, for {kinds}; in the guest file: {{ device = \"{}\", romfile = \"{file}\" }}\n",
        device.address
    ))?;
    Ok(Answer::Yes)
}
