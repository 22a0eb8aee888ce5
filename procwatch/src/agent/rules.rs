//! Which rule about threads a process has: chosen here, known to the kernel programs by its number.

use std::hash::{DefaultHasher, Hasher as _};

use super::{AgentError, report::Reporter};
use crate::{
    cgroup::CgroupPath,
    config::{Config, OnMissing, Program},
    detect::{Alert, threads},
    event::{Event, Exec, ProcessKey, Subject},
    execute::contain::{Warden, target::Target},
    inspect,
    kernel::{
        Kernel, KernelError,
        carry::{Over, Told},
    },
    record::HealthTopic,
    rulebook::RuleBook,
    text::Text,
};

/// Stands for rules: what has the same mark is the same. It is compared by agents of the same version only.
pub fn mark(rules: &impl std::fmt::Debug) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(format!("{rules:?}").as_bytes());
    hasher.finish()
}

/// A process that is to be capped by its cgroup: its most threads, and the number of its rule.
pub type CapByCgroup = (ProcessKey, u32, u32);

/// Chooses rules.
pub struct RuleChooser {
    book: RuleBook,
    /// Knows who is never contained.
    warden: Warden,
}

impl RuleChooser {
    /// The rules of a configuration.
    pub fn new(config: &Config, warden: Warden) -> Self {
        Self { book: RuleBook::new(config), warden }
    }

    /// Who is asked whom nothing is done to.
    pub const fn warden(&self) -> &Warden {
        &self.warden
    }

    /// All rules.
    pub const fn book(&self) -> &RuleBook {
        &self.book
    }

    /// Tells the kernel programs all rules and opens the gate for what they report.
    ///
    /// # Errors
    /// When the kernel refuses a write.
    pub fn arm(&self, kernel: &mut Kernel, enforce: bool) -> Result<(), AgentError> {
        // The processes get their rules with the first picture: what was told before stands until then.
        let told = self.replace(kernel)?;
        // Nobody was told of anything yet.
        self.resume(kernel, told, enforce).map(drop)
    }

    /// Tells the kernel programs these rules in place of others. They pause until [`Self::resume`], so that every process
    /// can be given its rule of now.
    ///
    /// # Errors
    /// When the kernel refuses a write.
    pub fn replace(&self, kernel: &mut Kernel) -> Result<Told, AgentError> {
        kernel.pause_rules()?;
        let told = kernel.threads().replace_rules(&self.book.cells())?;
        kernel.tell_programs(&self.book.wanted_programs())?;
        Ok(told)
    }

    /// From here on these rules are in force. Returns the alerts that are over because nothing says any more that they are
    /// some.
    ///
    /// # Errors
    /// When the kernel refuses a write.
    pub fn resume(&self, kernel: &mut Kernel, told: Told, enforce: bool) -> Result<Vec<Over>, AgentError> {
        let over = kernel.threads().carry_over(told)?;
        let (floor, others) = (self.book.floor(), self.book.has_others());
        kernel.steer(|control| {
            control.floor = floor.unwrap_or(u32::MAX);
            control.thread_rules = u32::from(others);
            control.enforce = u32::from(enforce);
            control.urgent = 1;
            control.thread_policy = self.mark(enforce);
        })?;
        Ok(over)
    }

    /// Whether the kernel programs have these very rules already.
    pub fn are_in_force(&self, kernel: &Kernel, enforce: bool) -> bool {
        kernel.control().thread_policy == self.mark(enforce)
    }

    fn mark(&self, enforce: bool) -> u64 {
        mark(&(self.book.without_locations(), enforce))
    }

    /// Refuses rules that demand what this kernel cannot.
    ///
    /// # Errors
    /// When a rule demands that threads can be refused, and they cannot.
    pub fn check_caps(&self, kernel: &Kernel) -> Result<(), AgentError> {
        let mut demanding = self.book.with_caps().filter(|rule| rule.on_missing == OnMissing::Refuse);
        match demanding.next() {
            Some(rule) if !kernel.can_cap() => Err(AgentError::Usage(format!(
                "{}: this kernel cannot refuse threads ({}), and on-missing = \"refuse\" demands it; boot with bpf in \
                 lsm=, or take on-missing = \"fallback\"",
                rule.described,
                kernel
                    .unavailable()
                    .iter()
                    .find(|what| what.starts_with("refusing"))
                    .map_or("", String::as_str),
            ))),
            _ => Ok(()),
        }
    }

    /// A process runs a program: its rule is chosen. The process, when its cgroup has to do what the kernel cannot.
    ///
    /// # Errors
    /// When the kernel refuses the write.
    pub fn on_program(
        &self,
        event: &Event,
        exec: &Exec,
        kernel: &mut Kernel,
        report: &mut Reporter,
    ) -> Result<Option<CapByCgroup>, AgentError> {
        let argv = exec.argv.as_ref().map(|argv| argv.args.clone());
        let program = self.program(&event.subject, argv, report);
        self.tell(&event.subject, &program, kernel, report)
    }

    /// The rules of all that run already. Those whose cgroups have to do what the kernel cannot.
    ///
    /// # Errors
    /// When the kernel refuses a write.
    pub fn on_picture(
        &self,
        subjects: &[Subject],
        kernel: &mut Kernel,
        report: &mut Reporter,
    ) -> Result<Vec<CapByCgroup>, AgentError> {
        let mut by_cgroup = Vec::new();
        for subject in subjects.iter().filter(|_| self.book.has_others()) {
            let program = self.program(subject, None, report);
            by_cgroup.extend(self.tell(subject, &program, kernel, report)?);
        }
        Ok(by_cgroup)
    }

    /// What rules look at. /proc is asked only for what one of them names and the kernel did not tell.
    fn program(&self, subject: &Subject, argv: Option<Vec<Text>>, report: &mut Reporter) -> Program {
        let book = &self.book;
        let is_asked = book.looks_at_exe() || (argv.is_none() && book.looks_at_argv());
        let asked = is_asked.then(|| inspect::program(subject.key())).flatten();
        let cgroup = report.converter.cgroups.path(subject.cgroup_id);
        let (exe, argv_of_proc) = asked.map_or((None, None), |program| (program.exe, program.argv));
        Program {
            uid: subject.uid,
            comm: subject.comm,
            exe,
            argv: argv.or(argv_of_proc),
            cgroup: cgroup
                .and_then(|path| CgroupPath::parse(std::str::from_utf8(path.as_bytes()).ok()?).ok()),
        }
    }

    fn tell(
        &self,
        subject: &Subject,
        program: &Program,
        kernel: &mut Kernel,
        report: &mut Reporter,
    ) -> Result<Option<CapByCgroup>, AgentError> {
        let key = subject.key();
        let number = self.book.choose(program);
        if number == 0 {
            kernel.threads().forget_process(key.pid)?;
            return Ok(None);
        }
        let rule = self.book.rule(number);
        let contains = rule.cap.is_some() || rule.stop_at.is_some();
        let protected = contains && self.is_protected(key);
        if let Err(error) = kernel.threads().choose_rule(key, number, protected) {
            // It has the rule for all others, as long as there is no room.
            bear(error, kernel, report)?;
            return Ok(None);
        }
        // The programs take the cell of a process away at its end. It may have ended before there was one.
        if !inspect::is_alive(key) {
            kernel.threads().forget_process(key.pid)?;
            return Ok(None);
        }
        let cap = rule.cap.filter(|_| !protected && !kernel.can_cap());
        Ok(cap.map(|threads| (key, threads, number)))
    }

    fn is_protected(&self, key: ProcessKey) -> bool {
        // Who has ended needs no protection.
        Target::of_key(key).is_some_and(|target| self.warden.refusal(&target).is_some())
    }

    /// The alerts of a process that last, told or not: the highest of its levels, its burst, its leak.
    pub fn lasting(&self, subject: &Subject, kernel: &mut Kernel, report: &Reporter) -> Vec<Alert> {
        let key = subject.key();
        let rule = kernel.threads().rule_of(key).unwrap_or(0);
        let level = threads::at_start(&self.book.rule(rule).levels, rule, report.now(), subject);
        let grown = kernel.threads().lasting(key).into_iter();
        let grown = grown.map(|way| threads::lasting(way, rule, report.now(), subject));
        level.into_iter().chain(grown).collect()
    }

    /// Whether the kernel side knows what a picture shows of a process, if the counting has `rested` also of its fall: there
    /// is nothing to tell then.
    pub fn is_settled(&self, subject: &Subject, rested: bool, kernel: &mut Kernel) -> bool {
        let (key, threads) = (subject.key(), kernel.threads());
        let rule = threads.rule_of(key).unwrap_or(0);
        threads.knows_levels(key, self.levels_below(rule, subject))
            && !(rested && threads.has_fallen(key, subject.threads))
    }

    /// The alert for a process that was above a level before the agent looked, unless the kernel side has told of it. To be
    /// called while the counting rests.
    ///
    /// # Errors
    /// When the kernel refuses a write.
    pub fn at_start(
        &self,
        subject: &Subject,
        kernel: &mut Kernel,
        report: &mut Reporter,
    ) -> Result<Option<Alert>, AgentError> {
        let key = subject.key();
        let rule = kernel.threads().rule_of(key).unwrap_or(0);
        let Some(alert) = threads::at_start(&self.book.rule(rule).levels, rule, report.now(), subject) else {
            return Ok(None);
        };
        let levels = self.levels_below(rule, subject);
        match kernel.threads().claim_levels(key, levels) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) => return bear(error, kernel, report).map(|()| None),
        }
        // One that ended before the claim was made has nobody who takes it back.
        if !inspect::is_alive(key) && kernel.threads().disclaim_levels(key, levels) {
            return Ok(None);
        }
        Ok(Some(alert))
    }

    /// The ends of alerts that the kernel side did not see, because the process fell while nobody counted. To be called
    /// while the counting rests.
    pub fn fallen(&self, subject: &Subject, kernel: &mut Kernel, report: &Reporter) -> Vec<Event> {
        let rule = kernel.threads().rule_of(subject.key()).unwrap_or(0);
        let over = kernel.threads().take_fallen(subject.key(), subject.threads).into_iter();
        over.map(|bound| threads::over(bound, rule, report.now(), subject)).collect()
    }

    fn levels_below(&self, rule: u32, subject: &Subject) -> u32 {
        self.book.rule(rule).levels.iter().filter(|level| subject.threads >= **level).count() as u32
    }
}

/// A map that is full costs a process its rule or its alert: whoever fills it must not end the agent by that. It is counted,
/// and told less and less often.
///
/// # Errors
/// Any other error, or when a record cannot be encoded.
pub fn bear(error: KernelError, kernel: &mut Kernel, report: &mut Reporter) -> Result<(), AgentError> {
    if !error.is_full() {
        return Err(error.into());
    }
    let count = kernel.count_full();
    if count.is_power_of_two() {
        let message =
            format!("{error}: it is full, and some processes have no rule or alert of their own ({count})");
        report.health(HealthTopic::Degraded, message)?;
    }
    Ok(())
}
