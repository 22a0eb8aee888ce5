//! A virtual machine that does one job and ends.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{
    folder::Folder,
    job::Job,
    kernel::Kernel,
    qemu::{Accelerator, Programs},
};
use crate::{exec, setup::say};

/// How long a guest may take, besides its job, on a real CPU: boot, unpacking, switching off.
const BOOT: Duration = Duration::from_secs(15);

/// More of that for each virtual CPU, which has to be brought up.
const BOOT_OF_CPU: Duration = Duration::from_millis(500);

/// How many of the console's last lines a report has.
const TAIL: usize = 30;

/// What the kernel says when it gives up.
const PANIC: &str = "Kernel panic";

/// What an emulated CPU brings about when it runs an instruction that the kernel has replaced meanwhile: it takes the
/// breakpoint that stands there while code is patched for one that nobody has set. The kernel patches its page allocator when
/// the first cpuset is made. On a busy machine qemu's emulation loses that race now and then; a real CPU cannot.
const STALE_CODE: [&str; 2] = ["Oops: int3", "asm_exc_int3"];

/// What came of a job.
#[derive(Debug)]
pub(crate) struct Report {
    /// How the command ended, as a shell counts it: 124 or 137 when its time was up.
    pub(crate) exit_code: i32,
    /// What it wrote, errors too.
    pub(crate) output: String,
    /// The last lines of the serial console.
    pub(crate) console_tail: String,
    /// From start to end of the machine.
    pub(crate) took: Duration,
}

/// Whether the smallest guest came up.
pub(crate) enum Trial {
    /// It did.
    Boots,
    /// It did not, and why as far as that is known.
    Fails(String),
}

/// How an attempt ended.
enum Ended {
    /// With an exit code of the command.
    Well(Report),
    /// The time was up and the machine was still there; whether the command had begun to write.
    Hung { begun: bool, tail: String },
    /// By a fault of the emulator; see [`STALE_CODE`].
    Stale,
    /// With a panic, or an end of the emulator, before that; whether the command had begun to write.
    Early { begun: bool, why: anyhow::Error },
}

/// The machine that jobs run on, one after the other.
pub(crate) struct Machine<'a> {
    folder: &'a Folder,
    programs: &'a Programs,
    accelerator: Accelerator,
}

impl<'a> Machine<'a> {
    /// A machine that works in `folder`.
    pub(crate) fn new(folder: &'a Folder, programs: &'a Programs, accelerator: Accelerator) -> Self {
        Self { folder, programs, accelerator }
    }

    /// Boots `kernel` on the root file system `image`, does the job and shows what it writes.
    ///
    /// A guest that hangs or panics before its job wrote anything is started once more: emulated ones do at times. So is one
    /// whose emulator ran stale code, and that is told.
    pub(crate) fn run(&self, kernel: &Kernel, image: &Path, job: &Job) -> Result<Report> {
        for attempt in 1..=2 {
            match self.attempt(kernel, image, job)? {
                Ended::Well(report) => return Ok(report),
                Ended::Hung { begun: false, .. } if attempt == 1 => {
                    say(&format!("the guest with {} hung at boot; once more", kernel.release));
                }
                Ended::Early { begun: false, why } if attempt == 1 => {
                    say(&format!("the guest with {} did not come up ({why:#}); once more", kernel.release));
                }
                Ended::Stale if attempt == 1 => {
                    say(&format!("the emulator of {} ran code that was replaced; once more", kernel.release));
                }
                Ended::Stale => bail!("the emulator of {} ran code that was replaced, twice", kernel.release),
                Ended::Early { why, .. } => return Err(why),
                Ended::Hung { begun, tail } => {
                    let what = if begun { "in its job" } else { "at boot, twice" };
                    bail!("the guest with {} hung {what}; on the console:\n{tail}", kernel.release);
                }
            }
        }
        bail!("the guest with {} was not started", kernel.release)
    }

    /// Boots `kernel` with nothing but its initramfs.
    pub(crate) fn try_boot(&self, kernel: &Kernel, timeout: Duration) -> Result<Trial> {
        let run = Run::new(self.folder.empty("run/trial")?);
        let mut qemu = self.qemu(kernel, &run, 1, "procwatch.trial");
        let ended = run.wait(start(&mut qemu)?, timeout, &mut io::sink())?;
        let console = run.console();
        if console.contains("procwatch: this machine boots") {
            return Ok(Trial::Boots);
        }
        let why = match ended {
            None => format!("no sign of life in {} s", timeout.as_secs()),
            Some(_) => run.errors(),
        };
        Ok(Trial::Fails(why))
    }

    /// One attempt at a job, with all the boots that it wants.
    fn attempt(&self, kernel: &Kernel, image: &Path, job: &Job) -> Result<Ended> {
        let home = self.folder.empty(format!("run/{}-{}", kernel.release, job.name))?;
        job.pack(&home.join("job.tar"))?;
        if job.boots == 1 {
            return self.boot(kernel, &disk(image, "root", ",snapshot=on"), job, &Run::new(home));
        }
        let own = home.join("root.ext4");
        // Most of it was never written.
        exec::read(Command::new("cp").args(["--sparse=always", "--"]).arg(image).arg(&own))?;
        let mut all: Option<Report> = None;
        for number in 1..=job.boots {
            let run = Run { number, ..Run::new(home.clone()) };
            match (self.boot(kernel, &disk(&own, "root", ""), job, &run)?, &mut all) {
                (Ended::Well(report), None) => all = Some(report),
                (Ended::Well(report), Some(all)) => all.add(report),
                (other, _) => return Ok(other),
            }
        }
        fs::remove_file(&own).with_context(|| format!("cannot remove {}", own.display()))?;
        all.map(Ended::Well).context("a job without a boot")
    }

    /// Starts the machine with this disk and waits for its end.
    fn boot(&self, kernel: &Kernel, root: &[String], job: &Job, run: &Run) -> Result<Ended> {
        let start_time = Instant::now();
        let mut qemu = self.qemu(kernel, run, job.cpus, job.kernel_options);
        qemu.args(root)
            .args(disk(&run.home.join("job.tar"), "job", ",readonly=on"))
            .args(["-device", "virtio-serial-pci"])
            .args(port(&run.path("output"), "output"))
            .args(port(&run.path("exit"), "exit"));
        let boot = (BOOT + BOOT_OF_CPU * job.cpus) * self.accelerator.slowness();
        let child = start(&mut qemu)?;
        let ended = {
            let (mut shown, mut unshown) = (io::stdout(), io::sink());
            let listener: &mut dyn io::Write = if job.shown { &mut shown } else { &mut unshown };
            run.wait(child, boot + job.timeout, listener)?
        };
        let output = run.read("output");
        let tail = run.console_tail();
        if let Ok(exit_code) = run.read("exit").trim().parse() {
            return Ok(Ended::Well(Report {
                exit_code,
                output,
                console_tail: tail,
                took: start_time.elapsed(),
            }));
        }
        let begun = !output.is_empty();
        if self.accelerator.slowness() > 1 && has_stale_code(&run.console()) {
            return Ok(Ended::Stale);
        }
        Ok(match ended {
            Some(status) => Ended::Early { begun, why: early_end(&kernel.release, status, run) },
            None => Ended::Hung { begun, tail },
        })
    }

    /// The emulator for a guest without disks.
    fn qemu(&self, kernel: &Kernel, run: &Run, cpus: u32, more: &str) -> Command {
        // A guest has little to do with memory but for the kernel's share of each CPU.
        let memory = 1024 + 64 * cpus;
        let mut qemu = self.programs.qemu();
        qemu.args(["-machine", "q35", "-accel", self.accelerator.option(), "-cpu", "max"])
            .args(["-smp", &cpus.to_string(), "-m", &memory.to_string()])
            .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
            .args(["-nic", "none"])
            .arg("-kernel")
            .arg(&kernel.image)
            .arg("-initrd")
            .arg(&kernel.initramfs)
            .arg("-append")
            .arg(format!("console=ttyS0 quiet panic=-1 mitigations=off {more}"))
            .arg("-serial")
            .arg(format!("file:{}", option_value(&run.path("console"))))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if let Ok(errors) = File::create(run.path("errors")) {
            qemu.stderr(errors);
        }
        qemu
    }
}

impl Report {
    /// Adds that of a later boot.
    fn add(&mut self, later: Self) {
        self.exit_code = self.exit_code.max(later.exit_code);
        self.output += &later.output;
        self.console_tail = later.console_tail;
        self.took += later.took;
    }
}

/// The files of one run.
struct Run {
    home: PathBuf,
    /// Which boot of its machine it is, from 1.
    number: u32,
}

impl Run {
    fn new(home: PathBuf) -> Self {
        Self { home, number: 1 }
    }

    fn path(&self, name: &str) -> PathBuf {
        let name = if self.number == 1 { name.to_owned() } else { format!("{name}-{}", self.number) };
        self.home.join(name)
    }

    /// A file as text, empty where it is not there.
    fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.path(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What the guest wrote to its serial console.
    fn console(&self) -> String {
        self.read("console")
    }

    /// The last lines of it; the first ones of a panic, where there is one: what follows is less to the point.
    fn console_tail(&self) -> String {
        let console = self.console();
        let lines: Vec<&str> = console.lines().map(str::trim_end).filter(|it| !it.is_empty()).collect();
        let panic = lines.iter().position(|line| line.contains(PANIC));
        let begin = panic.unwrap_or(lines.len().saturating_sub(TAIL));
        let end = lines.len().min(begin + TAIL);
        lines[begin..end].join("\n")
    }

    /// What the emulator complained about.
    fn errors(&self) -> String {
        self.read("errors")
    }

    /// Waits for the machine to end and copies what the job writes to `listener`; `None` when the time is up first.
    fn wait(
        &self,
        mut child: Child,
        timeout: Duration,
        listener: &mut dyn io::Write,
    ) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + timeout;
        let mut output = None;
        loop {
            let status = child.try_wait()?;
            if output.is_none() {
                output = File::open(self.path("output")).ok();
            }
            if let Some(file) = &mut output {
                let mut new = Vec::new();
                file.read_to_end(&mut new)?;
                listener.write_all(&new)?;
                listener.flush()?;
            }
            if status.is_some() {
                return Ok(status);
            }
            if Instant::now() > deadline {
                child.kill()?;
                child.wait()?;
                return Ok(None);
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Starts the emulator.
fn start(qemu: &mut Command) -> Result<Child> {
    qemu.spawn().with_context(|| format!("cannot start {}", exec::show(qemu)))
}

/// Why a machine ended before its job did.
fn early_end(release: &str, status: ExitStatus, run: &Run) -> anyhow::Error {
    let tail = run.console_tail();
    if let Some(panic) = run.console().lines().find(|line| line.contains(PANIC)) {
        return anyhow::anyhow!("{}; on the console:\n{tail}", panic.trim());
    }
    if status.success() {
        anyhow::anyhow!("the guest with {release} ended before its job; on the console:\n{tail}")
    } else {
        anyhow::anyhow!("qemu failed ({status}): {}", run.errors().trim())
    }
}

fn has_stale_code(console: &str) -> bool {
    console.contains(PANIC) && STALE_CODE.iter().any(|sign| console.contains(sign))
}

/// The words for a disk that keeps nothing.
fn disk(path: &Path, name: &str, more: &str) -> [String; 4] {
    let path = option_value(path);
    [
        "-drive".to_owned(),
        format!("file={path},format=raw,if=none,id={name},cache=unsafe{more}"),
        "-device".to_owned(),
        format!("virtio-blk-pci,drive={name}"),
    ]
}

/// The words for a port that a guest writes to and that ends in a file.
fn port(path: &Path, name: &str) -> [String; 4] {
    let path = option_value(path);
    [
        "-chardev".to_owned(),
        format!("file,id={name},path={path}"),
        "-device".to_owned(),
        format!("virtserialport,chardev={name},name=procwatch.{name}"),
    ]
}

/// A path as qemu wants it in an option: a comma is doubled.
fn option_value(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_in_its_own_words() {
        let dir = tempfile::tempdir().unwrap();
        let run = Run::new(dir.path().to_owned());
        fs::write(run.path("console"), "a\n[ 1.0] Kernel panic - not syncing: x\r\nend\n").unwrap();
        let error = early_end("6.1", ExitStatus::default(), &run).to_string();
        assert!(error.starts_with("[ 1.0] Kernel panic - not syncing: x; "), "{error}");
        assert!(run.console_tail().ends_with("end"));
    }

    #[test]
    fn stale_code_is_told_from_a_panic_of_the_kernels_own() {
        let panic = "Kernel panic - not syncing: Fatal exception in interrupt";
        let console = format!("[ 8.1] Oops: int3: 0000 [#1] SMP NOPTI\n[ 8.2] {panic}\n");
        assert!(has_stale_code(&console));
        assert!(!has_stale_code(panic) && !has_stale_code("Oops: int3"));
    }

    #[test]
    fn a_machine_that_does_not_end_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let run = Run::new(dir.path().to_owned());
        fs::write(run.path("output"), "said").unwrap();
        let mut heard = Vec::new();
        let child = start(Command::new("sleep").arg("60")).unwrap();
        let ended = run.wait(child, Duration::from_millis(100), &mut heard).unwrap();
        assert_eq!((ended, heard), (None, b"said".to_vec()));
    }
}
