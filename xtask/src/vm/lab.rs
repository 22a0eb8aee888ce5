//! All that machines are made of, fetched and made where it is not there yet.

use std::path::PathBuf;

use anyhow::Result;

use super::{
    debian::Suites,
    folder::Folder,
    image,
    job::Job,
    kernel::Kernel,
    machine::{Machine, Report},
    qemu::{Accelerator, Programs},
};
use crate::{caller, setup::say, workspace::Workspace};

/// All that machines are made of.
pub(crate) struct Lab {
    folder: Folder,
    suites: Suites,
    programs: Programs,
    image: PathBuf,
}

impl Lab {
    /// Fetches and makes what is not there yet.
    pub(crate) fn prepare(workspace: &Workspace) -> Result<Self> {
        caller::hand_over(&workspace.target)?;
        let folder = Folder::of(workspace)?;
        let programs = Programs::prepare(&folder)?;
        let suites = Suites::prepare(&folder)?;
        let image = image::prepare(&folder, &programs, &suites)?;
        caller::hand_over(&folder.path(""))?;
        Ok(Self { folder, suites, programs, image })
    }

    /// Finds or fetches the kernel for a version such as `6.1`, a whole release, or `newest`.
    ///
    /// The error is [`super::kernel::Missing`] when Debian's archive does not have it.
    pub(crate) fn kernel(&self, version: &str) -> Result<Kernel> {
        Kernel::prepare(&self.folder, &self.programs, &self.suites, version)
    }

    /// What executes the instructions of guests with this kernel.
    pub(crate) fn accelerator(&self, kernel: &Kernel) -> Result<&'static str> {
        Accelerator::find(&self.folder, &self.programs, kernel).map(Accelerator::name)
    }

    /// Does the job on a kernel, in a machine of its own.
    pub(crate) fn run(&self, kernel: &Kernel, job: &Job) -> Result<Report> {
        let accelerator = Accelerator::find(&self.folder, &self.programs, kernel)?;
        let mut what = format!("{} with {} CPUs by {}", kernel.release, job.cpus, accelerator.name());
        if !job.kernel_options.is_empty() {
            what += ", ";
            what += job.kernel_options;
        }
        say(&what);
        let machine = Machine::new(&self.folder, &self.programs, accelerator);
        let report = machine.run(kernel, &self.image, job)?;
        say(&format!("{} took {:.1} s", kernel.release, report.took.as_secs_f32()));
        Ok(report)
    }
}
