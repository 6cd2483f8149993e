//! The options of a patch.

use super::avb::options::AvbOptions;
use super::hook::kind::HookChoice;
use super::modules::plan::ModuleOptions;
use super::modules::vfio_options::VfioOption;
use super::parameters::iommu::IommuMode;
use super::rc::options::RcOptions;
use super::runtime::Runtimes;
use crate::bootfile::{BootFile, DeviceSpec};

/// The options of a patch.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options<'a> {
    /// The devices to bind to vfio-pci, in order.
    pub devices: Vec<DeviceSpec>,
    /// vfiorun for each architecture.
    pub runtimes: Runtimes<'a>,
    /// Modules to load, and where they may come from.
    pub modules: ModuleOptions<'a>,
    /// Options of VFIO's modules.
    pub vfio_options: Vec<VfioOption>,
    /// Host drivers to keep away from devices: names of modules.
    pub block_drivers: Vec<String>,
    /// Kernel parameters to add to those that the audit recommends.
    pub parameters: Vec<String>,
    /// What the host's own devices have of the IOMMU.
    pub iommu: IommuMode,
    /// Milliseconds that PID 1 may take, see [`BootFile::deadline_ms`].
    pub deadline_ms: u32,
    /// What to do with AVB's metadata.
    pub avb: AvbOptions<'a>,
    /// Milliseconds that PID 1 waits for a missing device, see [`BootFile::wait_ms`].
    pub wait_ms: u32,
    /// How the kernel starts the runtime.
    pub hook: HookChoice,
    /// rc files of Android's init.
    pub rc: RcOptions,
}

impl<'a> Options<'a> {
    /// Options for these devices, with the default for everything else.
    pub fn new(devices: Vec<DeviceSpec>, runtimes: Runtimes<'a>) -> Self {
        Options {
            devices,
            runtimes,
            modules: ModuleOptions::default(),
            vfio_options: Vec::new(),
            block_drivers: Vec::new(),
            parameters: Vec::new(),
            iommu: IommuMode::Auto,
            deadline_ms: BootFile::DEFAULT_DEADLINE_MS,
            avb: AvbOptions::default(),
            wait_ms: BootFile::DEFAULT_WAIT_MS,
            hook: HookChoice::Auto,
            rc: RcOptions { autostart: true, ..RcOptions::default() },
        }
    }
}
