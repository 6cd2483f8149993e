//! The host's processors by type.

use crate::device::guest::file::Cluster;
use crate::device::sys::cpu_list;
use crate::device::sys::host::{Host, HostError};

const CPUS: &str = "sys/devices/system/cpu";

/// Processors of one type, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreType {
    /// What identifies the type: `midr_el1` of arm64
    /// (`Documentation/ABI/testing/sysfs-devices-system-cpu`); `None` where there is but one.
    pub midr: Option<u64>,
    /// How fast they are: `cpu_capacity` (1024 is the fastest of the machine), else their
    /// highest frequency in kHz, else 0.
    pub capacity: u64,
    /// Their numbers.
    pub cpus: Vec<u32>,
}

/// The online processors by type, the fastest type first.
///
/// # Errors
/// When `online` cannot be read.
pub fn core_types(host: &Host) -> Result<Vec<CoreType>, HostError> {
    let online = cpu_list::parse(&host.read(&format!("{CPUS}/online"))?);
    let mut types: Vec<CoreType> = Vec::new();
    for cpu in online {
        let read = |name: &str| host.read(&format!("{CPUS}/cpu{cpu}/{name}")).ok();
        let midr = read("regs/identification/midr_el1").and_then(|text| {
            let hex = text.trim_start_matches("0x");
            u64::from_str_radix(hex, 16).ok()
        });
        let capacity = read("cpu_capacity")
            .or_else(|| read("cpufreq/cpuinfo_max_freq"))
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        match types.iter_mut().find(|of| of.midr == midr) {
            Some(of) => {
                of.capacity = of.capacity.max(capacity);
                of.cpus.push(cpu);
            }
            None => types.push(CoreType { midr, capacity, cpus: vec![cpu] }),
        }
    }
    types.sort_unstable_by_key(|of| (core::cmp::Reverse(of.capacity), of.midr));
    Ok(types)
}

/// Why a choice of processors is impossible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CpuError {
    /// One of the list is not there.
    #[error("cpus.cluster: CPU {0} is not online: `cat /sys/devices/system/cpu/online` lists them")]
    Offline(u32),
    /// They are not of one type.
    #[error(
        "cpus.cluster: CPUs {first} and {second} are of different types (midr_el1 {first_midr:#x} and {second_midr:#x}), between which KVM cannot move a guest: name CPUs of one type"
    )]
    Mixed {
        /// One CPU.
        first: u32,
        /// Its type.
        first_midr: u64,
        /// One of another type.
        second: u32,
        /// Its type.
        second_midr: u64,
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
                        first_midr: expected.midr.unwrap_or(0),
                        second: *cpu,
                        second_midr: of.midr.unwrap_or(0),
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
