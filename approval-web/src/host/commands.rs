//! The commands an operator copies into his terminal.

use crate::site::Site;
use access::{Intervention, Operator};

/// The two ways to one account of one target.
pub(crate) struct Ways {
    /// The bastion's own name: works with any client, nothing to set up; names the intervention.
    pub(crate) direct: String,
    /// Through the jump: the client sees the target itself, once it knows the bastion's hosts.
    pub(crate) jump: String,
}

/// Both ways to every target and account of an open intervention.
pub(crate) fn of_intervention(site: &Site, operator: &Operator, one: &Intervention) -> Vec<Ways> {
    let text = &one.plan().text;
    let jump = jump(site, operator);
    text.targets
        .iter()
        .flat_map(|target| text.accounts.iter().map(move |account| (account, target)))
        .map(|(account, target)| Ways {
            direct: direct(site, operator, &format!("+{account}+{target}+{}", one.id)),
            jump: format!("ssh -J {jump} {account}@{target}"),
        })
        .collect()
}

/// What prints, once, how the client knows the hosts behind the jump.
pub(crate) fn known_hosts(site: &Site, operator: &Operator) -> String {
    format!("{} known-hosts", menu(site, operator))
}

/// The menu of everything that is open.
pub(crate) fn menu(site: &Site, operator: &Operator) -> String {
    direct(site, operator, "")
}

fn direct(site: &Site, operator: &Operator, destination: &str) -> String {
    let name = format!("{}{destination}@{}", operator.id, site.web.ssh_name);
    match site.web.ssh_port {
        22 => format!("ssh {name}"),
        port => format!("ssh -p {port} {name}"),
    }
}

fn jump(site: &Site, operator: &Operator) -> String {
    match site.web.ssh_port {
        22 => format!("{}@{}", operator.id, site.web.ssh_name),
        port => format!("{}@{}:{port}", operator.id, site.web.ssh_name),
    }
}
