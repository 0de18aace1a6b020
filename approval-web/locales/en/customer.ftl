# The customers' origin.

tab-home = Home
tab-access = Who has access to us
tab-contacts = Our contacts

home-nothing-waits = Nothing waits for you
home-waits = { $count ->
    [one] One intervention waits for your answer
   *[other] { $count } interventions wait for your answer
}
home-waiting = What waits for you
home-waiting-empty = No intervention waits for your answer. Your host's requests will appear here before any work.
home-running = Now and soon
home-running-empty = Nobody is working on your systems, and no approved intervention is to come. You will see every approved piece of work here for as long as it lasts.
home-lately = Lately
home-lately-empty = Nothing yet. Interventions that were closed, refused or stopped will stay readable here.
home-left = { $left } left to answer
home-live = { $count ->
    [one] { $count } live session
   *[other] { $count } live sessions
}

decision-what-you-sign = What you sign
decision-title = Your decision
decision-lead = Your passkey signs the text above, and nothing else. If the plan changes afterwards, your signature no longer counts.
decision-approve = Approve with my passkey
decision-refuse = Refuse…
decision-refuse-button = Refuse with my passkey
decision-reason = Reason
decision-ask = Ask a question before deciding…
decision-question = Your question
decision-ask-button = Send the question
decision-exact = The exact text that is signed
decision-exact-hint = Your passkey signs the SHA-256 of this text. The server puts a value in it that is used once (nonce) at the moment of signing.
decision-left = { $left } left to answer.
decision-deadline = Without an answer by { $deadline }, the intervention is refused by itself.
decision-waits-for-answer = A question was asked: the intervention waits for the requester's answer. You can decide afterwards.
decision-signed = The text that was signed
decided-approved = approved
decided-refused = refused
decided-version = version { $version } of the plan
decisions-title = Signed decisions
messages-title = Questions and answers

extension-lead = The team asks to go on beyond the end you approved. Without your approval everything stops at that end.
extension-decision-lead = Your passkey signs the plan below with the new end, the reason for it, and nothing else. A refusal changes nothing: the approved end stays.
extension-deadline = Without an answer { $deadline }, nothing is extended and the intervention ends.
home-extension = More time asked for
home-extension-until = until { $until }

revoke-title = Stop the intervention
revoke-lead = The approval is taken back and live sessions are cut within seconds.
revoke-button = Stop it with my passkey

outcome-revoked = Stopped by { $by }, { $at }: { $text }
outcome-closed = Closed ({ $by }), { $at }: { $text }
outcome-refused = Refused by { $by }, { $at }: { $text }
outcome-withdrawn = Withdrawn by { $by }, { $at }.
outcome-expired = Left unanswered, and so refused, { $at }.

sessions-title = What was done
sessions-empty = No session yet. Every connection to your systems will appear here, with its motive.
session-motive = Motive:

access-title = Who has access to our systems
access-lead = Every right is one person's, has its reason and is reviewed at least once a year. A right alone is not enough: it also takes an intervention that you approved.
access-empty = Nobody holds a right on your systems. Every right that is given will appear here, with its reason.
access-past = { $count ->
    [one] One past right
   *[other] { $count } past rights
}
right-targets = On what
right-operations = To do what
right-why = Reason
right-use = Use
right-review = Last review
right-until = Until at the latest
right-reviewed = { $decision } on { $at } by { $by }
right-never-reviewed = not reviewed yet
right-review-due = next review before { $due }
right-used = { $sessions } session(s), the last on { $last }
right-never-used = never used

contacts-title = Are our contacts right?
contacts-lead = Your host turns to these people to have its work approved, about incidents and about health data. Confirm each line at least once a year.
contact-me = you
contact-deputy = Deputy: { $deputy }
contact-confirmed = Confirmed on { $at }
contact-never-confirmed = Never confirmed
contact-confirm = This is right
contact-removed = { $name } is no longer a contact since { $at }.
contacts-change = To add, replace or remove somebody, write to your host.
