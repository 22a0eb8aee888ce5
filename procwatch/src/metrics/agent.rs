//! What the agent says of itself when it is asked.

use super::{
    counters::{Counters, word},
    text::{Exposition, Type, seconds},
};
use crate::{
    record::{Mode, Placement, Ring},
    status::{Health, Status},
};

/// Writes all of it; `counters` knows of losses that the rings do not tell.
pub(super) fn write(out: &mut Exposition, status: &Status, counters: &Counters) {
    write_itself(out, status);
    write_config(out, status);
    write_rings(out, status, counters);
    write_kernel(out, status);
    if let Some(placement) = &status.placement {
        write_placement(out, placement);
    }
    write_rules(out, status);
    write_outputs(out, status);
}

/// Losses that were told: for when the agent does not answer.
pub(super) fn write_losses(out: &mut Exposition, counters: &Counters) {
    let mut lost = lost_family(out);
    for ring in [Ring::Stream, Ring::Urgent] {
        lost.sample(&[("ring", &word(&ring))], counters.lost(ring));
    }
}

fn write_itself(out: &mut Exposition, status: &Status) {
    out.family("procwatch_build_info", Type::Gauge, "1, with the version of the agent.")
        .sample(&[("version", &status.version)], 1);
    out.gauge("process_resident_memory_bytes", "Resident memory of the agent.", status.resident_bytes);
    out.counter("process_cpu_seconds_total", "CPU time that the agent has used.", seconds(status.cpu_ns));
    out.gauge(
        "procwatch_armed_timestamp_seconds",
        "When the agent was armed, since the epoch.",
        status.since.as_millisecond() as f64 / 1e3,
    );
    out.gauge(
        "procwatch_arming_seconds",
        "From the agent's start until it was armed.",
        status.armed_ms as f64 / 1e3,
    );
    let mut health = out.family("procwatch_health", Type::Gauge, "1 for what the agent's health is.");
    for state in [Health::Ok, Health::Degraded, Health::Failed] {
        health.sample(&[("state", &word(&state))], u8::from(status.health == state));
    }
    out.gauge(
        "procwatch_enforcing",
        "1 when decisions are carried out, 0 when they are only told.",
        u8::from(status.mode == Mode::Enforce),
    );
    out.gauge("procwatch_machine_processes", "Processes of the machine.", status.processes);
    out.gauge("procwatch_machine_threads", "Threads of the machine's processes.", status.threads);
    out.gauge("procwatch_clients", "Clients at the agent's socket.", status.clients);
}

fn write_config(out: &mut Exposition, status: &Status) {
    out.gauge(
        "procwatch_config_reload_success",
        "1 unless the last reload of the configuration was refused.",
        u8::from(status.config.refused.is_none()),
    );
    out.gauge(
        "procwatch_config_loaded_timestamp_seconds",
        "When the configuration that holds was read, since the epoch.",
        status.config.loaded.as_millisecond() as f64 / 1e3,
    );
}

fn lost_family(out: &mut Exposition) -> super::text::Family<'_> {
    out.family("procwatch_ring_records_lost_total", Type::Counter, "Records that found their ring full.")
}

fn write_rings(out: &mut Exposition, status: &Status, counters: &Counters) {
    let rings: Vec<_> = status.rings.iter().map(|ring| (word(&ring.ring), ring)).collect();
    let mut lost = lost_family(out);
    for (name, ring) in &rings {
        lost.sample(&[("ring", name)], ring.lost.max(counters.lost(ring.ring)));
    }
    let mut sent = out.family(
        "procwatch_ring_records_sent_total",
        Type::Counter,
        "Records that the kernel programs sent.",
    );
    for (name, ring) in &rings {
        sent.sample(&[("ring", name)], ring.sent);
    }
    for (family, help, value) in [
        ("procwatch_ring_size_bytes", "Size of a ring.", 0),
        ("procwatch_ring_waiting_bytes", "What waits in a ring for the agent.", 1),
    ] {
        let mut gauge = out.family(family, Type::Gauge, help);
        for (name, ring) in &rings {
            gauge.sample(&[("ring", name)], [ring.size_bytes, ring.waiting_bytes][value]);
        }
    }
}

fn write_kernel(out: &mut Exposition, status: &Status) {
    let mut runs = out.family(
        "procwatch_program_runs_total",
        Type::Counter,
        "How often a kernel program ran; 0 unless kernel.bpf_stats_enabled is set.",
    );
    for program in &status.programs {
        runs.sample(&[("program", &program.name)], program.runs);
    }
    let mut times = out.family(
        "procwatch_program_run_seconds_total",
        Type::Counter,
        "How long a kernel program ran; 0 unless kernel.bpf_stats_enabled is set.",
    );
    for program in &status.programs {
        times.sample(&[("program", &program.name)], seconds(program.run_ns));
    }
    let mut unread = out.family(
        "procwatch_kernel_unread_total",
        Type::Counter,
        "What the kernel programs could not read.",
    );
    unread.sample(&[("what", "argv")], status.kernel.argv_unread);
    unread.sample(&[("what", "names")], status.kernel.names_unread);
    out.counter(
        "procwatch_kernel_state_full_total",
        "How often a state map of the kernel programs was full.",
        status.kernel.state_full,
    );
    out.gauge(
        "procwatch_unavailable_functions",
        "Functions that this kernel cannot give.",
        status.unavailable.len(),
    );
    out.gauge(
        "procwatch_pinned",
        "1 when the kernel side goes on without the agent.",
        u8::from(status.pinned.is_some()),
    );
}

fn write_placement(out: &mut Exposition, placement: &Placement) {
    for (name, help, value) in [
        ("procwatch_placed_sessions_total", "Sessions of which a process was moved.", placement.sessions),
        ("procwatch_placed_processes_total", "Processes that were moved.", placement.moved),
        ("procwatch_strays_total", "Sightings of processes outside of their slice.", placement.strays),
        (
            "procwatch_born_outside_total",
            "Children that were made outside of their slice.",
            placement.born_outside,
        ),
    ] {
        out.counter(name, help, value);
    }
    let mut left = out.family(
        "procwatch_left_alone_total",
        Type::Counter,
        "Sightings of processes of a placement rule that were left alone, by reason.",
    );
    for (reason, count) in &placement.left_alone {
        left.sample(&[("reason", reason.name())], count);
    }
    let mut errors =
        out.family("procwatch_move_errors_total", Type::Counter, "Refused moves, by the kernel's error.");
    for (error, count) in &placement.errors {
        errors.sample(&[("error", error)], count);
    }
}

fn write_rules(out: &mut Exposition, status: &Status) {
    let mut holders =
        out.family("procwatch_rule_processes", Type::Gauge, "Processes that a rule about threads holds for.");
    for rule in &status.thread_rules {
        if let Some(processes) = rule.processes {
            holders.sample(&[("rule", &rule.rule)], processes);
        }
    }
    let mut slices =
        out.family("procwatch_slice_present", Type::Gauge, "1 when the slice of a placement rule is there.");
    for rule in &status.place_rules {
        slices.sample(&[("rule", &rule.rule), ("slice", &rule.slice)], u8::from(rule.present));
    }
}

fn write_outputs(out: &mut Exposition, status: &Status) {
    for (name, help, field) in [
        ("procwatch_output_records_total", "Records that an output took.", 0),
        ("procwatch_output_dropped_total", "Records that an output dropped.", 1),
        ("procwatch_output_failures_total", "Failures of an output.", 2),
    ] {
        let mut family = out.family(name, Type::Counter, help);
        for output in &status.outputs {
            let value = [output.taken, output.dropped, output.failed][field];
            family.sample(&[("output", &output.name)], value);
        }
    }
    let mut failing = out.family("procwatch_output_failing", Type::Gauge, "1 while an output fails.");
    for output in &status.outputs {
        failing.sample(&[("output", &output.name)], u8::from(output.error.is_some()));
    }
}
