//! Load generator, mock provider and comparisons for Millrace.
//!
//! Everything here talks to loopback only, bounded in time and count.

mod compare;
mod drive;
mod mock;
mod replay;
mod serve;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "loadtest", about = "Load tests for Millrace, on loopback only")]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a scripted provider: fixed answers, streams, latencies and faults by model name.
    Mock(mock::Args),
    /// Serves recorded provider traffic: request in, recorded answer out.
    Replay(replay::Args),
    /// Sends load, closed or open loop, and reports latency and every stream event.
    Drive(drive::Args),
    /// Runs gateways side by side, pinned to one core, and prints ratios.
    Compare(compare::Args),
}

fn main() -> anyhow::Result<()> {
    match CommandLine::parse().command {
        Command::Mock(args) => mock::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Drive(args) => drive::run(args),
        Command::Compare(args) => compare::run(args),
    }
}
