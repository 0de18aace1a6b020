//! The commands an operator copies into his terminal.

use crate::site::Site;
use access::{Intervention, Operator};

/// Every target and account of an open intervention, one line each: through the jump, for daily work.
pub(crate) fn of_intervention(site: &Site, operator: &Operator, one: &Intervention) -> Vec<String> {
    let text = &one.plan().text;
    let jump = jump(site, operator);
    text.targets
        .iter()
        .flat_map(|target| text.accounts.iter().map(move |account| (account, target)))
        .map(|(account, target)| format!("ssh -J {jump} {account}@{target}"))
        .collect()
}

/// The menu of everything that is open.
pub(crate) fn menu(site: &Site, operator: &Operator) -> String {
    match site.web.ssh_port {
        22 => format!("ssh {}@{}", operator.id, site.web.ssh_name),
        port => format!("ssh -p {port} {}@{}", operator.id, site.web.ssh_name),
    }
}

/// The same without a jump, for clients that know none.
pub(crate) fn direct(site: &Site, operator: &Operator, account: &str, target: &str) -> String {
    let name = format!("{}+{account}+{target}@{}", operator.id, site.web.ssh_name);
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
