# The fields a refusal may name. Refusals themselves are said in English by the domain.

field-purpose = purpose
field-nature = nature of the work
field-impact = impact
field-rollback = rollback
field-reason = reason
field-question = question
field-answer = answer
field-outcome = outcome
field-justification = reason
field-comment = comment
field-motive = motive
field-language = language
field-window = window
