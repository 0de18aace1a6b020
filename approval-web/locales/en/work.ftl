# An operator's work: interventions, proposed rights, second factors, charter.

copy = Copy
copied = Copied
work-duties = What waits for you
work-reviews = { $count ->
    [0] No right to review within 60 days
    [one] { $count } right to review within 60 days
   *[other] { $count } rights to review within 60 days
}
work-live = { $count ->
    [0] No live session
    [one] { $count } live session
   *[other] { $count } live sessions
}
grants-due-only = to review within 60 days
work-open = To do now
work-open-empty = None of your interventions is open. When the window of an approved one opens, the commands to copy appear here.
work-left = { $left } left
work-jump = Through a jump, for a client that is to see the system itself (Ansible, VS Code, rsync):
work-known-hosts = for the jump, once: what your SSH client needs to know
work-menu = the menu of all that is open to you
work-coming = In preparation and to come
work-coming-empty = You have nothing in preparation. Plan an intervention: the customer reads and approves it before any work.
work-rights = My rights
work-rights-empty = You hold no right. A rights manager proposes one, a second person puts it in force.
work-passkeys = { $count ->
    [one] { $count } passkey
   *[other] { $count } passkeys
}
work-generators = { $count ->
    [one] { $count } code generator
   *[other] { $count } code generators
}
work-factors = Manage
work-one-factor = You have only one second factor: if it is lost, you can no longer work. Add another one:
work-charter = Charter { $version } waits for your agreement; without it no session opens:

col-number = Number
filter-all = all
filter-approved = approved
interventions-empty = No intervention matches. Those you plan, and those that name you, appear here.
plan-new = New intervention
plan-new-lead = What you write here is what the customer's contact reads and signs. You will read it as it is before you send it.
plan-edit = Change the plan
plan-edit-lead = A change makes a new version of the plan; what was approved counts no longer and the customer decides anew.
plan-why = Why and how
plan-purpose-hint = A sentence that a health professional understands. It is the motive of every session.
plan-where = Where and with what
plan-no-right = You hold no right in force: ask a rights manager for one before you plan.
plan-forwards-hint = One destination a line, as in localhost:5432, [2001:db8::1]:443 or localhost:* for every port; 16 at most. The system makes the connection; names count as they are written. Only with “forward connections” above.
plan-start = Start
plan-end = End
plan-zone = Paris time. 31 days at most. The customer may answer until the window ends.
plan-accountable-label = Under the responsibility of
plan-accountable-hint = To be filled in as soon as health data may be seen: the person who answers for it.
plan-more = To follow it
plan-preview = Read it before sending
plan-save = Save this version
preview-lead = This is exactly what the contact will read and sign. Nobody but you sees it yet.
preview-title = What the customer will read
act-title = What next
act-submit = Send to the customer
act-answer = Your answer to the customer's question
act-answer-button = Answer
act-withdraw = Withdraw the request
act-close = Close the intervention…
act-outcome = What was done, and how it went
act-close-button = Close
act-stop = Stop the intervention…
act-extend = Ask for more time…
act-extend-hint = The customer decides, as on the plan. Without an answer before the approved end, the intervention stops there.
act-extend-minutes = Minutes more
act-extend-why = Why (the customer reads it)
act-extend-button = Ask the customer
decided-by = by { $by }, { $at }, version { $version } of the plan
decisions-empty = No signed decision yet.

grant-new = Propose a right
grant-new-lead = A right is one person's, has its reason and is necessary. A second person puts it in force; neither you nor its holder.
grant-who = For whom and why
grant-basis = Basis
grant-review-every = Review
grant-review-year = every year
grant-review-quarter = every three months (shared technical account)
grant-reduce = Reduce
grant-reduce-to = Reduce: tick what is kept
grant-propose = Propose

factors-title = My second factors
factors-lead = A passkey opens these pages and confirms an SSH login; a code generator will do for SSH where the policy allows it.
factors-passkeys = Passkeys
factors-generators = Code generators
factors-generators-empty = None. An authenticator application on your phone can give six-digit codes.
factor-since = Since { $since }
factor-last = your only passkey: add another one before you take it out
factor-revoke = Take out of use
factor-add-passkey = Add a passkey
factor-add-totp = Add a code generator
totp-title = New code generator
totp-lead = Scan this code with your authenticator application. It is shown once.
totp-qr = QR code of the new generator
totp-secret = Or copy this secret:
totp-code = The six-digit code it shows
totp-button = Enrol
totp-wrong = This is not the right code. Check the time of your phone and copy the next code.

charter-title = Administration charter
charter-version = Version { $version }
charter-lead = Read the charter your employer gave you. Your agreement is traced, with its date.
charter-accept = I have read and accept it
charter-accepted = You have accepted this version.

field-start = start
field-end = end
field-health-data = health data
field-origin = initiative
field-operations = operations
field-accounts = accounts
field-basis = basis
field-review-every = review
