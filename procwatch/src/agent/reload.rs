//! The configuration is read again: all of it takes the place of the one before, or nothing does.

use super::{
    AgentError,
    guard::Guard,
    orders::{describe, hasten_moves},
    outputs::Wanted,
    placing::{NewRules, backend, wants_hold},
    rules::RuleChooser,
};
use crate::{
    config::Config,
    detect::threads,
    event::Subject,
    execute::contain::Warden,
    kernel::carry::Over,
    record::{HealthTopic, Mode},
    rulebook::RuleBook,
    service::notify,
};

/// A configuration that nothing stands in the way of any more.
struct Next {
    config: Config,
    rules: RuleChooser,
    places: NewRules,
    /// What it wants and the kernel refuses.
    unavailable: Vec<String>,
}

impl Guard {
    /// Reads the configuration again and goes on with it; where it is bad, or cannot be had, with the one before. Both
    /// is told.
    ///
    /// # Errors
    /// When the kernel side or the output fails.
    pub(super) fn reload(&mut self) -> Result<(), AgentError> {
        notify::reloading();
        match self.orders.read().map_err(AgentError::from).and_then(|config| self.ready(config)) {
            Ok(next) => {
                self.take_over(next)?;
                notify::ready(&describe(&self.config));
            }
            Err(error) => {
                let why = error.to_string().replace('\n', "; ");
                self.config_status.refused = Some(why.clone());
                let told = format!("reload refused: {why}; all stays as it was");
                notify::ready(&told);
                self.report.health(HealthTopic::Refused, told)?;
            }
        }
        Ok(())
    }

    /// Gets ready all that may fail. Outputs come last, because they are either all changed or none is.
    fn ready(&mut self, config: Config) -> Result<Next, AgentError> {
        let Self { kernel, placer, report, mount, .. } = self;
        let wants_cap = RuleBook::new(&config).with_caps().next().is_some();
        let known = kernel.unavailable().len();
        kernel.extend(wants_hold(&config), wants_cap)?;
        let mut unavailable = kernel.unavailable()[known..].to_vec();
        let rules = RuleChooser::new(&config, Warden::new(mount, config.protect.clone()));
        rules.check_caps(kernel)?;
        let places = placer.prepare(&config, |rule| backend(&config, rule, mount))?;
        unavailable.extend(places.absent(mount));
        if let Some(outputs) = report.outputs() {
            outputs.set(&Wanted::all(&config))?;
        }
        Ok(Next { config, rules, places, unavailable })
    }

    fn take_over(&mut self, next: Next) -> Result<(), AgentError> {
        let Next { config, rules, places, unavailable } = next;
        // What was seen under the old rules is told by their names.
        self.drain()?;
        let enforce = config.mode == Mode::Enforce;
        let moves = hasten_moves(&config, &self.mount);
        let Self { kernel, measures, placer, mount, report, .. } = self;
        // This may ask systemd and take its time. The rules about threads pause after it, and not for long.
        placer.change(places, kernel, mount, &report.converter.clock)?;
        let told = if rules.are_in_force(kernel, enforce) { None } else { Some(rules.replace(kernel)?) };
        measures.change(&config, rules.warden().clone(), report)?;
        let before = std::mem::replace(&mut self.rules, rules);
        let rested = told.is_some();
        if let Some(told) = told {
            self.measures.forget_steps();
            let subjects = self.choose_rules()?;
            let over = self.rules.resume(&mut self.kernel, told, enforce)?;
            self.tell_over(&over, &subjects, &before)?;
        }
        self.look_around(rested)?;
        self.placer.begin_to_hold(&mut self.kernel)?;
        for what in unavailable {
            self.report.health(HealthTopic::Unavailable, what)?;
        }
        self.feed_outputs()?;
        self.note_config(config);
        let done = match moves {
            Ok(moves) => moves,
            Err(error) => format!("; {error}"),
        };
        self.report.health(HealthTopic::Reloaded, format!("reloaded: {}{done}", describe(&self.config)))
    }

    /// Alerts that nothing says any more are some: who waits for their end is told of it.
    fn tell_over(
        &mut self,
        over: &[Over],
        subjects: &[Subject],
        before: &RuleChooser,
    ) -> Result<(), AgentError> {
        let time = self.report.now();
        for over in over {
            // One that has ended meanwhile has nobody to speak for it: its exit record follows.
            if let Some(subject) = subjects.iter().find(|subject| subject.key() == over.process) {
                self.report.cleared(
                    threads::over((over.way, over.bound), over.rule, time, subject),
                    before.book(),
                    None,
                )?;
            }
        }
        Ok(())
    }
}
