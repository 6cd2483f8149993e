//! One self-contained page: nothing is fetched, and it is complete without scripts. For very many inputs
//! it is a table that a script fills from data; without it there is one line for each.

use std::fmt::Write;

use super::data::Data;
use super::format::Render;
use super::{Audience, Format};
use crate::audit::report::Report;
use crate::audit::run::{Input, Run};
use crate::audit::{Finding, Outcome, Rule, Verdict};
use crate::text::visible_json;
use crate::text::xml;

/// The looks of every page of this program.
pub(crate) const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// The script of the page for many inputs.
const TABLE: &str = include_str!("table.js");
/// With more inputs than this, each has no section of its own.
const MANY: usize = 40;

pub(super) const FORMAT: Format = Format {
    name: "html",
    about: "A page to look at",
    audience: Audience::People,
    render: Render::Whole(|run, _| render(run)),
};

fn render(run: &Run) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = page(&mut out, run);
    out
}

fn page(out: &mut String, run: &Run) -> std::fmt::Result {
    let (verdict, text) = overall(run);
    write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
         <title>vfioboot check: {text}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header>\n<div><h1>vfioboot check</h1>\n<p>Profile <b>{}</b>: {}</p></div>\n\
         <label class=\"theme\">Colours <select id=\"theme\"><option value=\"\">as the system\
         <option value=\"light\">light<option value=\"dark\">dark</select></label>\n</header>\n<main>\n\
         <p class=\"verdict {verdict}\" role=\"status\">{text}</p>\n",
        xml(&run.settings.profile),
        xml(&run.settings.title),
    )?;
    let script = match run.inputs.len() > MANY {
        true => {
            table(out, run)?;
            TABLE
        }
        false => {
            sections(out, run)?;
            SCRIPT
        }
    };
    writeln!(
        out,
        "</main>\n<footer>Made by vfioboot {}</footer>\n<script>\n{script}</script>\n</body>\n</html>",
        env!("CARGO_PKG_VERSION")
    )
}

/// A matrix, and for each input a section with all of its findings.
fn sections(out: &mut String, run: &Run) -> std::fmt::Result {
    if run.inputs.len() > 1 {
        matrix(out, run)?;
    }
    out.write_str(
        "<form id=\"filter\" role=\"search\" aria-label=\"Filter findings\" hidden>\n\
         <label>Level <select name=\"level\"><option value=\"\">all<option>required<option>forbidden\
         <option>recommended<option>optional</select></label>\n\
         <label>Verdict <select name=\"verdict\"><option value=\"\">all<option value=\"fail\">fails\
         <option value=\"unknown\">unknown<option value=\"pass\">passes\
         <option value=\"not_applicable\">does not apply</select></label>\n\
         <label>Text <input name=\"text\" type=\"search\" placeholder=\"VFIO, VB-KVM-001, …\"></label>\n\
         <button type=\"reset\">All</button>\n<output id=\"count\" aria-live=\"polite\"></output>\n</form>\n",
    )?;
    for (index, input) in run.inputs.iter().enumerate() {
        match &input.result {
            Ok(report) => section(out, index, input, report, run.inputs.len() > 1)?,
            Err(error) => writeln!(
                out,
                "<section id=\"i{index}\">\n<h2>{}</h2>\n<p class=\"error\">Not checked: {}</p>\n</section>",
                xml(&input.name),
                xml(&error.to_string())
            )?,
        }
    }
    Ok(())
}

/// The table that a script fills, from data in the page.
fn table(out: &mut String, run: &Run) -> std::fmt::Result {
    out.write_str(
        "<form id=\"filter\" role=\"search\" aria-label=\"Filter inputs\" hidden>\n\
         <label>Verdict <select name=\"verdict\"><option value=\"\">all<option>fail<option>error\
         <option>inconclusive<option>pass</select></label>\n\
         <label>Rule that fails or is unknown <select name=\"rule\"><option value=\"\">any</select></label>\n\
         <label>Text <input name=\"text\" type=\"search\" placeholder=\"name, version, …\"></label>\n\
         <button type=\"reset\">All</button>\n<output id=\"count\" aria-live=\"polite\"></output>\n</form>\n\
         <section id=\"table\" class=\"matrix\" tabindex=\"0\" aria-label=\"Inputs\" hidden></section>\n\
         <section id=\"detail\" aria-live=\"polite\"></section>\n<noscript><table>\n",
    )?;
    for input in &run.inputs {
        let (class, verdict) = match &input.result {
            Ok(report) => (class(report.outcome()), report.verdict_line()),
            Err(error) => ("fail", format!("not checked: {error}")),
        };
        let (name, verdict) = (xml(&input.name), xml(&verdict));
        writeln!(out, "<tr><td>{name}</td><td class=\"{class}\">{verdict}</td></tr>")?;
    }
    // Only strings and numbers: serialisation does not fail.
    let data = serde_json::to_string(&Data::of(run)).unwrap_or_default();
    // Nothing in it ends the element.
    let data = visible_json(&data).replace('<', "\\u003c");
    writeln!(
        out,
        "</table></noscript>\n<script id=\"data\" type=\"application/json\">{data}</script>"
    )
}

fn class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "pass",
        Outcome::Fail => "fail",
        Outcome::Inconclusive => "unknown",
    }
}

/// The class and the text of the overall verdict.
fn overall(run: &Run) -> (&'static str, String) {
    if let [Input { result: Ok(report), .. }] = run.inputs.as_slice() {
        return (class(report.outcome()), xml(&report.verdict_line()));
    }
    let totals = run.totals();
    let mut parts = Vec::new();
    for (count, what) in [
        (totals.fail, "fail"),
        (totals.errors, "not checked"),
        (totals.inconclusive, "inconclusive"),
        (totals.pass, "pass"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    let class = if totals.errors > 0 { "fail" } else { totals.outcome().map_or("fail", class) };
    (class, format!("{} inputs: {}", run.inputs.len(), parts.join(", ")))
}

/// A sign and a label for a verdict, which must not depend on colour alone.
fn sign(verdict: Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Pass => ("✓", "passes"),
        Verdict::Fail => ("✗", "fails"),
        Verdict::Unknown => ("?", "unknown"),
        Verdict::NotApplicable => ("–", "does not apply"),
    }
}

/// A rule ID as part of an element ID.
fn slug(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}

fn matrix(out: &mut String, run: &Run) -> std::fmt::Result {
    let Some((_, first)) = run.reports().next() else { return Ok(()) };
    let rules: Vec<&Rule> = first.evaluation.findings.iter().map(|finding| &finding.rule).collect();
    out.write_str(
        "<section class=\"matrix\" tabindex=\"0\" aria-label=\"Kernels by rules\">\n<table>\n\
         <caption>Kernels by rules. A sign leads to the finding.</caption>\n<thead><tr>\
         <th scope=\"col\">Input</th><th scope=\"col\">Verdict</th>",
    )?;
    for rule in &rules {
        write!(
            out,
            "<th scope=\"col\" class=\"rule\" data-level=\"{}\" title=\"{}\"><span>{}</span></th>",
            rule.level.name(),
            xml(&rule.title),
            xml(&rule.id)
        )?;
    }
    out.write_str("</tr></thead>\n<tbody>\n")?;
    for (index, input) in run.inputs.iter().enumerate() {
        let name = xml(&input.name);
        write!(out, "<tr><th scope=\"row\"><a href=\"#i{index}\">{name}</a></th>")?;
        match &input.result {
            Err(_) => write!(
                out,
                "<td class=\"fail\">error</td><td colspan=\"{}\">not checked</td>",
                rules.len()
            )?,
            Ok(report) => {
                let outcome = report.outcome();
                write!(out, "<td class=\"{}\">{}</td>", class(outcome), outcome.name())?;
                for rule in &rules {
                    match report.evaluation.finding(&rule.id) {
                        Some(finding) => cell(out, index, report, finding)?,
                        None => out.write_str("<td></td>")?,
                    }
                }
            }
        }
        out.write_str("</tr>\n")?;
    }
    out.write_str("</tbody>\n</table>\n</section>\n")
}

fn cell(out: &mut String, index: usize, report: &Report, finding: &Finding) -> std::fmt::Result {
    let (sign, label) = sign(finding.verdict);
    let lesser = if report.decides(finding) { "" } else { " lesser" };
    let id = xml(&finding.rule.id);
    write!(
        out,
        "<td class=\"{}{lesser}\"><a href=\"#i{index}-{}\" aria-label=\"{id} {label}\" title=\"{id} {label}: {}\">{sign}</a></td>",
        finding.verdict.name(),
        slug(&finding.rule.id),
        xml(&finding.reason.to_string())
    )
}

fn section(
    out: &mut String,
    index: usize,
    input: &Input,
    report: &Report,
    several: bool,
) -> std::fmt::Result {
    writeln!(out, "<section id=\"i{index}\">\n<h2>{}</h2>", xml(&input.name))?;
    if several {
        let (class, verdict) = (class(report.outcome()), xml(&report.verdict_line()));
        writeln!(out, "<p class=\"verdict {class}\">{verdict}</p>")?;
    }
    writeln!(
        out,
        "<dl><dt>What</dt><dd>{}</dd><dt>Kernel</dt><dd>{}</dd><dt>Config</dt><dd>{}</dd>",
        xml(&report.subject.to_string()),
        xml(&report.kernel()),
        xml(&report.config())
    )?;
    if let Some(line) = report.cmdline() {
        out.write_str("<dt>Command line</dt><dd><ul class=\"cmdline\">\n")?;
        for own in &line.entries {
            let class = if own.counts { "" } else { " class=\"ignored\"" };
            let (text, label) = (xml(&own.text), xml(&own.label()));
            writeln!(out, "<li{class}><code>{text}</code> <small>{label}</small></li>")?;
        }
        let explained = line.mode.explain().map(xml).unwrap_or_default();
        writeln!(out, "</ul>{explained}</dd>")?;
    }
    out.write_str("</dl>\n")?;
    let notes: Vec<String> = report.notes().collect();
    if !notes.is_empty() || !report.evaluation.parameters.is_empty() {
        out.write_str("<ul class=\"notes\">\n")?;
        for note in notes {
            writeln!(out, "<li>{}</li>", xml(&note))?;
        }
        for own in &report.evaluation.parameters {
            let (text, level, why) = (xml(&own.parameter), own.level.name(), xml(&own.why));
            writeln!(out, "<li>For the command line: <code>{text}</code> ({level}). {why}</li>")?;
        }
        out.write_str("</ul>\n")?;
    }
    out.write_str(
        "<table class=\"findings\">\n<thead><tr><th scope=\"col\">Verdict</th><th scope=\"col\">Rule</th>\
         <th scope=\"col\">Level</th><th scope=\"col\">Finding</th></tr></thead>\n<tbody>\n",
    )?;
    for finding in report.ranked() {
        row(out, index, report, finding)?;
    }
    out.write_str("</tbody>\n</table>\n</section>\n")
}

fn row(out: &mut String, index: usize, report: &Report, finding: &Finding) -> std::fmt::Result {
    let rule = &finding.rule;
    let (sign, label) = sign(finding.verdict);
    let lesser = if report.decides(finding) { "" } else { " lesser" };
    let (id, level, verdict) = (xml(&rule.id), rule.level.name(), finding.verdict.name());
    write!(
        out,
        "<tr id=\"i{index}-{}\" data-rule=\"{id}\" data-level=\"{level}\" data-verdict=\"{verdict}\">\
         <td class=\"{verdict}{lesser}\"><span aria-hidden=\"true\">{sign}</span> {label}</td>\
         <td><b>{id}</b> {}</td><td>{level}</td><td>{}",
        slug(&rule.id),
        xml(&rule.title),
        xml(&finding.reason.to_string())
    )?;
    if report.is_known(finding) {
        out.write_str(" <i>(known from the baseline)</i>")?;
    }
    match finding.verdict {
        Verdict::Fail => {
            write!(out, "<p>{}</p><p><b>Fix:</b> {}</p>", xml(&rule.effect), xml(&rule.fix))?;
        }
        Verdict::Unknown => write!(out, "<p><b>To be sure:</b> {}</p>", xml(&rule.fix))?,
        Verdict::Pass | Verdict::NotApplicable => {}
    }
    writeln!(
        out,
        "<details><summary>Reason and evidence</summary><p>{}</p><p>Evidence: {}</p></details></td></tr>",
        xml(&rule.why),
        xml(&finding.provenance.to_string())
    )
}
