-- SQLite: every table of the bastion. Times are microseconds since 1970 in UTC; `body` is the value as
-- JSON, the other columns are derived from it for search and constraints.

CREATE TABLE customers (
    id TEXT PRIMARY KEY NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE contacts (
    id TEXT PRIMARY KEY NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    customer_id TEXT NOT NULL REFERENCES customers (id),
    body TEXT NOT NULL
) STRICT;
CREATE INDEX contacts_of_customer ON contacts (customer_id);

CREATE TABLE actors (
    id TEXT PRIMARY KEY NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE operators (
    id TEXT PRIMARY KEY NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    actor_id TEXT NOT NULL REFERENCES actors (id),
    body TEXT NOT NULL
) STRICT;

CREATE TABLE targets (
    id TEXT PRIMARY KEY NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    customer_id TEXT NOT NULL REFERENCES customers (id),
    body TEXT NOT NULL,
    UNIQUE (id, customer_id)
) STRICT;
CREATE INDEX targets_of_customer ON targets (customer_id);

-- Nothing crosses: what refers to a target, a grant or an intervention names its customer too.

CREATE TABLE grants (
    id TEXT PRIMARY KEY NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    operator_id TEXT NOT NULL REFERENCES operators (id),
    customer_id TEXT NOT NULL REFERENCES customers (id),
    state TEXT NOT NULL CHECK (state IN ('proposed', 'active', 'withdrawn')),
    valid_from INTEGER NOT NULL,
    valid_until INTEGER NOT NULL CHECK (valid_until > valid_from),
    review_due INTEGER CHECK ((review_due IS NOT NULL) = (state = 'active')),
    body TEXT NOT NULL,
    UNIQUE (id, customer_id),
    UNIQUE (id, customer_id, operator_id)
) STRICT;
CREATE INDEX grants_by_age ON grants (created_at, id);
CREATE INDEX grants_of_operator ON grants (operator_id);
CREATE INDEX grants_of_customer ON grants (customer_id, created_at, id);
CREATE INDEX grants_by_review ON grants (review_due) WHERE review_due IS NOT NULL;

CREATE TABLE grant_targets (
    grant_id TEXT NOT NULL,
    target_id TEXT NOT NULL,
    customer_id TEXT NOT NULL,
    operator_id TEXT NOT NULL,
    PRIMARY KEY (grant_id, target_id),
    FOREIGN KEY (grant_id, customer_id, operator_id) REFERENCES grants (id, customer_id, operator_id),
    FOREIGN KEY (target_id, customer_id) REFERENCES targets (id, customer_id)
) STRICT;
CREATE INDEX grant_targets_of_operator ON grant_targets (operator_id, target_id);
CREATE INDEX grant_targets_of_target ON grant_targets (target_id);

-- The last number given in each year; a number that was given and not used stays unused.
CREATE TABLE intervention_numbers (
    year INTEGER PRIMARY KEY NOT NULL,
    last INTEGER NOT NULL
) STRICT;

CREATE TABLE interventions (
    id TEXT PRIMARY KEY NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    customer_id TEXT NOT NULL REFERENCES customers (id),
    requested_by TEXT NOT NULL REFERENCES operators (id),
    state TEXT NOT NULL CHECK (state IN ('draft', 'submitted', 'info_requested', 'approved', 'refused', 'withdrawn', 'expired', 'revoked', 'closed')),
    window_start INTEGER NOT NULL,
    window_end INTEGER NOT NULL CHECK (window_end > window_start),
    ages_at INTEGER,
    body TEXT NOT NULL,
    UNIQUE (id, customer_id)
) STRICT;
CREATE INDEX interventions_by_age ON interventions (created_at, id);
CREATE INDEX interventions_of_customer ON interventions (customer_id, created_at, id);
CREATE INDEX interventions_of_requester ON interventions (requested_by);
CREATE INDEX interventions_aging ON interventions (ages_at) WHERE ages_at IS NOT NULL;

CREATE TABLE intervention_targets (
    intervention_id TEXT NOT NULL,
    target_id TEXT NOT NULL,
    customer_id TEXT NOT NULL,
    window_end INTEGER NOT NULL,
    PRIMARY KEY (intervention_id, target_id),
    FOREIGN KEY (intervention_id, customer_id) REFERENCES interventions (id, customer_id),
    FOREIGN KEY (target_id, customer_id) REFERENCES targets (id, customer_id)
) STRICT;
CREATE INDEX intervention_targets_of_target ON intervention_targets (target_id, window_end);

CREATE TABLE intervention_operators (
    intervention_id TEXT NOT NULL REFERENCES interventions (id),
    operator_id TEXT NOT NULL REFERENCES operators (id),
    PRIMARY KEY (intervention_id, operator_id)
) STRICT;
CREATE INDEX intervention_operators_of_operator ON intervention_operators (operator_id);

-- No session without operator, target, grant, intervention, customer and motive; and all of one
-- customer, the grant being the operator's own.
CREATE TABLE sessions (
    id TEXT PRIMARY KEY NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    operator_id TEXT NOT NULL REFERENCES operators (id),
    target_id TEXT NOT NULL,
    grant_id TEXT NOT NULL,
    intervention_id TEXT NOT NULL,
    customer_id TEXT NOT NULL REFERENCES customers (id),
    motive TEXT NOT NULL CHECK (LENGTH(TRIM(motive)) > 0),
    state TEXT NOT NULL CHECK (state IN ('live', 'ended', 'interrupted')),
    started_at INTEGER NOT NULL,
    body TEXT NOT NULL,
    FOREIGN KEY (target_id, customer_id) REFERENCES targets (id, customer_id),
    FOREIGN KEY (grant_id, customer_id, operator_id) REFERENCES grants (id, customer_id, operator_id),
    FOREIGN KEY (intervention_id, customer_id) REFERENCES interventions (id, customer_id)
) STRICT;
CREATE INDEX sessions_by_start ON sessions (started_at);
CREATE INDEX sessions_of_operator ON sessions (operator_id, started_at);
CREATE INDEX sessions_of_target ON sessions (target_id, started_at);
CREATE INDEX sessions_of_grant ON sessions (grant_id, started_at);
CREATE INDEX sessions_of_intervention ON sessions (intervention_id, started_at);
CREATE INDEX sessions_of_customer ON sessions (customer_id, started_at);
CREATE INDEX sessions_live ON sessions (started_at) WHERE state = 'live';

CREATE TABLE second_factors (
    id TEXT PRIMARY KEY NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    operator_id TEXT REFERENCES operators (id),
    contact_id TEXT REFERENCES contacts (id),
    credential_id TEXT UNIQUE,
    revoked_at INTEGER,
    body TEXT NOT NULL,
    CHECK ((operator_id IS NULL) <> (contact_id IS NULL))
) STRICT;
CREATE INDEX second_factors_of_operator ON second_factors (operator_id);
CREATE INDEX second_factors_of_contact ON second_factors (contact_id);

-- The newest time step each code generator was used at; none works twice.
CREATE TABLE totp_steps (
    factor_id TEXT PRIMARY KEY NOT NULL REFERENCES second_factors (id),
    step INTEGER NOT NULL
) STRICT;

CREATE TABLE lockouts (
    key TEXT PRIMARY KEY NOT NULL,
    uses INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE confirmations (
    id TEXT PRIMARY KEY NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    operator_id TEXT NOT NULL REFERENCES operators (id),
    body TEXT NOT NULL
) STRICT;

-- Web sign-in. Only hashes of tokens are kept.

CREATE TABLE web_sessions (
    token_sha256 BLOB PRIMARY KEY NOT NULL,
    origin TEXT NOT NULL CHECK (origin IN ('customer', 'host')),
    operator_id TEXT REFERENCES operators (id),
    contact_id TEXT REFERENCES contacts (id),
    created_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    ends_at INTEGER NOT NULL,
    fresh_until INTEGER NOT NULL,
    CHECK ((operator_id IS NULL) <> (contact_id IS NULL))
) STRICT;
CREATE INDEX web_sessions_by_end ON web_sessions (ends_at);

CREATE TABLE invitations (
    token_sha256 BLOB PRIMARY KEY NOT NULL,
    operator_id TEXT REFERENCES operators (id),
    contact_id TEXT REFERENCES contacts (id),
    invited_by TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER,
    CHECK ((operator_id IS NULL) <> (contact_id IS NULL))
) STRICT;

CREATE TABLE ceremonies (
    id_sha256 BLOB PRIMARY KEY NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX ceremonies_by_end ON ceremonies (expires_at);

-- The private half of a customer's recording key, wrapped by a master key that is not here.
CREATE TABLE recording_keys (
    customer_id TEXT PRIMARY KEY NOT NULL,
    wrapped BLOB NOT NULL
) STRICT;

CREATE TABLE settings (
    key TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) STRICT;

-- Every version of every row, never overwritten.
CREATE TABLE history (
    noun TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    at INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (noun, id, version)
) STRICT;

-- The audit log. `audit_head` is the one row every writer takes first, which puts entries in order
-- across bastions and leaves no gap.
CREATE TABLE audit_head (
    id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    size INTEGER NOT NULL CHECK (size >= 0)
) STRICT;
INSERT INTO audit_head (id, size) VALUES (1, 0);

CREATE TABLE audit_entries (
    sequence INTEGER PRIMARY KEY NOT NULL CHECK (sequence > 0),
    at INTEGER NOT NULL,
    name TEXT NOT NULL,
    customer_id TEXT,
    intervention_id TEXT,
    session_id TEXT,
    text TEXT NOT NULL
) STRICT;
CREATE INDEX audit_entries_of_customer ON audit_entries (customer_id, sequence) WHERE customer_id IS NOT NULL;
CREATE INDEX audit_entries_of_intervention ON audit_entries (intervention_id, sequence) WHERE intervention_id IS NOT NULL;
CREATE INDEX audit_entries_of_session ON audit_entries (session_id, sequence) WHERE session_id IS NOT NULL;

-- Nodes of the Merkle tree over the entries (RFC 6962), in the dense order of tlog.
CREATE TABLE audit_hashes (
    position INTEGER PRIMARY KEY NOT NULL CHECK (position >= 0),
    hash BLOB NOT NULL CHECK (LENGTH(hash) = 32)
) STRICT;

CREATE TABLE audit_checkpoints (
    size INTEGER PRIMARY KEY NOT NULL CHECK (size > 0),
    at INTEGER NOT NULL,
    root BLOB NOT NULL CHECK (LENGTH(root) = 32),
    note TEXT NOT NULL
) STRICT;

-- What is written stays: nothing is changed, deleted, or replaced (`INSERT OR REPLACE` fires no
-- trigger on DELETE, so an INSERT over an existing row is refused too).

CREATE TRIGGER history_unchanged BEFORE UPDATE ON history
BEGIN SELECT RAISE(ABORT, 'history is append-only'); END;
CREATE TRIGGER history_undeleted BEFORE DELETE ON history
BEGIN SELECT RAISE(ABORT, 'history is append-only'); END;
CREATE TRIGGER history_unreplaced BEFORE INSERT ON history
WHEN EXISTS (SELECT 1 FROM history WHERE noun = NEW.noun AND id = NEW.id AND version = NEW.version)
BEGIN SELECT RAISE(ABORT, 'history is append-only'); END;

CREATE TRIGGER audit_entries_unchanged BEFORE UPDATE ON audit_entries
BEGIN SELECT RAISE(ABORT, 'audit_entries is append-only'); END;
CREATE TRIGGER audit_entries_undeleted BEFORE DELETE ON audit_entries
BEGIN SELECT RAISE(ABORT, 'audit_entries is append-only'); END;
CREATE TRIGGER audit_entries_unreplaced BEFORE INSERT ON audit_entries
WHEN EXISTS (SELECT 1 FROM audit_entries WHERE sequence = NEW.sequence)
BEGIN SELECT RAISE(ABORT, 'audit_entries is append-only'); END;

CREATE TRIGGER audit_hashes_unchanged BEFORE UPDATE ON audit_hashes
BEGIN SELECT RAISE(ABORT, 'audit_hashes is append-only'); END;
CREATE TRIGGER audit_hashes_undeleted BEFORE DELETE ON audit_hashes
BEGIN SELECT RAISE(ABORT, 'audit_hashes is append-only'); END;
CREATE TRIGGER audit_hashes_unreplaced BEFORE INSERT ON audit_hashes
WHEN EXISTS (SELECT 1 FROM audit_hashes WHERE position = NEW.position)
BEGIN SELECT RAISE(ABORT, 'audit_hashes is append-only'); END;

CREATE TRIGGER audit_checkpoints_unchanged BEFORE UPDATE ON audit_checkpoints
BEGIN SELECT RAISE(ABORT, 'audit_checkpoints is append-only'); END;
CREATE TRIGGER audit_checkpoints_undeleted BEFORE DELETE ON audit_checkpoints
BEGIN SELECT RAISE(ABORT, 'audit_checkpoints is append-only'); END;
CREATE TRIGGER audit_checkpoints_unreplaced BEFORE INSERT ON audit_checkpoints
WHEN EXISTS (SELECT 1 FROM audit_checkpoints WHERE size = NEW.size)
BEGIN SELECT RAISE(ABORT, 'audit_checkpoints is append-only'); END;

CREATE TRIGGER audit_entries_in_order BEFORE INSERT ON audit_entries
WHEN NEW.sequence <> (SELECT size FROM audit_head)
BEGIN SELECT RAISE(ABORT, 'audit_entries are numbered without a gap'); END;
CREATE TRIGGER audit_head_grows BEFORE UPDATE ON audit_head
WHEN NEW.size NOT IN (OLD.size, OLD.size + 1)
BEGIN SELECT RAISE(ABORT, 'audit_head only grows'); END;
CREATE TRIGGER audit_head_undeleted BEFORE DELETE ON audit_head
BEGIN SELECT RAISE(ABORT, 'audit_head only grows'); END;
CREATE TRIGGER audit_head_unreplaced BEFORE INSERT ON audit_head
BEGIN SELECT RAISE(ABORT, 'audit_head only grows'); END;
