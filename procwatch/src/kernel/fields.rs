//! Which kernel fields the programs need, and where this kernel has them.

use procwatch_common::fields::{ABSENT, Fields};

use super::btf::KernelTypes;

/// A field under the names that kernels have given it; the first that is there is taken.
struct Field {
    structure: &'static str,
    members: &'static [&'static str],
    set: fn(&mut Fields, u32),
    required: bool,
}

macro_rules! field {
    ($target:ident = $structure:literal . $($member:literal)|+) => {
        Field { structure: $structure, members: &[$($member),+], set: |fields, at| fields.$target = at, required: true }
    };
    (optional $target:ident = $structure:literal . $($member:literal)|+) => {
        Field { required: false, ..field!($target = $structure . $($member)|+) }
    };
}

/// Seen on Linux 6.18; the older names are those of 5.4 and before.
const TABLE: [Field; 40] = [
    field!(task_pid = "task_struct"."pid"),
    field!(task_tgid = "task_struct"."tgid"),
    field!(task_flags = "task_struct"."flags"),
    field!(task_comm = "task_struct"."comm"),
    field!(task_real_parent = "task_struct"."real_parent"),
    field!(task_group_leader = "task_struct"."group_leader"),
    field!(task_signal = "task_struct"."signal"),
    field!(task_real_cred = "task_struct"."real_cred"),
    field!(task_mm = "task_struct"."mm"),
    field!(task_cgroups = "task_struct"."cgroups"),
    field!(task_start_boottime = "task_struct"."start_boottime" | "real_start_time"),
    field!(task_exit_code = "task_struct"."exit_code"),
    field!(optional task_loginuid = "task_struct"."loginuid"),
    field!(optional task_sessionid = "task_struct"."sessionid"),
    field!(task_nsproxy = "task_struct"."nsproxy"),
    field!(task_thread_pid = "task_struct"."thread_pid"),
    field!(optional signal_tty = "signal_struct"."tty"),
    field!(signal_nr_threads = "signal_struct"."nr_threads"),
    field!(signal_live = "signal_struct"."live"),
    field!(signal_curr_target = "signal_struct"."curr_target"),
    field!(signal_flags = "signal_struct"."flags"),
    field!(signal_group_exit_code = "signal_struct"."group_exit_code"),
    field!(cred_uid = "cred"."uid"),
    field!(cred_euid = "cred"."euid"),
    field!(cred_gid = "cred"."gid"),
    field!(cred_egid = "cred"."egid"),
    field!(nsproxy_cgroup_ns = "nsproxy"."cgroup_ns"),
    field!(cgroup_namespace_ns = "cgroup_namespace"."ns"),
    field!(ns_common_inum = "ns_common"."inum"),
    field!(pid_level = "pid"."level"),
    field!(optional tty_name = "tty_struct"."name"),
    field!(mm_arg_start = "mm_struct"."arg_start"),
    field!(mm_arg_end = "mm_struct"."arg_end"),
    field!(css_set_dfl_cgrp = "css_set"."dfl_cgrp"),
    field!(cgroup_kn = "cgroup"."kn"),
    field!(kernfs_node_id = "kernfs_node"."id"),
    field!(binprm_filename = "linux_binprm"."filename"),
    field!(optional pt_regs_ip = "pt_regs"."ip"),
    field!(optional pt_regs_sp = "pt_regs"."sp"),
    field!(optional pt_regs_bp = "pt_regs"."bp"),
];

/// The offsets, and the names of optional fields that are missing.
///
/// # Errors
/// The names of required fields that are missing.
pub fn resolve(types: &KernelTypes) -> Result<(Fields, Vec<String>), Vec<String>> {
    let mut fields: Fields = bytemuck::Zeroable::zeroed();
    let (mut absent, mut missing) = (Vec::new(), Vec::new());
    for field in &TABLE {
        let found = field.members.iter().find_map(|member| types.member_offset(field.structure, member));
        (field.set)(&mut fields, found.unwrap_or(ABSENT));
        if found.is_none() {
            let name = format!("{}.{}", field.structure, field.members.join("|"));
            if field.required { &mut missing } else { &mut absent }.push(name);
        }
    }
    if missing.is_empty() { Ok((fields, absent)) } else { Err(missing) }
}

/// `cgroup.level` and `cgroup.ancestor_ids` of a kernel before 6.1. Both are absent where the second is: the programs
/// then ask the kernel's helper.
pub fn old_cgroup(types: &KernelTypes) -> [u32; 2] {
    let at = |member| types.member_offset("cgroup", member);
    match (at("level"), at("ancestor_ids")) {
        (Some(level), Some(ids)) => [level, ids],
        _ => [ABSENT; 2],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_offset_has_its_row() {
        let mut fields: Fields = bytemuck::Zeroable::zeroed();
        for (number, field) in TABLE.iter().enumerate() {
            (field.set)(&mut fields, number as u32 + 1);
        }
        let words: &[u32] = bytemuck::cast_slice(std::slice::from_ref(&fields));
        assert_eq!(words.len(), TABLE.len());
        assert!(words.iter().all(|word| *word != 0), "a field of Fields has no row: {words:?}");
    }
}
