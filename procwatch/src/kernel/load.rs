//! Puts the object together for the running kernel.

use aya::{Btf, Ebpf, EbpfLoader};
use procwatch_common::fields::Fields;

use super::{
    KernelError, Setup, TRACEPOINTS,
    btf::KernelTypes,
    fields,
    pins::State,
    trial::{self, Kind},
};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/procwatch.bpf.o"));

/// What the object has to know about the running kernel.
pub(super) struct Target {
    fields: Fields,
    old_cgroup: [u32; 2],
    tells_registers: u32,
    exit_tells_group_dead: u32,
    /// By its number among the kernel's types.
    commit_creds: Option<u32>,
    /// What this kernel does not tell.
    pub(super) unavailable: Vec<String>,
}

impl Target {
    /// Looks at the running kernel.
    ///
    /// # Errors
    /// When it lacks what is mandatory, or the build left the object out.
    pub(super) fn look() -> Result<Self, KernelError> {
        if OBJECT.is_empty() {
            return Err(KernelError::NoObject);
        }
        let types = KernelTypes::from_running_kernel()?;
        let (fields, absent) = fields::resolve(&types).map_err(KernelError::MissingFields)?;
        for name in TRACEPOINTS {
            types.tracepoint_args(name).ok_or(KernelError::MissingTracepoint(name))?;
        }
        let tells_registers = types.function_id("bpf_task_pt_regs").is_some();
        let mut unavailable: Vec<String> =
            absent.into_iter().map(|name| format!("{name}: not in this kernel; shown as unknown")).collect();
        if !tells_registers {
            unavailable.push(
                "stacks of creating threads (bpf_task_pt_regs: Linux 5.15 has it); a diagnosis looks at live threads only"
                    .to_owned(),
            );
        }
        Ok(Self {
            fields,
            old_cgroup: fields::old_cgroup(&types),
            tells_registers: u32::from(tells_registers),
            exit_tells_group_dead: u32::from(types.tracepoint_args("sched_process_exit") == Some(2)),
            commit_creds: types.function_id("commit_creds"),
            unavailable,
        })
    }

    /// Stands for the object and all that it was told: what has the same mark is the same to the agent.
    pub(super) fn mark(&self, setup: Setup) -> u64 {
        let told = [self.tells_registers, self.exit_tells_group_dead];
        let parts: [&[u8]; 6] = [
            env!("CARGO_PKG_VERSION").as_bytes(),
            OBJECT,
            bytemuck::bytes_of(&self.fields),
            bytemuck::bytes_of(&self.old_cgroup),
            bytemuck::bytes_of(&told),
            bytemuck::bytes_of(&setup.stream_bytes),
        ];
        let parts = parts.into_iter().flat_map(|part| part.iter().chain(&[0xff]));
        parts.fold(FNV_BASIS, |mark, byte| (mark ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
    }

    /// Loads the object; its programs are still to be loaded. Maps that are in `state` are used, all others are made.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn object(&self, setup: Setup, state: Option<&State>) -> Result<(Ebpf, Btf), KernelError> {
        let btf = Btf::from_sys_fs().map_err(aya::EbpfError::from)?;
        let maps = state.map(State::maps).transpose()?.unwrap_or_default();
        let mut loader = EbpfLoader::new();
        loader
            .btf(Some(&btf))
            .override_global("FIELDS", &self.fields, true)
            .override_global("OLD_CGROUP", &self.old_cgroup, true)
            .override_global("TELLS_REGISTERS", &self.tells_registers, true)
            .override_global("EXIT_TELLS_GROUP_DEAD", &self.exit_tells_group_dead, true)
            .map_max_entries("STREAM", setup.stream_bytes);
        for (name, path) in &maps {
            loader.map_pin_path(name, path.as_path());
        }
        let ebpf = loader.load(OBJECT)?;
        drop(loader);
        Ok((ebpf, btf))
    }

    /// Why this kernel does not take a program on `commit_creds`; `None` when it does.
    pub(super) fn cred_hook_refusal(&self) -> Option<String> {
        match self.commit_creds {
            Some(id) => trial::load(Kind::FentryWithTask, id).err().map(|error| error.to_string()),
            None => Some("not in this kernel".to_owned()),
        }
    }
}

/// FNV-1a: it need not withstand anybody, who could write there is root.
const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;
