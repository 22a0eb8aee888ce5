//! Another configuration takes the place of the one before, and what need not change goes on.

use super::{Placer, Rule, arm, watch::Watch};
use crate::{
    agent::AgentError,
    cgroup::Mount,
    clock::Clock,
    config::{Config, PlaceRule},
    execute::{Backend, PrepareError},
    kernel::Kernel,
};

/// The rules of another configuration, with their cgroups found.
pub struct NewRules {
    rules: Vec<NewRule>,
    watch: Option<Watch>,
    settings: arm::Settings,
}

enum NewRule {
    /// With a back end of its own.
    Ready(Rule),
    /// The back end of a rule of now, by its place, serves on: it knows the slice.
    Served { by: usize, written: PlaceRule },
}

impl NewRules {
    /// Cgroups of these rules that are not there now, each with its rule.
    pub fn absent(&self, mount: &Mount) -> Vec<String> {
        let rules = self.rules.iter().map(|rule| match rule {
            NewRule::Ready(rule) => &rule.written,
            NewRule::Served { written, .. } => written,
        });
        arm::absent(mount, rules)
    }
}

impl Placer {
    /// Finds the cgroups of rules that are to take the place of those of now; these are in force until then.
    ///
    /// # Errors
    /// When a slice is not there and cannot be made; all is as before then.
    pub fn prepare(
        &self,
        config: &Config,
        mut backend: impl FnMut(&PlaceRule) -> Result<Box<dyn Backend>, PrepareError>,
    ) -> Result<NewRules, AgentError> {
        let settings = arm::Settings::of(config);
        let mut free: Vec<usize> =
            if settings == self.settings { (0..self.rules.len()).collect() } else { Vec::new() };
        let mut rules = Vec::with_capacity(config.place.len());
        for written in &config.place {
            let same = |index: &usize| self.rules[*index].written.slice == written.slice;
            rules.push(match free.iter().position(same) {
                Some(place) => NewRule::Served { by: free.swap_remove(place), written: written.clone() },
                None => NewRule::Ready(arm::ready(config, &self.mount, written, &mut backend)?),
            });
        }
        let watch = arm::watch(&self.mount, &config.place)?;
        Ok(NewRules { rules, watch, settings })
    }

    /// Puts the new rules in the place of those of now. Who was left alone, or only told of, is judged anew if they are
    /// others.
    ///
    /// # Errors
    /// When the kernel side refuses.
    pub fn change(
        &mut self,
        new: NewRules,
        kernel: &mut Kernel,
        mount: &Mount,
        clock: &Clock,
    ) -> Result<(), AgentError> {
        let mut before: Vec<Option<Rule>> = std::mem::take(&mut self.rules).into_iter().map(Some).collect();
        for rule in new.rules {
            match rule {
                NewRule::Ready(rule) => self.rules.push(rule),
                NewRule::Served { by, written } => {
                    let from = arm::sources(mount, &written);
                    self.rules.extend(before[by].take().map(|rule| Rule { written, from, ..rule }));
                }
            }
        }
        (self.watch, self.settings) = (new.watch, new.settings);
        self.facts.forget();
        // First of all: until then the programs name rules by numbers that are those of others by now.
        self.arm(kernel, mount, clock)?;
        for Rule { written, mut backend, .. } in before.into_iter().flatten() {
            if self.rules.iter().any(|rule| rule.written.slice.path() == written.slice.path()) {
                backend.hand_over();
            } else {
                backend.tidy();
            }
        }
        Ok(())
    }
}
