//! The first cause first: which checks only follow from others, and the order in which all are
//! shown.

use super::check::{Check, Status};

/// What each check depends on: when one of these has a problem, this one follows from it; the first
/// that has one counts. A name that ends in `-` stands for all rules whose ids begin so. Of the rules
/// on one subject the first is the cause of the others.
const NEEDS: &[(&str, &[&str])] = &[
    ("VB-KVM-", &["VB-KVM-"]),
    ("VB-VFIO-", &["VB-VFIO-"]),
    ("VB-IOMMU-", &["VB-IOMMU-"]),
    ("VB-PCI-", &["VB-PCI-"]),
    ("VB-HOST-", &["VB-HOST-"]),
    ("kvm", &["VB-KVM-"]),
    ("iommu", &["VB-IOMMU-", "device-tree"]),
    ("iommu-groups", &["VB-PCI-", "VB-IOMMU-", "device-tree", "iommu"]),
    ("interrupts", &["VB-IOMMU-", "iommu"]),
    ("vfio", &["VB-VFIO-"]),
    ("vfio-pci", &["VB-VFIO-", "vfio"]),
];

fn is_named(check: &Check, name: &str) -> bool {
    match name.ends_with('-') {
        true => check.key().starts_with(name),
        false => check.key() == name,
    }
}

/// Marks the checks that follow from others, and puts the problems first that nothing explains, each
/// with what follows from it.
pub(super) fn causes_first(mut checks: Vec<Check>) -> Vec<Check> {
    let causes: Vec<Option<usize>> =
        checks.iter().enumerate().map(|(at, check)| cause(&checks, at, check)).collect();
    let keys: Vec<&'static str> = checks.iter().map(Check::key).collect();
    let roots: Vec<usize> = (0..checks.len())
        .map(|at| std::iter::successors(Some(at), |at| causes[*at]).last().unwrap_or(at))
        .collect();
    for (check, cause) in checks.iter_mut().zip(&causes) {
        check.follows_from = cause.map(|cause| keys[cause]);
    }
    for root in 0..checks.len() {
        checks[root].fix = joint_fix(&checks, &roots, root);
    }
    let mended: Vec<bool> = checks.iter().map(|check| check.status != Status::Problem).collect();
    let mut shown: Vec<(usize, Check)> = checks.into_iter().enumerate().collect();
    shown.sort_by_key(|(at, _)| (mended[roots[*at]], roots[*at], *at != roots[*at], *at));
    shown.into_iter().map(|(_, check)| check).collect()
}

/// The problem that a check follows from.
fn cause(checks: &[Check], at: usize, check: &Check) -> Option<usize> {
    if check.status == Status::Ok {
        return None;
    }
    let find = |name: &str| {
        let among = if is_named(check, name) { &checks[..at] } else { checks };
        among.iter().position(|other| other.status == Status::Problem && is_named(other, name))
    };
    let (_, needs) = NEEDS.iter().find(|(name, _)| is_named(check, name)).unwrap_or(&("", &[]));
    check.follows_from.and_then(find).or_else(|| needs.iter().find_map(|name| find(name)))
}

/// What mends a rule and those that follow from it: all are options of one kernel.
fn joint_fix(checks: &[Check], roots: &[usize], root: usize) -> Option<String> {
    if roots[root] != root || checks[root].rule.is_none() {
        return checks[root].fix.clone();
    }
    let of_kernel = checks.iter().zip(roots).filter(|(check, of)| {
        **of == root && check.rule.is_some() && check.status == Status::Problem
    });
    let mut fixes: Vec<&str> = Vec::new();
    for fix in of_kernel.filter_map(|(check, _)| check.fix.as_deref()) {
        if !fixes.contains(&fix) {
            fixes.push(fix);
        }
    }
    if fixes.is_empty() { checks[root].fix.clone() } else { Some(fixes.join(" ")) }
}
