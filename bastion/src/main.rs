//! The bastion's binary: one command line for serving, provisioning, and reading the evidence.
//!
//! | module | what it is for |
//! |---|---|
//! | [`cli`] | what can be asked |
//! | [`admin`] | the commands that set up and read |
//! | [`serve`] | the running product, made of [`ssh`], [`watch`] and the web crate |
//! | [`demo`] | the same on practice targets |
//! | [`checkpoints`] | the signed heads of the log, in the database and beside it |
//! | [`config`], [`declared`], [`secrets`], [`clock`], [`output`] | what all of them use |

mod admin;
mod checkpoints;
mod cli;
mod clock;
mod config;
mod declared;
mod demo;
mod output;
mod secrets;
mod serve;
mod ssh;
mod watch;

use clap::Parser as _;
use cli::{Cli, Command};
use output as say;
use std::io;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// How a command that ran to its end came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Fine,
    /// Something that was checked does not hold; it was said which.
    Failed,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Fine => Self::SUCCESS,
            Outcome::Failed => Self::FAILURE,
        }
    }
}

/// 0 for done, 1 for failed, 2 for a command line that means nothing.
#[tokio::main]
async fn main() -> ExitCode {
    let asked = match Cli::try_parse() {
        Ok(asked) => asked,
        Err(error) => {
            // Help goes to standard output and is no failure.
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            error.print().unwrap_or_default();
            return ExitCode::from(code);
        }
    };
    log(&asked.command);
    match cli::run(asked).await {
        Ok(code) => code,
        Err(error) => {
            say::failure(&error);
            ExitCode::FAILURE
        }
    }
}

/// The log goes to standard error; `BASTION_LOG` says how much of it, as in `info,russh=warn`.
fn log(command: &Command) {
    let level = match command {
        Command::Serve(_) => LevelFilter::INFO,
        Command::Init(_)
        | Command::Apply(_)
        | Command::Invite(_)
        | Command::Factor(_)
        | Command::Certificate(_)
        | Command::CheckConfig(_)
        | Command::Audit(_)
        | Command::Recording(_)
        | Command::Demo(_) => LevelFilter::WARN,
    };
    let filter = EnvFilter::builder()
        .with_default_directive(level.into())
        .with_env_var("BASTION_LOG")
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();
}
