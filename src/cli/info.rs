//! `vfioboot info`: what an image is and what is in it.

mod detail;
mod initramfs;
mod json;
mod modules;
mod page;
mod picture;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value as Json, json};
use vfioboot::modules::ModuleRequest;

use report::Report;

use super::image_set;
use super::output;
use super::print::{self, Page, say};

/// Show what an image is: header, sections, command line, kernel, ramdisk, AVB
#[derive(clap::Args)]
pub struct Args {
    /// The images; `-` is standard input
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// Print JSON, with the tiling of every byte
    #[arg(long)]
    json: bool,
    /// Also write a picture to this file, as SVG: where the bytes are, and which of them vfioboot added;
    /// `-` is standard output
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let opened = image_set::open(&args.images)?;
    let (set, inputs) = image_set::any_set(&opened)?;
    set.request_modules(ModuleRequest::default());
    let reports: Vec<Report<'_>> =
        (0..set.images().len()).map(|image| Report::of(&set, image, inputs[image])).collect();
    if let Some(path) = &args.svg {
        output::refuse_inputs(path, inputs.iter().map(|input| &*input.path))?;
        let picture = picture::svg(&reports);
        output::write_text(path, |file| file.write_all(picture.as_bytes()))?;
        if output::is_stdout(path) {
            return Ok(ExitCode::SUCCESS);
        }
    }
    let flow = super::flow::of(&set);
    if args.json {
        let images: Vec<Json> = reports.iter().map(Report::to_json).collect();
        let initramfs = flow.map(|_| initramfs::to_json(&set));
        print::json(
            &json!({ "format": 1, "images": images, "initramfs": initramfs, "flow": flow }),
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut pages: Vec<Page> = reports.iter().map(Report::page).collect();
    if let Some(flow) = flow {
        pages.extend(initramfs::page(&set, &inputs));
        pages.push(super::flow::page(flow, &inputs));
    }
    for (index, page) in pages.iter().enumerate() {
        if index > 0 {
            say!("")?;
        }
        page.print()?;
    }
    Ok(ExitCode::SUCCESS)
}
