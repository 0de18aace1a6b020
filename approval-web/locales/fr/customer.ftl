# L'origine des clients.

tab-home = Accueil
tab-access = Qui a accès chez nous
tab-contacts = Nos contacts

home-nothing-waits = Rien ne vous attend
home-waits = { $count ->
    [one] Une intervention attend votre réponse
   *[other] { $count } interventions attendent votre réponse
}
home-waiting = Ce qui vous attend
home-waiting-empty = Aucune intervention n'attend votre réponse. Les demandes de votre hébergeur apparaîtront ici avant tout travail.
home-running = En ce moment et bientôt
home-running-empty = Personne n'intervient sur vos systèmes, et aucune intervention validée n'est à venir. Vous verrez ici chaque travail validé, pendant toute sa durée.
home-lately = Dernièrement
home-lately-empty = Rien pour l'instant. Les interventions terminées, refusées ou arrêtées resteront lisibles ici.
home-left = il reste { $left } pour répondre
home-live = { $count ->
    [one] { $count } session en direct
   *[other] { $count } sessions en direct
}

decision-what-you-sign = Ce que vous signez
decision-title = Votre décision
decision-lead = Votre clé d'accès signe le texte ci-dessus, et lui seul. Si le plan change ensuite, votre signature ne vaut plus.
decision-approve = Valider avec ma clé d'accès
decision-refuse = Refuser…
decision-refuse-button = Refuser avec ma clé d'accès
decision-reason = Motif
decision-ask = Poser une question avant de décider…
decision-question = Votre question
decision-ask-button = Envoyer la question
decision-exact = Le texte exact qui est signé
decision-exact-hint = Votre clé d'accès signe l'empreinte SHA-256 de ce texte. Le serveur y place une valeur unique (nonce) au moment de signer.
decision-left = Il reste { $left } pour répondre.
decision-deadline = Sans réponse { $deadline }, l'intervention est refusée d'elle-même.
decision-waits-for-answer = Une question a été posée : l'intervention attend la réponse du demandeur. Vous pourrez décider ensuite.
decision-signed = Le texte signé
decided-approved = validée
decided-refused = refusée
decided-version = version { $version } du plan
decisions-title = Décisions signées
messages-title = Questions et réponses

extension-lead = L'équipe demande à continuer au-delà de la fin que vous avez validée. Sans votre accord, tout s'arrête à cette fin.
extension-decision-lead = Votre clé d'accès signe le plan ci-dessous avec la nouvelle fin, le motif de la prolongation, et rien d'autre. Un refus ne change rien : la fin validée demeure.
extension-deadline = Sans réponse { $deadline }, rien n'est prolongé et l'intervention se termine.
home-extension = Plus de temps demandé
home-extension-until = jusqu'au { $until }

revoke-title = Arrêter l'intervention
revoke-lead = La validation est retirée et les sessions en cours sont coupées en quelques secondes.
revoke-button = Arrêter avec ma clé d'accès

outcome-revoked = Arrêtée par { $by }, { $at } : { $text }
outcome-closed = Terminée ({ $by }), { $at } : { $text }
outcome-refused = Refusée par { $by }, { $at } : { $text }
outcome-withdrawn = Retirée par { $by }, { $at }.
outcome-expired = Restée sans réponse, donc refusée, { $at }.

sessions-title = Ce qui a été fait
sessions-empty = Aucune session pour l'instant. Chaque connexion à vos systèmes apparaîtra ici, avec son motif.
session-motive = Motif :

access-title = Qui a accès à nos systèmes
access-lead = Chaque droit est nominatif, justifié et revu au moins une fois par an. Un droit seul ne suffit pas : il faut aussi une intervention que vous avez validée.
access-empty = Personne n'a de droit sur vos systèmes. Chaque droit accordé apparaîtra ici, avec sa justification.
access-past = { $count ->
    [one] Un droit passé
   *[other] { $count } droits passés
}
right-targets = Sur quoi
right-operations = Pour quoi faire
right-why = Justification
right-use = Usage
right-review = Dernière revue
right-until = Au plus tard jusqu'au
right-reviewed = { $decision } le { $at } par { $by }
right-never-reviewed = pas encore revu
right-review-due = prochaine revue avant le { $due }
right-used = { $sessions } session(s), la dernière le { $last }
right-never-used = jamais utilisé

contacts-title = Nos contacts sont-ils à jour ?
contacts-lead = Votre hébergeur s'adresse à ces personnes pour valider ses interventions, pour les incidents et pour les données de santé. Confirmez chaque ligne au moins une fois par an.
contact-me = vous
contact-deputy = Suppléant : { $deputy }
contact-confirmed = Confirmé le { $at }
contact-never-confirmed = Jamais confirmé
contact-confirm = C'est exact
contact-removed = { $name } n'est plus un contact depuis le { $at }.
contacts-change = Pour ajouter, remplacer ou retirer quelqu'un, écrivez à votre interlocuteur chez l'hébergeur.
