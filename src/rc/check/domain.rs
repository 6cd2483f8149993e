//! SELinux domains: the labels of programs, and programs that need one.

use super::checker::Checker;
use crate::root_manager::RcOverlay;

impl Checker<'_> {
    pub(super) fn label(&mut self, line: usize, label: &str) {
        if label.splitn(4, ':').filter(|part| !part.is_empty()).count() != 4 {
            self.error(
                line,
                &format!("seclabel \"{label}\""),
                "a context is USER:ROLE:TYPE:LEVEL: init does not start the program",
                "write it as u:r:su:s0",
            );
        } else if let Some(other) = self.other_overlays().find(|own| own.has_type_of(label)) {
            let manager = other.manager;
            let why = format!(
                "{manager}'s policy adds this domain, and this ramdisk is not patched by {manager}"
            );
            let fix = format!("patch it with {manager} first, or use a domain of the ROM");
            self.warning(line, label, &why, &fix);
        } else if let Some(rule) = self.language.domain_rule(label) {
            self.warning(line, label, &rule.why, &rule.fix);
        }
    }

    pub(super) fn no_label(&mut self, line: usize, what: &str, program: &str) {
        let own = RcOverlay::all().find(|own| {
            program.strip_prefix(own.variable).is_some_and(|rest| rest.starts_with('/'))
        });
        let why = match (own, self.language.missing_transition(program)) {
            (Some(own), _) => format!(
                "the policy has no domain transition for a file in {}'s tmpfs, and init may not run a \
                 program in its own domain: neverallow init … execute_no_trans (init.te)",
                own.manager
            ),
            (None, Some(why)) => why.to_owned(),
            (None, None) => return,
        };
        let fix = match self.platform.overlay {
            Some(overlay) => format!("add seclabel {}", overlay.context),
            None => "add a seclabel whose domain may run it".to_owned(),
        };
        self.error(line, &format!("{what}: no seclabel"), &why, &fix);
    }
}
