# L'origine de l'hébergeur.

tab-work = Mon travail
tab-interventions = Interventions
tab-grants = Droits
tab-sessions = Sessions
tab-audit = Traces
