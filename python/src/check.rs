//! The checks. None holds the interpreter while it works.

use std::io;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyMapping;
use vfioboot::audit::batch::{Batch, Checked};
use vfioboot::audit::group::{Group, Open};
use vfioboot::audit::run::{Content, Input, Settings};
use vfioboot::audit::{CheckError, Given, Options, check_files};
use vfioboot::bootset::File;
use vfioboot::compression::Budget;
use vfioboot::container::{self, Choice, Kept, Memory};

use crate::arguments::{Arguments, ModulesArgument, Profile};
use crate::error::Raise;
use crate::report::Report;

/// Checks images with the same options.
#[pyclass(frozen, module = "vfioboot")]
pub(crate) struct Checker(Arguments);

#[pymethods]
impl Checker {
    #[new]
    fn new(
        profile: &Bound<'_, Profile>,
        config: Option<PyBackedBytes>,
        modules: Option<ModulesArgument>,
        cmdline: Option<String>,
        fail_on: &str,
        arch: Option<&str>,
        kernel_version: Option<&str>,
    ) -> PyResult<Self> {
        Ok(Checker(Arguments {
            profile: profile.get().rules.clone(),
            fail_on: Arguments::level(fail_on)?,
            config,
            modules,
            cmdline,
            arch: Arguments::arch(arch)?,
            version: Arguments::version(kernel_version)?,
        }))
    }

    /// Check the images of one device.
    fn check(&self, py: Python<'_>, images: &Bound<'_, PyMapping>) -> PyResult<Report> {
        let files = files(images)?;
        py.detach(|| {
            let modules = self.0.module_files()?;
            let options = self.0.options(&modules)?;
            let settings = settings(&options)?;
            let mut input = InMemory(files).as_one(&options);
            match input.result {
                Err(error) => Err(error.raise()),
                Ok(report) => {
                    input.result = Ok(report);
                    Ok(Report::new(settings, input))
                }
            }
        })
    }

    /// Check several sets of images, each by itself.
    fn check_each(&self, py: Python<'_>, sets: Vec<Bound<'_, PyMapping>>) -> PyResult<Vec<Report>> {
        let sets = sets.iter().map(files).collect::<PyResult<Vec<_>>>()?;
        py.detach(|| {
            let modules = self.0.module_files()?;
            let options = self.0.options(&modules)?;
            let settings = settings(&options)?;
            let mut reports = Vec::new();
            for set in sets {
                let inputs = InMemory(set).as_run(&options);
                reports.extend(inputs.into_iter().map(|own| Report::new(settings.clone(), own)));
            }
            Ok(reports)
        })
    }

    /// What the options say, as a text that differs where they do.
    fn given(&self, py: Python<'_>) -> PyResult<String> {
        py.detach(|| {
            let modules = self.0.module_files()?;
            Ok(settings(&self.0.options(&modules)?)?.given.to_json())
        })
    }
}

/// What the reports have in common.
fn settings(options: &Options<'_>) -> PyResult<Settings> {
    let mut settings = Settings::of(options);
    settings.given = Given::of(options).map_err(|error| CheckError::from(error).raise())?;
    Ok(settings)
}

/// The entries of a mapping from names to bytes.
fn files(images: &Bound<'_, PyMapping>) -> PyResult<Vec<(String, Arc<PyBackedBytes>)>> {
    let file = |item: Bound<'_, PyAny>| {
        let (name, bytes): (String, PyBackedBytes) = item.extract()?;
        Ok((name, Arc::new(bytes)))
    };
    images.items()?.iter().map(file).collect()
}

/// Files by name, like a container that has them.
struct InMemory(Vec<(String, Arc<PyBackedBytes>)>);

/// The bytes of a file, or of an image in one.
enum Bytes {
    Given(Arc<PyBackedBytes>),
    Unpacked(Kept),
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Bytes::Given(bytes) => bytes,
            Bytes::Unpacked(bytes) => (**bytes).as_ref(),
        }
    }
}

impl InMemory {
    fn name(&self) -> &str {
        self.0.first().map_or("", |(name, _)| name)
    }

    /// All images are those of one device.
    fn as_one(&self, options: &Options<'_>) -> Input {
        let size = self.0.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        let _scope = options.budget.unwrap_or(Budget::for_input(size)).enter();
        let images = match self.images() {
            Ok(images) => images,
            Err(error) => return Input::new(self.name(), Err(error.into())),
        };
        let files: Vec<File<'_>> = images
            .iter()
            .map(|(path, bytes)| File::new(path.display().to_string(), bytes.as_ref()))
            .collect();
        let mut input = Input::new(self.name(), check_files(&files, options));
        let content = |file: &File<'_>| (file.name.clone(), Content::of(file.bytes));
        let mut contents = files.iter().map(content);
        input.content = contents.next().map(|(_, content)| content);
        input.beside = contents.collect();
        input
    }

    /// The command line's way: several devices may be in a container.
    fn as_run(&self, options: &Options<'_>) -> Vec<Input> {
        let groups = [Group { main: PathBuf::new(), beside: Vec::new(), modules: None }];
        let batch = Batch {
            groups: &groups,
            options,
            jobs: Some(NonZeroUsize::MIN),
            files: self,
            contents: true,
            earlier: None,
        };
        let mut inputs = Vec::new();
        batch.each(&mut |checked| {
            if let Checked::Now(input) = checked {
                inputs.push(*input);
            }
            ControlFlow::Continue(())
        });
        // What could not be unpacked.
        for input in inputs.iter_mut().filter(|own| own.name.is_empty()) {
            *input =
                Input { name: self.name().to_owned(), key: self.name().to_owned(), ..take(input) };
        }
        inputs
    }

    /// The images of all files.
    fn images(&self) -> Result<Vec<(PathBuf, Bytes)>, container::Error> {
        let mut images = Vec::new();
        for (name, bytes) in &self.0 {
            let path = Path::new(name);
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            match container::read(bytes, &file, Choice::BootSet, &Memory)? {
                container::Given::Plain => {
                    images.push((path.to_owned(), Bytes::Given(bytes.clone())))
                }
                container::Given::Images(inside) => {
                    images.extend(inside.into_iter().map(|image| {
                        let path = image.path.map_or(path.to_owned(), |inside| path.join(inside));
                        (path, Bytes::Unpacked(image.bytes))
                    }))
                }
            }
        }
        Ok(images)
    }
}

fn take(input: &mut Input) -> Input {
    std::mem::replace(input, Input::new("", Err(CheckError::Empty)))
}

impl Open for InMemory {
    type Bytes = Bytes;

    fn open(&self, _: &Path) -> io::Result<Bytes> {
        Ok(Bytes::Unpacked(Box::new(Vec::new())))
    }

    fn unpack(&self, _: &Path, _: Bytes) -> Result<Vec<(PathBuf, Bytes)>, container::Error> {
        self.images()
    }
}
