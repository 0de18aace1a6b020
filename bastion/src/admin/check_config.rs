//! `bastion check-config FILE`: everything wrong with it, with file, line and key; or what it
//! comes to.

use crate::cli::CheckConfig;
use crate::config::Config;
use crate::{Outcome, say};
use anyhow::Result;

/// Runs the command.
pub(crate) fn run(asked: &CheckConfig) -> Result<Outcome> {
    let config = Config::read(&asked.file)?;
    say::line(format_args!("`{}` is sound", asked.file.display()))?;
    say::line(format_args!("state       {}", config.state.display()))?;
    say::line(format_args!(
        "recordings  {}",
        config.recordings_path().display()
    ))?;
    say::line(format_args!(
        "operators   ssh LOGIN@{}",
        config.ssh_destination()
    ))?;
    say::line(format_args!("customers   {}", config.web.customer_url))?;
    say::line(format_args!("host        {}", config.web.host_url))?;
    Ok(Outcome::Fine)
}
