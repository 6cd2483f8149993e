//! Devices that are given to a guest while it runs, and taken from it: as at its start each is taken from the
//! host under the journal, and goes back when the guest does not have it any more.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::preflight::Start;
use super::prepare::{self, Context, Progress};
use super::record::{self, Record};
use super::session::{Addition, PlugError, Plugs};
use crate::bootfile::DeviceSpec;
use crate::device::bind::lease::Lease;
use crate::device::bind::plan::{Options as BindOptions, Plan, join};
use crate::device::bind::undo::Undo;
use crate::device::bus::health::Errors;
use crate::device::bus::in_use::{InUse, Survey, Weight};
use crate::device::bus::pci::{self, PciAddress, PciDevice};
use crate::device::bus::usb::{UsbDevice, UsbSpec};
use crate::device::bus::vfio::{self, Interface};
use crate::device::guest::file::devices;
use crate::device::guest::file::plugs::{USB_BUS, port};
use crate::device::guest::file::{Device, Guest};
use crate::device::guest::qemu::argv::{Backing, Resources};
use crate::device::guest::token;
use crate::device::sys::host::errno_text;

/// The sets of open files that we make begin here; those of the guest file's own arguments are below.
const FIRST_SET: u32 = 1000;

/// What of the host's a guest has.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    Pci(PciAddress),
    Usb(UsbDevice),
}

impl Subject {
    fn name(&self) -> String {
        match self {
            Self::Pci(address) => address.to_string(),
            Self::Usb(device) => device.port.clone(),
        }
    }
}

/// A device that the guest has, or is about to have.
#[derive(Debug)]
struct Given {
    id: String,
    subject: Subject,
    port: Option<String>,
}

/// The devices of a guest that runs, and its record, which names them.
pub(super) struct Devices<'a> {
    pub context: Context<'a>,
    pub guest: &'a Guest,
    pub start: &'a Start,
    pub lease: &'a mut Lease,
    pub backing: Backing,
    pub record: Option<Record>,
    /// Where the record is.
    pub directory: PathBuf,
    given: Vec<Given>,
    /// The ports that nothing is below.
    free: Vec<String>,
    next: u32,
}

impl<'a> Devices<'a> {
    pub(super) fn new(
        context: Context<'a>,
        guest: &'a Guest,
        start: &'a Start,
        lease: &'a mut Lease,
        backing: Backing,
        record: Option<Record>,
        directory: PathBuf,
    ) -> Self {
        let named = start.devices(context.host, guest);
        let given = named.iter().enumerate().map(|(number, (address, device))| Given {
            id: devices::id(number),
            subject: Subject::Pci(*address),
            port: (device.root_port || guest.takes_devices()).then(|| devices::port(number)),
        });
        let given = given.collect();
        let free = (0..guest.hotplug).rev().map(port).collect();
        Self { context, guest, start, lease, backing, record, directory, given, free, next: 0 }
    }

    /// Writes the record; a failure is why `status` does not show the guest.
    pub(super) fn write_record(&self) -> std::io::Result<()> {
        self.record.as_ref().map_or(Ok(()), |record| record::write(&self.directory, record))
    }

    fn update(&mut self) {
        if let Some(record) = &mut self.record {
            record.devices = self.given.iter().map(|given| given.subject.name()).collect();
        }
        // As before it, when it cannot be written.
        _ = self.write_record();
    }

    fn unique(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    /// What a name is for: PCI and USB devices may have ids that look the same.
    fn subject(&self, name: &str) -> Result<Subject, PlugError> {
        let host = self.context.host;
        let usb = name
            .parse::<UsbSpec>()
            .map_err(wrong)
            .and_then(|spec| UsbDevice::find(host, &spec).map(Subject::Usb).map_err(wrong));
        let pci = name.parse::<DeviceSpec>().map_err(wrong).and_then(|spec| {
            let all = pci::enumerate(host).map_err(wrong)?;
            let mut found: Vec<PciAddress> =
                all.iter().filter(|d| d.matches(&spec)).map(|d| d.address).collect();
            match (found.pop(), found.is_empty()) {
                (Some(address), true) => Ok(Subject::Pci(address)),
                (Some(_), false) => {
                    Err(PlugError(format!("{spec}: there are several: name one by its address")))
                }
                (None, _) => Err(PlugError(format!("{spec}: no such device"))),
            }
        });
        match (pci, usb) {
            (Ok(_), Ok(usb)) => Err(PlugError(format!(
                "{name}: there is a PCI device and a USB device ({}) of this id: name it by its address or port",
                usb.name()
            ))),
            (Ok(subject), _) | (_, Ok(subject)) => Ok(subject),
            // What looks like a port cannot be an address.
            (Err(_), Err(error)) if name.contains('-') => Err(error),
            (Err(error), _) => Err(error),
        }
    }

    fn pci(
        &mut self,
        address: PciAddress,
        force: bool,
        log: &mut dyn FnMut(&str),
    ) -> Result<Addition, PlugError> {
        if self.guest.hotplug == 0 {
            let text =
                "the guest has no ports for devices that come later: hotplug = N in its file";
            return Err(PlugError(text.to_owned()));
        }
        let Some(port) = self.free.last().cloned() else {
            let text = "all ports for devices that come later are taken: a higher hotplug in the guest file";
            return Err(PlugError(text.to_owned()));
        };
        let spec = spec_of(address);
        let force = if force { vec![spec.clone()] } else { Vec::new() };
        let options = BindOptions { force, ..BindOptions::default() };
        let host = self.context.host;
        let plan = Plan::new(host, std::slice::from_ref(&spec), &options).map_err(wrong)?;
        plan.warnings.iter().for_each(|warning| log(&format!("warning: {warning}")));
        let what = format!("run {}", self.guest.name);
        let signals = self.context.signals;
        let stop = || signals.stops() > 0;
        let taken = self.lease.add(&what, &plan, &stop, log).map_err(wrong)?;
        let opened = self.open(&taken, log);
        let id = format!("plug{}", self.unique());
        let properties = opened.map(|tokens| {
            let named =
                self.guest.devices.iter().find(|d| taken.iter().any(|t| t.matches(&d.spec)));
            let plain = Device::plain(spec);
            let resources = Resources {
                iommufd: self.start.interface == Interface::Iommufd,
                tokens: &tokens,
                ..Resources::new(self.start.arch, self.backing, &self.start.directory)
            };
            let device = named.unwrap_or(&plain);
            let text = |(name, value)| (name, Value::String(value));
            let properties = device.properties(&id, address, &resources, Some(&port));
            let mut properties: Map<String, Value> = properties.into_iter().map(text).collect();
            properties.insert("driver".to_owned(), "vfio-pci".into());
            Value::Object(properties)
        });
        match properties {
            Ok(properties) => {
                self.free.pop();
                self.given.push(Given {
                    id: id.clone(),
                    subject: Subject::Pci(address),
                    port: Some(port),
                });
                Ok(Addition { id, properties, file: None })
            }
            Err(error) => Err(PlugError(match self.back(&Subject::Pci(address)) {
                Ok(_) => error.to_string(),
                Err(more) => format!("{error}; {more}"),
            })),
        }
    }

    /// Does with new devices what QEMU will.
    fn open(
        &mut self,
        devices: &[PciDevice],
        log: &mut dyn FnMut(&str),
    ) -> Result<Vec<token::SharedToken>, PlugError> {
        let Context { host, state, .. } = self.context;
        let tokens = token::plan(host, state, devices);
        let mut notify = |progress: &Progress| {
            if let Progress::Step(text) | Progress::Warning(text) = progress {
                log(text);
            }
        };
        let (context, guest, start) = (self.context, self.guest, self.start);
        let lease = &mut *self.lease;
        prepare::open_devices(context, guest, start, lease, devices, &tokens, &mut notify)
            .map_err(wrong)?;
        Ok(tokens)
    }

    fn usb(&mut self, device: UsbDevice, force: bool) -> Result<Addition, PlugError> {
        if self.guest.usb.is_empty() && self.guest.hotplug == 0 {
            let text = "the guest has no USB: hotplug = N, or usb = [...], in its file";
            return Err(PlugError(text.to_owned()));
        }
        let host = self.context.host;
        let mut uses = match device.place(host) {
            Some(place) if !force => Survey::read(host).of_place(host, &place),
            _ => Vec::new(),
        };
        uses.retain(|used: &InUse| used.weight() == Weight::Refuse);
        if !uses.is_empty() {
            return Err(PlugError(format!(
                "{device}: {}; to take it anyway: --force",
                join(&uses)
            )));
        }
        let journal = self.lease.journal();
        journal.record(Undo::Usb { port: device.port.clone() }).map_err(wrong)?;
        journal.record(Undo::Node { path: device.own_node() }).map_err(wrong)?;
        let opened = device.open(host);
        let port = device.port.clone();
        let node = device.own_node();
        let is_node = |undo: &Undo| matches!(undo, Undo::Node { path } if *path == node);
        self.lease.give_back(&is_node).map_err(wrong)?;
        let file =
            opened.map_err(|error| PlugError(format!("{device}: open: {}", errno_text(&error))))?;
        let number = self.unique();
        let id = format!("usb-{number}");
        let set = FIRST_SET + number;
        let properties = json!({
            "driver": "usb-host",
            "id": id,
            "bus": USB_BUS,
            "hostdevice": format!("/dev/fdset/{set}"),
        });
        self.given.retain(|given| given.subject.name() != port);
        self.given.push(Given { id: id.clone(), subject: Subject::Usb(device), port: None });
        Ok(Addition { id, properties, file: Some((set, OwnedFd::from(file))) })
    }

    /// Gives a device back to the host.
    fn back(&mut self, subject: &Subject) -> Result<String, PlugError> {
        let nodes = match subject {
            Subject::Pci(address) => self.nodes(*address),
            Subject::Usb(_) => Vec::new(),
        };
        let is_its = |undo: &Undo| match (undo, subject) {
            (Undo::Usb { port }, Subject::Usb(device)) => *port == device.port,
            (Undo::Node { path }, _) => nodes.contains(path),
            (undo, Subject::Pci(address)) => undo.subject() == Some(*address),
            _ => false,
        };
        let report = self.lease.give_back(&is_its).map_err(wrong)?;
        let told = report.told().collect::<Vec<_>>().join("; ");
        if report.is_clean() { Ok(told) } else { Err(PlugError(told)) }
    }

    /// The nodes that a device alone was opened by.
    fn nodes(&self, address: PciAddress) -> Vec<String> {
        let host = self.context.host;
        if self.start.interface == Interface::Iommufd {
            let own = vfio::device_nodes(host, &[address]).into_iter().map(|node| node.path);
            return own.filter(|path| path.starts_with("dev/vfio/devices/")).collect();
        }
        let devices = self.lease.devices();
        let group_of = |at: PciAddress| devices.iter().find(|d| d.address == at)?.iommu_group;
        let Some(group) = group_of(address) else { return Vec::new() };
        let shared = devices.iter().any(|d| d.address != address && d.iommu_group == Some(group));
        if shared { Vec::new() } else { vec![format!("dev/vfio/{group}")] }
    }

    fn position(&self, id: &str) -> Option<usize> {
        self.given.iter().position(|given| given.id == id)
    }

    /// Takes a device from the list, and frees its port.
    fn forget(&mut self, id: &str) -> Option<Given> {
        let given = self.given.remove(self.position(id)?);
        self.free.extend(given.port.clone());
        Some(given)
    }
}

impl Plugs for Devices<'_> {
    fn running(&mut self) -> Vec<Result<Addition, PlugError>> {
        if let Backing::Hugetlb(page) = self.backing {
            prepare::pages_are_taken(self.context, self.guest, page);
        }
        self.record.iter_mut().for_each(|record| record.ready = true);
        self.update();
        let host = self.context.host;
        let guest = self.guest;
        let each = guest.usb.iter().map(|spec| {
            let device = UsbDevice::find(host, spec).map_err(wrong)?;
            self.usb(device, false)
        });
        each.collect()
    }

    fn prepare(
        &mut self,
        device: &str,
        force: bool,
        log: &mut dyn FnMut(&str),
    ) -> Result<Addition, PlugError> {
        let subject = self.subject(device)?;
        if self.given.iter().any(|given| given.subject == subject) {
            return Err(PlugError(format!("{device}: the guest has it already")));
        }
        match subject {
            Subject::Pci(address) => self.pci(address, force, log),
            Subject::Usb(found) => self.usb(found, force),
        }
    }

    fn added(&mut self, id: &str, refused: Option<&str>) -> Result<String, PlugError> {
        let name = |given: &Given| given.subject.name();
        let Some(refused) = refused else {
            let given = self.position(id).and_then(|at| self.given.get(at));
            if let (Some(Given { subject: Subject::Pci(address), .. }), Some(record)) =
                (given, &mut self.record)
            {
                let (name, errors) = (address.to_string(), Errors::of(self.context.host, *address));
                record.errors.retain(|(of, _)| *of != name);
                record.errors.extend(errors.map(|errors| (name, errors)));
            }
            self.update();
            let given = self.position(id).and_then(|at| self.given.get(at));
            return Ok(format!("{}: in the guest", given.map(name).unwrap_or_default()));
        };
        let Some(given) = self.forget(id) else { return Err(PlugError(refused.to_owned())) };
        let back = self.back(&given.subject).unwrap_or_else(|error| error.to_string());
        Err(PlugError(format!("{}: QEMU refuses it: {refused}; {back}", name(&given))))
    }

    fn id_of(&mut self, device: &str) -> Result<String, PlugError> {
        let by_name = self.given.iter().find(|given| given.subject.name() == device);
        let subject = by_name.map_or_else(|| self.subject(device), |g| Ok(g.subject.clone()))?;
        let given = self.given.iter().find(|given| given.subject == subject);
        let none = || PlugError(format!("{device}: the guest does not have it"));
        let given = given.ok_or_else(none)?;
        if matches!(given.subject, Subject::Pci(_)) && given.port.is_none() {
            return Err(PlugError(format!(
                "{device}: it is on the root bus of the guest, which it cannot leave: root_port = true for it, or hotplug = N, in the guest file"
            )));
        }
        Ok(given.id.clone())
    }

    fn removed(&mut self, id: &str) -> Option<Result<String, PlugError>> {
        let given = self.forget(id)?;
        let back = self.back(&given.subject);
        self.update();
        Some(back)
    }
}

fn wrong(error: impl ToString) -> PlugError {
    PlugError(error.to_string())
}

fn spec_of(address: PciAddress) -> DeviceSpec {
    let PciAddress { domain, bus, device, function } = address;
    DeviceSpec::Address { domain, bus, device, function }
}
