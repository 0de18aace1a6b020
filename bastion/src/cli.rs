//! What can be asked of the binary.

use crate::admin::{apply, audit, certificate, check_config, factor, init, invite, recording};
use crate::config::Config;
use crate::{demo, serve};
use access::{CertificateId, FactorId, OperatorId, SessionId};
use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;

/// SSH administration bastion for health data hosts.
#[derive(Parser, Debug)]
#[command(version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Make the keys, the database and the first administrator
    Init(Init),
    /// Bring the registers to what a file declares
    Apply(Apply),
    /// Make a single-use address to enrol a passkey
    Invite(Invite),
    /// List a person's second factors, or take a lost one out of use
    #[command(subcommand)]
    Factor(Factor),
    /// List the short-lived certificates of operators, or take one out of use
    #[command(subcommand)]
    Certificate(Certificate),
    /// Run the bastion
    Serve(Serve),
    /// Check a configuration file
    CheckConfig(CheckConfig),
    /// Export or verify the audit log
    #[command(subcommand)]
    Audit(Audit),
    /// List, show, export or verify recordings
    #[command(subcommand)]
    Recording(Recording),
    /// Try everything on this machine, with practice targets
    Demo(demo::DemoArgs),
}

/// Whose state: a configuration, or the defaults in a directory.
#[derive(Args, Debug, Clone)]
#[group(required = true, multiple = false)]
pub(crate) struct Place {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The state directory, everything else by default
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

impl Place {
    /// The configuration that is meant.
    pub(crate) fn config(&self) -> Result<Config> {
        Ok(match (&self.config, &self.state) {
            (Some(file), _) => Config::read(file)?,
            (None, Some(state)) => Config::in_state(state),
            (None, None) => Config::default(),
        })
    }
}

#[derive(Args, Debug)]
pub(crate) struct Init {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The first administrator's login
    #[arg(long, value_name = "LOGIN", value_parser = OperatorId::parse)]
    pub(crate) admin: OperatorId,
    /// His full name
    #[arg(long, value_name = "NAME")]
    pub(crate) admin_name: String,
    /// His mail address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) admin_email: String,
    /// His public SSH key
    #[arg(long, value_name = "FILE")]
    pub(crate) admin_key: PathBuf,
    /// The hosting company's full name
    #[arg(long, value_name = "NAME")]
    pub(crate) host_name: String,
}

#[derive(Args, Debug)]
pub(crate) struct Apply {
    /// What is to be: customers, contacts, actors, operators, targets, grants
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) place: Place,
    /// Say what would change, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Suspend, remove, disable or withdraw what the file does not name
    #[arg(long)]
    pub(crate) prune: bool,
    /// Accept the declared rights for the last time: from now on each needs two people
    #[arg(long)]
    pub(crate) close_setup: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Invite {
    /// An operator or a contact; `operator:NAME` or `contact:NAME` where both exist
    pub(crate) login: String,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Factor {
    /// List the factors in use
    List(FactorList),
    /// Take one out of use and end every web sign-in of its holder
    Revoke(FactorRevoke),
}

#[derive(Args, Debug)]
pub(crate) struct FactorList {
    /// An operator or a contact; `operator:NAME` or `contact:NAME` where both exist
    pub(crate) login: String,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Args, Debug)]
pub(crate) struct FactorRevoke {
    /// An operator or a contact; `operator:NAME` or `contact:NAME` where both exist
    pub(crate) login: String,
    /// As `factor list` names it
    #[arg(value_parser = FactorId::parse)]
    pub(crate) factor: FactorId,
    #[command(flatten)]
    pub(crate) place: Place,
    /// Why; entered in the audit log
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Certificate {
    /// List those in use
    List(CertificateList),
    /// Take one out of use; what it opened ends
    Revoke(CertificateRevoke),
}

#[derive(Args, Debug)]
pub(crate) struct CertificateList {
    /// Only those of this operator
    #[arg(value_parser = OperatorId::parse)]
    pub(crate) login: Option<OperatorId>,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Args, Debug)]
pub(crate) struct CertificateRevoke {
    /// As `certificate list` names it
    #[arg(value_parser = CertificateId::parse)]
    pub(crate) certificate: CertificateId,
    #[command(flatten)]
    pub(crate) place: Place,
    /// Why; entered in the audit log
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// One side alone, with its own keys
    #[arg(value_enum)]
    pub(crate) side: Option<Side>,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Side {
    /// What faces operators
    Ssh,
    /// What faces browsers
    Web,
}

#[derive(Args, Debug)]
pub(crate) struct CheckConfig {
    pub(crate) file: PathBuf,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Audit {
    /// Write the whole log and its checkpoints as JSON lines
    Export(AuditExport),
    /// Check every entry, the tree and every checkpoint
    Verify(AuditVerify),
}

#[derive(Args, Debug)]
pub(crate) struct AuditExport {
    #[command(flatten)]
    pub(crate) place: Place,
}

/// What is verified, and against which key.
#[derive(Args, Debug)]
pub(crate) struct AuditVerify {
    /// The configuration file
    #[arg(long, value_name = "FILE", group = "source")]
    pub(crate) config: Option<PathBuf>,
    /// The state directory, everything else by default
    #[arg(long, value_name = "DIR", group = "source")]
    pub(crate) state: Option<PathBuf>,
    /// A database
    #[arg(long, value_name = "URL", group = "source", requires = "key")]
    pub(crate) database: Option<String>,
    /// A file that `audit export` wrote
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "source",
        conflicts_with = "database"
    )]
    pub(crate) export: Option<PathBuf>,
    /// Checkpoints that were kept elsewhere; `checkpoints.log` of the state where absent, and none
    /// for a database or a file that is named
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoints: Option<PathBuf>,
    /// The log's public key; `keys/audit.pub` of the state where absent
    #[arg(long, value_name = "FILE", required_unless_present_any = ["config", "state"])]
    pub(crate) key: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Recording {
    /// List sessions, newest first
    List(RecordingList),
    /// Show what all channels showed, as text
    Cat(RecordingCat),
    /// Play in this terminal at the speed it happened
    Play(RecordingPlay),
    /// Write as files that the public players replay
    Export(RecordingExport),
    /// Check recordings against their manifests, the audit log and each other
    Verify(RecordingVerify),
}

#[derive(Args, Debug)]
pub(crate) struct RecordingList {
    #[command(flatten)]
    pub(crate) place: Place,
    /// How many at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    pub(crate) limit: i64,
}

/// Which recording is opened, and why: the audit log names both before the first byte is read.
#[derive(Args, Debug)]
pub(crate) struct Opening {
    #[arg(value_parser = SessionId::parse)]
    pub(crate) session: SessionId,
    #[command(flatten)]
    pub(crate) place: Place,
    /// Why it is opened; entered in the audit log
    #[arg(long, value_name = "TEXT")]
    pub(crate) purpose: String,
}

#[derive(Args, Debug)]
pub(crate) struct RecordingCat {
    #[command(flatten)]
    pub(crate) opening: Opening,
}

#[derive(Args, Debug)]
pub(crate) struct RecordingPlay {
    #[command(flatten)]
    pub(crate) opening: Opening,
    /// One channel alone
    #[arg(long, value_name = "N")]
    pub(crate) channel: Option<u32>,
    /// How many times faster
    #[arg(long, default_value_t = 1.0, value_parser = speed)]
    pub(crate) speed: f64,
    /// The longest pause, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = pause)]
    pub(crate) idle_limit: f64,
}

#[derive(Args, Debug)]
pub(crate) struct RecordingExport {
    #[command(flatten)]
    pub(crate) opening: Opening,
    /// `FILE.cast` for the one channel there is, otherwise a new directory for all of them and
    /// the journal
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct RecordingVerify {
    /// Which; all where none is named
    #[arg(value_parser = SessionId::parse)]
    pub(crate) sessions: Vec<SessionId>,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// Does what is asked.
pub(crate) async fn run(asked: Cli) -> Result<ExitCode> {
    let outcome = match asked.command {
        Command::Init(asked) => init::run(asked).await,
        Command::Apply(asked) => apply::run(asked).await,
        Command::Invite(asked) => invite::run(asked).await,
        Command::Factor(Factor::List(asked)) => factor::list(asked).await,
        Command::Factor(Factor::Revoke(asked)) => factor::revoke(asked).await,
        Command::Certificate(Certificate::List(asked)) => certificate::list(asked).await,
        Command::Certificate(Certificate::Revoke(asked)) => certificate::revoke(asked).await,
        Command::Serve(asked) => serve::run(asked).await,
        Command::CheckConfig(asked) => check_config::run(&asked),
        Command::Audit(Audit::Export(asked)) => audit::export(asked).await,
        Command::Audit(Audit::Verify(asked)) => audit::verify(asked).await,
        Command::Recording(Recording::List(asked)) => recording::list(asked).await,
        Command::Recording(Recording::Cat(asked)) => recording::cat(asked).await,
        Command::Recording(Recording::Play(asked)) => recording::play(asked).await,
        Command::Recording(Recording::Export(asked)) => recording::export(asked).await,
        Command::Recording(Recording::Verify(asked)) => recording::verify(asked).await,
        Command::Demo(asked) => return Box::pin(demo::run(asked)).await,
    };
    outcome.map(ExitCode::from)
}

fn speed(text: &str) -> Result<f64, String> {
    between(text, 0.1, 100.0)
}

fn pause(text: &str) -> Result<f64, String> {
    between(text, 0.0, 3600.0)
}

fn between(text: &str, least: f64, most: f64) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        Ok(_) | Err(_) => Err(format!("give a number from {least} to {most}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_means_nothing_is_refused() {
        let rows = [
            "serve",
            "serve --config a --state b",
            "serve both --state s",
            "apply --state s",
            "factor revoke alice fa-1 --state s",
            "audit verify",
            "audit verify --export x",
            "audit verify --database sqlite://x",
            "audit verify --state s --database sqlite://x --key k",
            "recording cat S-1 --state s",
            "recording play S-1 --state s --purpose p --speed 0",
            "recording play S-1 --state s --purpose p --speed NaN",
        ];
        for row in rows {
            let words = std::iter::once("bastion").chain(row.split(' '));
            let error = Cli::try_parse_from(words).err();
            assert_eq!(error.map(|e| e.exit_code()), Some(2), "{row}");
        }
    }
}
