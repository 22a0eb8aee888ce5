//! How `watch` and `events` show what they hear, and for how long.

use std::time::Duration;

use clap::Args;

use crate::duration;

/// What both have in common.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Write JSON lines (see `procwatch schema`)
    #[arg(long)]
    pub json: bool,

    /// Show the ancestors of each process
    #[arg(long)]
    pub lineage: bool,

    /// Do not cut long command lines and paths
    #[arg(long)]
    pub wide: bool,

    /// End after N records; health and losses do not count
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,

    /// End after this time, such as 500ms, 10s, 5m, 1h
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse)]
    pub duration: Option<Duration>,
}
