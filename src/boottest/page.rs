//! What the boots showed as one self-contained page: a timeline of each.

use std::fmt::{self, Write};

use super::log::Line;
use super::qemu::Source;
use super::verdict::{Trial, Verdict};
use super::{Exchange, Report};
use crate::audit::render::PAGE_STYLE;
use crate::text::xml;

/// A narrow page has no bars: the seconds say the same.
const STYLE: &str = "td.time{width:6em;text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}\
                     td.by{width:5.5em}td{overflow-wrap:anywhere}\
                     td.bar{width:30%;min-width:6em}td.bar div{height:.7em;background:currentColor;opacity:.35}\
                     @media(max-width:40rem){th:last-child,td.bar{display:none}}";

impl Report {
    /// The page, in HTML. Nothing is fetched, and it has no scripts.
    pub fn to_html(&self) -> String {
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = page(&mut out, self);
        out
    }
}

fn page(out: &mut String, report: &Report) -> fmt::Result {
    let (class, text) = match &report.verdict {
        Verdict::Proven => {
            ("pass", "proven: every device is on vfio-pci, then the original init".to_owned())
        }
        Verdict::Fails(fault) => ("fail", format!("the patch fails: {fault}")),
        Verdict::Undecided(why) => ("unknown", format!("not decided: {why}")),
    };
    write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>vfioboot boot-test: {class}</title>\n<style>\n{PAGE_STYLE}{STYLE}\n</style>\n</head>\n<body>\n\
         <header>\n<div><h1>vfioboot boot-test</h1>\n<p>{}</p></div>\n</header>\n<main>\n\
         <p class=\"verdict {class}\" role=\"status\">{}</p>\n",
        xml(report.board.map_or("no board", |board| &board.name)),
        xml(&text),
    )?;
    if !report.exchanged.is_empty() {
        out.write_str("<ul>\n")?;
        for Exchange { named, stand_in } in &report.exchanged {
            writeln!(out, "<li>{named}: {stand_in} stands in, in a copy of the boot file</li>")?;
        }
        out.write_str("</ul>\n")?;
    }
    let trials = [("The patched images", &report.patched), ("The originals", &report.control)];
    for (title, trial) in trials {
        if let Some(trial) = trial {
            timeline(out, title, trial)?;
        }
    }
    writeln!(
        out,
        "</main>\n<footer>Made by vfioboot {}</footer>\n</body>\n</html>",
        env!("CARGO_PKG_VERSION")
    )
}

fn timeline(out: &mut String, title: &str, trial: &Trial) -> fmt::Result {
    let end = trial.lines.iter().filter_map(|line| line.seconds).fold(0.0, f64::max);
    let source = match trial.source {
        Source::Serial => "",
        Source::Memory => {
            "<p>Nothing on the serial line: this is the log in the memory of the machine.</p>\n"
        }
    };
    write!(
        out,
        "<section>\n<h2>{title}</h2>\n{source}<table>\n<thead><tr><th>Seconds<th>By<th>What<th>When</tr></thead>\n<tbody>\n"
    )?;
    for Line { seconds, event } in &trial.lines {
        let (by, text) = event.parts();
        let time = seconds.map(|seconds| format!("{seconds:.3}")).unwrap_or_default();
        let width =
            seconds.filter(|_| end > 0.0).map_or(0.0, |seconds| (seconds / end * 100.0).max(0.0));
        writeln!(
            out,
            "<tr><td class=\"time\">{time}</td><td class=\"by\">{by}</td><td>{}</td>\
             <td class=\"bar\"><div style=\"width:{width:.1}%\"></div></td></tr>",
            xml(&text),
        )?;
    }
    out.write_str("</tbody>\n</table>\n</section>\n")
}
