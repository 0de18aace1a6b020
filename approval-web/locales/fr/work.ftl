# Le travail d'un opérateur : interventions, droits proposés, seconds facteurs, charte.

copy = Copier
copied = Copié
work-duties = Ce qui vous attend
work-reviews = { $count ->
    [0] Aucun droit à revoir d'ici 60 jours
    [one] { $count } droit à revoir d'ici 60 jours
   *[other] { $count } droits à revoir d'ici 60 jours
}
work-live = { $count ->
    [0] Aucune session en direct
    [one] { $count } session en direct
   *[other] { $count } sessions en direct
}
grants-due-only = à revoir d'ici 60 jours
work-open = À faire maintenant
work-open-empty = Aucune de vos interventions n'est ouverte. Quand la fenêtre d'une intervention validée s'ouvre, les commandes à copier apparaissent ici.
work-left = il reste { $left }
work-jump = Par rebond, si votre client voit le système lui-même (Ansible, VS Code, rsync) :
work-known-hosts = pour le rebond, une seule fois : ce que votre client SSH doit connaître
work-menu = le menu de tout ce qui vous est ouvert
work-coming = En préparation et à venir
work-coming-empty = Vous n'avez rien en préparation. Planifiez une intervention : le client la lit et la valide avant tout travail.
work-rights = Mes droits
work-rights-empty = Vous n'avez aucun droit. Un gestionnaire des droits en propose un, une deuxième personne le met en vigueur.
work-passkeys = { $count ->
    [one] { $count } clé d'accès
   *[other] { $count } clés d'accès
}
work-generators = { $count ->
    [one] { $count } générateur de codes
   *[other] { $count } générateurs de codes
}
work-factors = Gérer
work-one-factor = Vous n'avez qu'un second facteur : s'il se perd, vous ne pourrez plus travailler. Ajoutez-en un autre :
work-charter = La charte { $version } attend votre accord ; sans lui, aucune session ne s'ouvre :

col-number = Numéro
filter-all = tous
filter-approved = validée
interventions-empty = Aucune intervention ne correspond. Celles que vous planifiez, et celles qui vous nomment, apparaissent ici.
plan-new = Nouvelle intervention
plan-new-lead = Ce que vous écrivez ici est ce que le contact du client lit et signe. Vous le relirez tel quel avant de l'envoyer.
plan-edit = Modifier le plan
plan-edit-lead = Une modification fait une nouvelle version du plan ; ce qui avait été validé ne vaut plus et le client décide de nouveau.
plan-why = Pourquoi et comment
plan-purpose-hint = Une phrase qu'un professionnel de santé comprend. C'est le motif de chaque session.
plan-where = Où et avec quoi
plan-no-right = Vous n'avez aucun droit en vigueur : demandez-en un à un gestionnaire des droits avant de planifier.
plan-forwards-hint = Une destination par ligne, comme localhost:5432, [2001:db8::1]:443 ou localhost:* pour tous les ports ; 16 au plus. C'est le système qui se connecte ; les noms comptent tels qu'ils sont écrits. Seulement avec « relayer des connexions » ci-dessus.
plan-start = Début
plan-end = Fin
plan-zone = Heure de Paris. 31 jours au plus. Le client peut répondre jusqu'à la fin de la fenêtre.
plan-accountable-label = Sous la responsabilité de
plan-accountable-hint = À remplir dès que des données de santé peuvent être vues : la personne qui en répond.
plan-more = Pour le suivi
plan-preview = Relire avant envoi
plan-save = Enregistrer cette version
preview-lead = Voici exactement ce que le contact lira et signera. Personne d'autre que vous ne le voit pour l'instant.
preview-title = Ce que le client lira
act-title = Et maintenant
act-submit = Envoyer au client
act-answer = Votre réponse à la question du client
act-answer-button = Répondre
act-withdraw = Retirer la demande
act-close = Clore l'intervention…
act-outcome = Ce qui a été fait, avec quel résultat
act-close-button = Clore
act-stop = Arrêter l'intervention…
act-extend = Demander plus de temps…
act-extend-hint = Le client décide, comme pour le plan. Sans réponse avant la fin validée, l'intervention s'arrête à cette fin.
act-extend-minutes = Minutes de plus
act-extend-why = Pourquoi (le client le lit)
act-extend-button = Demander au client
decided-by = par { $by }, { $at }, version { $version } du plan
decisions-empty = Aucune décision signée pour l'instant.

grant-new = Proposer un droit
grant-new-lead = Un droit est nominatif, justifié et nécessaire. Une deuxième personne le met en vigueur ; ni vous, ni son titulaire.
grant-who = Pour qui et pourquoi
grant-basis = Fondement
grant-review-every = Revue
grant-review-year = chaque année
grant-review-quarter = tous les trois mois (compte technique partagé)
grant-reduce = Réduire
grant-reduce-to = Réduire : cocher ce qui reste
grant-propose = Proposer

factors-title = Mes seconds facteurs
factors-lead = Une clé d'accès ouvre ces pages et confirme une connexion SSH ; un générateur de codes suffit pour SSH là où la politique le permet.
factors-passkeys = Clés d'accès
factors-generators = Générateurs de codes
factors-generators-empty = Aucun. Une application d'authentification sur votre téléphone peut donner des codes à six chiffres.
factor-since = Depuis { $since }
factor-last = votre seule clé : ajoutez-en une avant de la retirer
factor-revoke = Retirer
factor-add-passkey = Ajouter une clé d'accès
factor-add-totp = Ajouter un générateur de codes
totp-title = Nouveau générateur de codes
totp-lead = Scannez ce code avec votre application d'authentification. Il n'est montré qu'une fois.
totp-qr = Code QR du nouveau générateur
totp-secret = Ou recopiez ce secret :
totp-code = Le code à six chiffres qu'elle affiche
totp-button = Enregistrer
totp-wrong = Ce code n'est pas le bon. Vérifiez l'heure de votre téléphone et recopiez le code suivant.

charter-title = Charte d'administration
charter-version = Version { $version }
charter-lead = Lisez la charte que votre employeur vous a remise. Votre accord est tracé, avec sa date.
charter-accept = Je l'ai lue et je l'accepte
charter-accepted = Vous avez accepté cette version.

field-start = début
field-end = fin
field-health-data = données de santé
field-origin = initiative
field-operations = opérations
field-accounts = comptes
field-basis = fondement
field-review-every = revue
refusal-several-customers = Ces systèmes appartiennent à plusieurs clients ; nommez ceux de chaque client séparément.
refusal-code-wrong = Trois codes étaient faux ; recommencez avec un nouveau secret.
refusal-last-passkey = C'est votre seule clé d'accès ; ajoutez-en une autre d'abord, sinon vous ne pourriez plus vous connecter.
