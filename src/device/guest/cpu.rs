//! The host's processors by type.

use core::fmt;

use crate::device::guest::file::Cluster;
use crate::device::sys::cpu_list;
use crate::device::sys::host::{Host, HostError};
use crate::device::sys::machine;

const CPUS: &str = "sys/devices/system/cpu";

/// Processors of one type, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreType {
    /// What identifies the type on arm64: `midr_el1`
    /// (`Documentation/ABI/testing/sysfs-devices-system-cpu`), which vendors' kernels leave out of
    /// sysfs and put together from `/proc/cpuinfo`. `None` where neither tells.
    pub midr: Option<u64>,
    /// How fast they are: `cpu_capacity` (1024 is the fastest of the machine), else their
    /// highest frequency in kHz, else 0. Where arm64 has no `midr_el1`, it tells types apart.
    pub capacity: u64,
    /// Their numbers.
    pub cpus: Vec<u32>,
}

impl fmt::Display for CoreType {
    /// `midr_el1 0x412fd050`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.midr {
            Some(midr) => write!(f, "midr_el1 {midr:#x}"),
            None => write!(f, "capacity {}", self.capacity),
        }
    }
}

/// The online processors by type, the fastest type first.
///
/// # Errors
/// When `online` cannot be read.
pub fn core_types(host: &Host) -> Result<Vec<CoreType>, HostError> {
    let online = cpu_list::parse(&host.read(&format!("{CPUS}/online"))?);
    let number = |cpu: u32, name: &str| -> Option<u64> {
        host.read(&format!("{CPUS}/cpu{cpu}/{name}")).ok()?.parse().ok()
    };
    let midr = |cpu: u32| {
        let text = host.read(&format!("{CPUS}/cpu{cpu}/regs/identification/midr_el1")).ok()?;
        u64::from_str_radix(text.trim_start_matches("0x"), 16).ok()
    };
    let mut found: Vec<CoreType> = Vec::new();
    for cpu in online {
        let capacity =
            number(cpu, "cpu_capacity").or_else(|| number(cpu, "cpufreq/cpuinfo_max_freq"));
        let capacity = capacity.unwrap_or(0);
        found.push(CoreType { midr: midr(cpu), capacity, cpus: vec![cpu] });
    }
    if found.iter().any(|one| one.midr.is_none()) {
        let listed = identified(host);
        let of = |cpu: u32| listed.iter().find(|(listed, _)| *listed == cpu).map(|(_, midr)| *midr);
        found.iter_mut().for_each(|one| one.midr = one.midr.or_else(|| of(one.cpus[0])));
    }
    // Processors of one type have the same turbo on arm64 only.
    let by_capacity = machine::is_arm(host);
    let mut types: Vec<CoreType> = Vec::new();
    for one in found {
        let same = |of: &&mut CoreType| {
            let alike = one.midr.is_some() || !by_capacity || of.capacity == one.capacity;
            of.midr == one.midr && alike
        };
        match types.iter_mut().find(same) {
            Some(of) => {
                of.capacity = of.capacity.max(one.capacity);
                of.cpus.extend(one.cpus);
            }
            None => types.push(one),
        }
    }
    types.sort_unstable_by_key(|of| (core::cmp::Reverse(of.capacity), of.midr));
    Ok(types)
}

/// `midr_el1` of each processor from `/proc/cpuinfo`, which shows it in pieces
/// (`c_show` of `arch/arm64/kernel/cpuinfo.c`).
fn identified(host: &Host) -> Vec<(u32, u64)> {
    /// The architecture field when the ID registers tell it.
    const BY_REGISTERS: u64 = 0xf << 16;
    let (mut found, mut cpu) = (Vec::new(), None);
    host.each_line("proc/cpuinfo", &mut |line| {
        let Some((name, value)) = line.split_once(':') else { return };
        let value = value.trim();
        let number = || match value.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => value.parse().ok(),
        };
        let shift = match name.trim() {
            "processor" => {
                cpu = value.parse().ok();
                return;
            }
            "CPU implementer" => {
                found.extend(cpu.map(|cpu| (cpu, BY_REGISTERS)));
                24
            }
            "CPU variant" => 20,
            "CPU part" => 4,
            "CPU revision" => 0,
            _ => return,
        };
        if let (Some((of, midr)), Some(piece)) = (found.last_mut(), number())
            && Some(*of) == cpu
        {
            *midr |= piece << shift;
        }
    });
    found
}

/// Why a choice of processors is impossible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CpuError {
    /// One of the list is not there.
    #[error("cpus.cluster: CPU {0} is not online: `cat /sys/devices/system/cpu/online` lists them")]
    Offline(u32),
    /// They are not of one type.
    #[error(
        "cpus.cluster: CPUs {first} and {second} are of different types ({first_type} and {second_type}), between which KVM cannot move a guest: name CPUs of one type"
    )]
    Mixed {
        /// One CPU.
        first: u32,
        /// Its type.
        first_type: String,
        /// One of another type.
        second: u32,
        /// Its type.
        second_type: String,
    },
    /// The system has none online.
    #[error("no CPU is online in sysfs: is /sys mounted?")]
    NoneOnline,
}

/// The processors on which a guest with `count` of them is to run; `None`: on all, which are of
/// one type.
///
/// # Errors
/// See [`CpuError`].
pub fn choose(
    count: u32,
    cluster: &Cluster,
    types: &[CoreType],
) -> Result<Option<Vec<u32>>, CpuError> {
    let (Some(fastest), Some(slowest)) = (types.first(), types.last()) else {
        return Err(CpuError::NoneOnline);
    };
    let type_of = |cpu: &u32| types.iter().find(|of| of.cpus.contains(cpu));
    let of = match cluster {
        Cluster::List(list) => {
            let mut first: Option<(u32, &CoreType)> = None;
            for cpu in list {
                let of = type_of(cpu).ok_or(CpuError::Offline(*cpu))?;
                let (first, expected) = *first.get_or_insert((*cpu, of));
                if of != expected {
                    return Err(CpuError::Mixed {
                        first,
                        first_type: expected.to_string(),
                        second: *cpu,
                        second_type: of.to_string(),
                    });
                }
            }
            return Ok(Some(list.clone()));
        }
        _ if types.len() == 1 => return Ok(None),
        Cluster::Big => fastest,
        Cluster::Little => slowest,
        Cluster::Any => {
            let enough = |of: &&CoreType| of.cpus.len() >= count as usize;
            types
                .iter()
                .find(enough)
                // None has enough: the one with most of them, the faster of equals.
                .or_else(|| types.iter().rev().max_by_key(|of| of.cpus.len()))
                .unwrap_or(fastest)
        }
    };
    Ok(Some(of.cpus.clone()))
}
