//! What this program's own options offer against a refusal of the library.

use vfioboot::device::bind::plan::Refusal;
use vfioboot::device::guest::run::preflight;

/// A reason against binding, with the option that overrides it.
pub fn bind(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Held { device, .. } => {
            format!("{refusal}; to take it anyway: --force {}", device.address)
        }
        Refusal::NoPci(_)
        | Refusal::NoDevice(_)
        | Refusal::NoVfioPci
        | Refusal::Bridge(_)
        | Refusal::Cause { .. } => refusal.to_string(),
        Refusal::Mates { .. } => format!("{refusal}; --with-group takes them too"),
    }
}

/// The same for a guest, whose file says what is taken.
fn device(refusal: &Refusal) -> String {
    let Refusal::Mates { mates, .. } = refusal else { return bind(refusal) };
    let names: Vec<String> = mates.iter().map(|mate| format!("\"{}\"", mate.name)).collect();
    let names = names.join(", ");
    format!("{refusal}; in the guest file, devices gives them to it, hold = [{names}] keeps them")
}

/// A reason against starting a guest, with the option that overrides it: one line for each device.
pub fn start(refusal: &preflight::Refusal) -> String {
    match refusal {
        preflight::Refusal::Devices(error) => {
            error.refusals.iter().map(device).collect::<Vec<_>>().join("\n")
        }
        preflight::Refusal::Protected => format!("{refusal}, or try it with --allow-protected"),
        preflight::Refusal::Running { .. }
        | preflight::Refusal::Arch(_)
        | preflight::Refusal::Kvm { .. }
        | preflight::Refusal::NoKvm { .. }
        | preflight::Refusal::Hypervisor(_)
        | preflight::Refusal::NoIommu
        | preflight::Refusal::Memory(_)
        | preflight::Refusal::Cpu(_)
        | preflight::Refusal::Cpus(_)
        | preflight::Refusal::Qemu(_)
        | preflight::Refusal::OldQemu { .. }
        | preflight::Refusal::Token(_)
        | preflight::Refusal::Missing(_) => refusal.to_string(),
    }
}
