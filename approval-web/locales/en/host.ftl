# The host's origin.

tab-work = My work
tab-interventions = Interventions
tab-grants = Rights
tab-sessions = Sessions
tab-audit = Trail
