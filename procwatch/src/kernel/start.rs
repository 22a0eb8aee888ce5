//! Where the kernel side comes from: it is loaded, or taken over from an agent that has left it pinned.

use std::process;

use aya::{Btf, maps::MapData, programs::Iter};
use procwatch_common::policy::Control;

use super::{
    Kernel, KernelError, Setup,
    attach::{Attacher, Links, PICTURE, no_security_hooks, without_cap, without_cred_hook, without_hold},
    load::Target,
    maps::Maps,
    object::{PinnedState, Programs, of_control, ring_size},
    pins::{HalfState, PinFolder, State},
    placement::PlacementMaps,
    ring_memory::RingMemory,
    threads::ThreadMaps,
};
use crate::memory;

impl Kernel {
    /// Loads and attaches all programs; the gate stays closed, so nothing is sent yet. With [`Setup::pin`] it rather takes
    /// over what an agent of the same version has left: then all goes on as that agent has told it, until it is told
    /// otherwise.
    ///
    /// # Errors
    /// [`KernelError`]; what was in the kernel before is there still.
    pub fn load(setup: Setup) -> Result<Self, KernelError> {
        let target = Target::look()?;
        if !setup.pin {
            return Self::fresh(&target, setup, None);
        }
        match PinFolder::find().map_err(KernelError::from).and_then(|it| Self::pinned_in(&it, &target, setup))
        {
            Err(KernelError::Pin(why)) => {
                let mut kernel = Self::fresh(&target, setup, None)?;
                kernel.unavailable.push(format!(
                    "keeping the kernel's part when the agent dies ({why}); it is detached then, and begun anew by the \
                     next agent"
                ));
                Ok(kernel)
            }
            other => other,
        }
    }

    fn pinned_in(folder: &PinFolder, target: &Target, setup: Setup) -> Result<Self, KernelError> {
        folder.remove_half()?;
        let mut notes = Vec::new();
        for state in folder.states()? {
            if state.mark() != target.mark(setup) {
                notes.push(of_another_version(&state));
                continue;
            }
            match Self::adopt(folder, state, target, setup) {
                Ok(kernel) => return Ok(kernel),
                Err(error) => notes.push(format!("what is pinned cannot be used, and is replaced: {error}")),
            }
        }
        let mut kernel = Self::fresh(target, setup, Some(folder))?;
        kernel.notes = notes;
        Ok(kernel)
    }

    /// Loads everything, and pins it if there is a folder for that.
    fn fresh(target: &Target, setup: Setup, folder: Option<&PinFolder>) -> Result<Self, KernelError> {
        let half = folder.map(|folder| folder.begin(target.mark(setup))).transpose()?;
        let place = half.as_ref().map(HalfState::state);
        let (mut ebpf, btf) = target.object(setup, None)?;
        let maps = Maps::of_object(&mut ebpf);
        if let Some(place) = &place {
            maps.pin(place)?;
        }
        let (mut links, mut unavailable) = (Links::default(), target.unavailable.clone());
        let mut attacher = Attacher {
            ebpf: &mut ebpf,
            btf: &btf,
            state: place.as_ref(),
            links: &mut links,
            unavailable: &mut unavailable,
        };
        attacher.all(setup)?;
        drop(btf);
        let (programs, pinned) = match (half, folder) {
            (Some(half), Some(folder)) => {
                let state = half.finish()?;
                drop(ebpf);
                let pinned = PinnedState { folder: folder.clone(), state, is_adopted: false };
                (Programs::Pinned(Box::new(picture_program(&pinned.state)?)), Some(pinned))
            }
            _ => (Programs::Own(Box::new(ebpf)), None),
        };
        memory::give_back_heap();
        let mut kernel = Self::assemble(programs, links, pinned, maps, setup)?;
        kernel.control = Control { agent: process::id(), ..Control::default() };
        kernel.control.cred_hook = u32::from(kernel.links.see_creds());
        kernel.write_control()?;
        kernel.unavailable = unavailable;
        Ok(kernel)
    }

    /// Takes over what is pinned, and adds what is wanted besides.
    fn adopt(folder: &PinFolder, state: State, target: &Target, setup: Setup) -> Result<Self, KernelError> {
        let links = Links::of_state(&state)?;
        if !links.are_complete() {
            return Err(KernelError::Missing("link of a tracepoint"));
        }
        let (programs, maps) =
            (Programs::Pinned(Box::new(picture_program(&state)?)), Maps::of_state(&state)?);
        let pinned = PinnedState { folder: folder.clone(), state, is_adopted: true };
        let mut kernel = Self::assemble(programs, links, Some(pinned), maps, setup)?;
        kernel.unavailable.clone_from(&target.unavailable);
        let with_creds = !kernel.links.see_creds()
            && match target.cred_hook_refusal() {
                Some(why) => {
                    kernel.unavailable.push(without_cred_hook(&why));
                    false
                }
                None => true,
            };
        kernel.attach_more(target, setup, with_creds)?;
        kernel.control = kernel.control_cell.get(&0, 0).map_err(of_control)?;
        kernel.control.cred_hook = u32::from(kernel.links.see_creds());
        (kernel.control.agent, kernel.control.hold, kernel.control.stream_kinds) = (process::id(), 0, 0);
        kernel.write_control()?;
        Ok(kernel)
    }

    fn assemble(
        programs: Programs,
        links: Links,
        pinned: Option<PinnedState>,
        mut maps: Maps,
        setup: Setup,
    ) -> Result<Self, KernelError> {
        Ok(Self {
            programs,
            links,
            pinned,
            stream: maps.take_ring("STREAM")?,
            urgent: maps.take_ring("URGENT")?,
            control_cell: maps.take("CONTROL")?,
            control: Control::default(),
            stats: maps.take("STATS")?,
            placement: PlacementMaps::take(&mut maps)?,
            threads: ThreadMaps::take(&mut maps)?,
            found_full: 0,
            setup,
            filter_uids: maps.take("FILTER_UIDS")?,
            filter_comms: maps.take("FILTER_COMMS")?,
            filter_pids: maps.take("FILTER_PIDS")?,
            program_uids: maps.take("PROGRAM_UIDS")?,
            program_comms: maps.take("PROGRAM_COMMS")?,
            _maps: maps,
            unavailable: Vec::new(),
            notes: Vec::new(),
        })
    }

    /// Attaches what another configuration wants besides. What is refused is added to what is unavailable.
    ///
    /// # Errors
    /// When the kernel's types cannot be read, or the object lacks a program.
    pub fn extend(&mut self, hold: bool, cap: bool) -> Result<(), KernelError> {
        let more = Setup { hold: hold && !self.setup.hold, cap: cap && !self.setup.cap, ..self.setup };
        if more.hold || more.cap {
            self.attach_more(&Target::look()?, more, false)?;
        }
        (self.setup.hold, self.setup.cap) = (self.setup.hold | hold, self.setup.cap | cap);
        Ok(())
    }

    fn attach_more(&mut self, target: &Target, setup: Setup, with_creds: bool) -> Result<(), KernelError> {
        let hold = setup.hold && !self.links.can_hold();
        let cap = setup.cap && !self.links.can_cap();
        if !with_creds && let Some(why) = no_security_hooks() {
            self.unavailable.extend(hold.then(|| without_hold(&why)));
            self.unavailable.extend(cap.then(|| without_cap(&why)));
            return Ok(());
        }
        if !with_creds && !hold && !cap {
            return Ok(());
        }
        let Self { programs, links, pinned, unavailable, .. } = self;
        let state = pinned.as_ref().map(|pinned| &pinned.state);
        let (mut anew, btf, _maps);
        let ebpf = match programs {
            Programs::Own(ebpf) => {
                btf = Btf::from_sys_fs().map_err(aya::EbpfError::from)?;
                ebpf.as_mut()
            }
            // With the maps that are there.
            Programs::Pinned(_) => {
                (anew, btf) = target.object(setup, state)?;
                _maps = Maps::of_object(&mut anew);
                &mut anew
            }
        };
        let mut attacher = Attacher { ebpf, btf: &btf, state, links, unavailable };
        if with_creds {
            attacher.creds()?;
        }
        attacher.security(setup)?;
        drop(btf);
        memory::give_back_heap();
        Ok(())
    }
}

fn picture_program(state: &State) -> Result<Iter, KernelError> {
    Iter::from_pin(state.program(PICTURE))
        .map_err(|source| KernelError::Program { name: PICTURE.to_owned(), source })
}

/// What is said of a state that this version does not understand.
fn of_another_version(state: &State) -> String {
    let waiting = MapData::from_pin(state.map("URGENT")).ok().and_then(|ring| {
        let memory = RingMemory::new(ring.fd(), ring_size("URGENT", &ring).ok()?).ok()?;
        Some(memory.count(memory.kept_from()))
    });
    let waiting = waiting.map_or_else(|| "an unknown number of".to_owned(), |count| count.to_string());
    format!(
        "the kernel's part of another version of procwatch was replaced; {waiting} records in its ring were not read"
    )
}
