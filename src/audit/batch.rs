//! Checks many sets in one run, one after the other or several at a time.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::{Component, Path, PathBuf};

use super::check::{Options, check_files_beside};
use super::error::CheckError;
use super::group::{self, Group, Open};
use super::resume::Earlier;
use super::run::{Content, Input, Run, Settings};
use super::workers;
use super::{Outcome, Report};
use crate::bootset::File;
use crate::compression::Budget;

/// What is checked, and how.
pub struct Batch<'b, F> {
    /// The files.
    pub groups: &'b [Group],
    /// The options, the same for all of them.
    pub options: &'b Options<'b>,
    /// How many groups to check at a time; by default one for each processor.
    pub jobs: Option<NonZeroUsize>,
    /// Opens them. The files of a group are open only while it is checked.
    pub files: &'b F,
    /// Whether reports name the inputs by their content.
    pub contents: bool,
    /// What an earlier run has checked; it is left out.
    pub earlier: Option<&'b Earlier>,
}

/// What became of an input.
#[derive(Debug)]
pub enum Checked {
    /// It was checked, or could not be.
    Now(Box<Input>),
    /// An earlier run has its line, with this outcome; None if it could not be checked.
    Earlier(Option<Outcome>),
}

impl<F: Open> Batch<'_, F> {
    /// Check all groups. `take` gets the inputs in order, each as soon as it is done, and can end the run.
    pub fn each(&self, take: &mut dyn FnMut(Checked) -> ControlFlow<()>) {
        let mut take_all = |inputs: Vec<Checked>| inputs.into_iter().try_for_each(&mut *take);
        workers::each(self.groups, self.jobs, |group| self.group(group), &mut take_all);
    }

    /// Check all groups, and keep the reports.
    pub fn run(&self) -> Run {
        let mut inputs = Vec::new();
        self.each(&mut |checked| {
            if let Checked::Now(input) = checked {
                inputs.push(*input);
            }
            ControlFlow::Continue(())
        });
        Run { settings: Settings::of(self.options), inputs }
    }

    fn group(&self, group: &Group) -> Vec<Checked> {
        let members = match self.open(group) {
            Ok(members) => members,
            Err(error) => return vec![self.unopened(&group.main, error)],
        };
        // What a container holds was not known when it was put into the group.
        let alone = members.iter().filter(|own| own.path.starts_with(&group.main)).count() <= 1;
        let sets = match alone {
            true => vec![(0..members.len()).collect()],
            false => {
                let paths: Vec<PathBuf> = members.iter().map(|own| own.path.clone()).collect();
                let parts: Vec<_> =
                    members.iter().map(|own| group::part(own.bytes.as_ref())).collect();
                group::belonging(&paths, &parts)
            }
        };
        let set = |indices: Vec<usize>| {
            let set: Vec<_> = indices.into_iter().map(|at| &members[at]).collect();
            self.set(&set, group.modules.as_deref())
        };
        sets.into_iter().filter_map(set).collect()
    }

    /// Open the files of a group, the main one first, and unpack containers.
    fn open(&self, group: &Group) -> Result<Vec<Member<F::Bytes>>, CheckError> {
        if group.main.is_dir() {
            return Err(CheckError::Directory);
        }
        let mut members = self.unpacked(&group.main)?;
        for path in &group.beside {
            let beside = |error: CheckError| CheckError::Beside {
                file: path.display().to_string(),
                error: Box::new(error),
            };
            members.extend(self.unpacked(path).map_err(beside)?);
        }
        Ok(members)
    }

    fn unpacked(&self, path: &Path) -> Result<Vec<Member<F::Bytes>>, CheckError> {
        let file = self.files.open(path)?;
        let size = file.as_ref().len() as u64;
        let _scope = self.options.budget.unwrap_or(Budget::for_input(size)).enter();
        let images = self.files.unpack(path, file)?;
        Ok(images.into_iter().map(|(path, bytes)| Member { path, bytes }).collect())
    }

    /// Check files that belong together, unless an earlier run has.
    fn set(&self, members: &[&Member<F::Bytes>], modules: Option<&Path>) -> Option<Checked> {
        let (main, beside) = members.split_first()?;
        let content = |own: &Member<F::Bytes>| {
            Content::in_parts(own.bytes.as_ref(), &mut || self.files.release(&own.bytes))
        };
        let mut input = Input::new(main.name(), Err(CheckError::Empty));
        input.key = key(&main.path);
        if self.contents || self.earlier.is_some() {
            input.content = Some(content(main));
            input.beside = beside.iter().map(|own| (key(&own.path), content(own))).collect();
        }
        if let Some(earlier) = self.earlier.and_then(|earlier| earlier.outcome(&input)) {
            return Some(Checked::Earlier(earlier));
        }
        input.result = self.check(members, modules);
        Some(Checked::Now(Box::new(input)))
    }

    fn check(
        &self,
        members: &[&Member<F::Bytes>],
        modules: Option<&Path>,
    ) -> Result<Report, CheckError> {
        let set: Vec<File<'_>> = members.iter().map(|own| self.file(own)).collect();
        check_files_beside(&set, self.options, modules)
    }

    fn file<'m>(&self, member: &'m Member<F::Bytes>) -> File<'m> {
        let identity = self.files.identity(&member.bytes);
        File { identity, ..File::new(member.name(), member.bytes.as_ref()) }
    }

    /// A file that could not be opened is in the results once.
    fn unopened(&self, path: &Path, error: CheckError) -> Checked {
        let mut input = Input::new(path.display().to_string(), Err(error));
        input.key = key(path);
        match self.earlier.and_then(|earlier| earlier.outcome(&input)) {
            Some(earlier) => Checked::Earlier(earlier),
            None => Checked::Now(Box::new(input)),
        }
    }
}

/// An open file.
struct Member<B> {
    path: PathBuf,
    bytes: B,
}

impl<B> Member<B> {
    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// The path relative to the working directory, without a leading `./`.
fn key(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let path = here.and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path);
    let path: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
    path.display().to_string()
}
