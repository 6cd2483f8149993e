//! How a device boots, for people.

use vfioboot::bootset::flow::Evidence;
use vfioboot::bootset::{BootSet, Flow, FlowKind, Role};

use super::input::Input;
use super::print::{Page, line};
use super::style::{DIM, HEAD, NOTE};

/// The flow of images that belong together; None where they do not (two of a kind), or where none
/// of them takes part in it.
pub fn of<'s>(set: &'s BootSet<'_>) -> Option<&'s Flow> {
    let flow = set.flow();
    let known: Vec<Role> = flow.roles.iter().copied().filter(|role| role.boots()).collect();
    let doubled = known.iter().enumerate().any(|(index, role)| known[..index].contains(role));
    (!known.is_empty() && !doubled).then_some(flow)
}

/// The flow, its evidence by file name, and what is missing.
pub fn page(flow: &Flow, inputs: &[&Input]) -> Page {
    let mut page = Page::default();
    let sure = match (flow.certain, flow.kind) {
        (true, _) | (_, FlowKind::Unknown) => "",
        _ => ", most likely",
    };
    line!(page, "{HEAD}boot flow{HEAD:#}: {}{sure}", flow.title());
    let shown = |evidence: &Evidence| {
        let name = inputs.get(evidence.image).map(|input| input.name()).unwrap_or_default();
        format!("{name}, {}: {}", evidence.place, evidence.what)
    };
    for statement in &flow.statements {
        let evidence: Vec<String> = statement.evidence.iter().map(shown).collect();
        line!(page, "  {}  {DIM}({}){DIM:#}", statement.text, evidence.join("; "));
    }
    for missing in &flow.missing {
        line!(page, "  {NOTE}to be sure:{NOTE:#} {missing}");
    }
    page
}
