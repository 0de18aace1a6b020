-- PostgreSQL: every table of the bastion. Times are microseconds since 1970 in UTC; `body` is the value as
-- JSON, the other columns are derived from it for search and constraints.

CREATE TABLE customers (
    id TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    version BIGINT NOT NULL CHECK (version > 0),
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    body TEXT NOT NULL
);

CREATE TABLE contacts (
    id TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    version BIGINT NOT NULL CHECK (version > 0),
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    customer_id TEXT COLLATE "C" NOT NULL REFERENCES customers (id),
    body TEXT NOT NULL
);
CREATE INDEX contacts_of_customer ON contacts (customer_id);

CREATE TABLE actors (
    id TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    version BIGINT NOT NULL CHECK (version > 0),
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    body TEXT NOT NULL
);

CREATE TABLE operators (
    id TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    version BIGINT NOT NULL CHECK (version > 0),
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    actor_id TEXT COLLATE "C" NOT NULL REFERENCES actors (id),
    body TEXT NOT NULL
);

CREATE TABLE targets (
    id TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    version BIGINT NOT NULL CHECK (version > 0),
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    customer_id TEXT COLLATE "C" NOT NULL REFERENCES customers (id),
    body TEXT NOT NULL,
    UNIQUE (id, customer_id)
);
CREATE INDEX targets_of_customer ON targets (customer_id);

-- Nothing crosses: what refers to a target, a grant or an intervention names its customer too.

CREATE TABLE grants (
    id TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    version BIGINT NOT NULL CHECK (version > 0),
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    operator_id TEXT COLLATE "C" NOT NULL REFERENCES operators (id),
    customer_id TEXT COLLATE "C" NOT NULL REFERENCES customers (id),
    state TEXT NOT NULL CHECK (state IN ('proposed', 'active', 'withdrawn')),
    valid_from BIGINT NOT NULL,
    valid_until BIGINT NOT NULL CHECK (valid_until > valid_from),
    review_due BIGINT CHECK ((review_due IS NOT NULL) = (state = 'active')),
    body TEXT NOT NULL,
    UNIQUE (id, customer_id),
    UNIQUE (id, customer_id, operator_id)
);
CREATE INDEX grants_by_age ON grants (created_at, id);
CREATE INDEX grants_of_operator ON grants (operator_id);
CREATE INDEX grants_of_customer ON grants (customer_id, created_at, id);
CREATE INDEX grants_by_review ON grants (review_due) WHERE review_due IS NOT NULL;

CREATE TABLE grant_targets (
    grant_id TEXT COLLATE "C" NOT NULL,
    target_id TEXT COLLATE "C" NOT NULL,
    customer_id TEXT COLLATE "C" NOT NULL,
    operator_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (grant_id, target_id),
    FOREIGN KEY (grant_id, customer_id, operator_id) REFERENCES grants (id, customer_id, operator_id),
    FOREIGN KEY (target_id, customer_id) REFERENCES targets (id, customer_id)
);
CREATE INDEX grant_targets_of_operator ON grant_targets (operator_id, target_id);
CREATE INDEX grant_targets_of_target ON grant_targets (target_id);

-- The last number given in each year; a number that was given and not used stays unused.
CREATE TABLE intervention_numbers (
    year BIGINT PRIMARY KEY NOT NULL,
    last BIGINT NOT NULL
);

CREATE TABLE interventions (
    id TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    version BIGINT NOT NULL CHECK (version > 0),
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    customer_id TEXT COLLATE "C" NOT NULL REFERENCES customers (id),
    requested_by TEXT COLLATE "C" NOT NULL REFERENCES operators (id),
    state TEXT NOT NULL CHECK (state IN ('draft', 'submitted', 'info_requested', 'approved', 'refused', 'withdrawn', 'expired', 'revoked', 'closed')),
    window_start BIGINT NOT NULL,
    window_end BIGINT NOT NULL CHECK (window_end > window_start),
    ages_at BIGINT,
    body TEXT NOT NULL,
    UNIQUE (id, customer_id)
);
CREATE INDEX interventions_by_age ON interventions (created_at, id);
CREATE INDEX interventions_of_customer ON interventions (customer_id, created_at, id);
CREATE INDEX interventions_of_requester ON interventions (requested_by);
CREATE INDEX interventions_aging ON interventions (ages_at) WHERE ages_at IS NOT NULL;

CREATE TABLE intervention_targets (
    intervention_id TEXT COLLATE "C" NOT NULL,
    target_id TEXT COLLATE "C" NOT NULL,
    customer_id TEXT COLLATE "C" NOT NULL,
    window_end BIGINT NOT NULL,
    PRIMARY KEY (intervention_id, target_id),
    FOREIGN KEY (intervention_id, customer_id) REFERENCES interventions (id, customer_id),
    FOREIGN KEY (target_id, customer_id) REFERENCES targets (id, customer_id)
);
CREATE INDEX intervention_targets_of_target ON intervention_targets (target_id, window_end);

CREATE TABLE intervention_operators (
    intervention_id TEXT COLLATE "C" NOT NULL REFERENCES interventions (id),
    operator_id TEXT COLLATE "C" NOT NULL REFERENCES operators (id),
    PRIMARY KEY (intervention_id, operator_id)
);
CREATE INDEX intervention_operators_of_operator ON intervention_operators (operator_id);

-- No session without operator, target, grant, intervention, customer and motive; and all of one
-- customer, the grant being the operator's own.
CREATE TABLE sessions (
    id TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    version BIGINT NOT NULL CHECK (version > 0),
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    operator_id TEXT COLLATE "C" NOT NULL REFERENCES operators (id),
    target_id TEXT COLLATE "C" NOT NULL,
    grant_id TEXT COLLATE "C" NOT NULL,
    intervention_id TEXT COLLATE "C" NOT NULL,
    customer_id TEXT COLLATE "C" NOT NULL REFERENCES customers (id),
    motive TEXT NOT NULL CHECK (LENGTH(TRIM(motive)) > 0),
    state TEXT NOT NULL CHECK (state IN ('live', 'ended', 'interrupted')),
    started_at BIGINT NOT NULL,
    body TEXT NOT NULL,
    FOREIGN KEY (target_id, customer_id) REFERENCES targets (id, customer_id),
    FOREIGN KEY (grant_id, customer_id, operator_id) REFERENCES grants (id, customer_id, operator_id),
    FOREIGN KEY (intervention_id, customer_id) REFERENCES interventions (id, customer_id)
);
CREATE INDEX sessions_by_start ON sessions (started_at);
CREATE INDEX sessions_of_operator ON sessions (operator_id, started_at);
CREATE INDEX sessions_of_target ON sessions (target_id, started_at);
CREATE INDEX sessions_of_grant ON sessions (grant_id, started_at);
CREATE INDEX sessions_of_intervention ON sessions (intervention_id, started_at);
CREATE INDEX sessions_of_customer ON sessions (customer_id, started_at);
CREATE INDEX sessions_live ON sessions (started_at) WHERE state = 'live';

CREATE TABLE second_factors (
    id TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    version BIGINT NOT NULL CHECK (version > 0),
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    operator_id TEXT COLLATE "C" REFERENCES operators (id),
    contact_id TEXT COLLATE "C" REFERENCES contacts (id),
    credential_id TEXT COLLATE "C" UNIQUE,
    revoked_at BIGINT,
    body TEXT NOT NULL,
    CHECK ((operator_id IS NULL) <> (contact_id IS NULL))
);
CREATE INDEX second_factors_of_operator ON second_factors (operator_id);
CREATE INDEX second_factors_of_contact ON second_factors (contact_id);

-- The newest time step each code generator was used at; none works twice.
CREATE TABLE totp_steps (
    factor_id TEXT COLLATE "C" PRIMARY KEY NOT NULL REFERENCES second_factors (id),
    step BIGINT NOT NULL
);

CREATE TABLE lockouts (
    key TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    uses BIGINT NOT NULL,
    body TEXT NOT NULL
);

CREATE TABLE confirmations (
    id TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    version BIGINT NOT NULL CHECK (version > 0),
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    operator_id TEXT COLLATE "C" NOT NULL REFERENCES operators (id),
    body TEXT NOT NULL
);

-- Web sign-in. Only hashes of tokens are kept.

CREATE TABLE web_sessions (
    token_sha256 BYTEA PRIMARY KEY NOT NULL,
    origin TEXT NOT NULL CHECK (origin IN ('customer', 'host')),
    operator_id TEXT COLLATE "C" REFERENCES operators (id),
    contact_id TEXT COLLATE "C" REFERENCES contacts (id),
    created_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL,
    fresh_until BIGINT NOT NULL,
    CHECK ((operator_id IS NULL) <> (contact_id IS NULL))
);
CREATE INDEX web_sessions_by_end ON web_sessions (ends_at);

CREATE TABLE invitations (
    token_sha256 BYTEA PRIMARY KEY NOT NULL,
    operator_id TEXT COLLATE "C" REFERENCES operators (id),
    contact_id TEXT COLLATE "C" REFERENCES contacts (id),
    invited_by TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT,
    CHECK ((operator_id IS NULL) <> (contact_id IS NULL))
);

CREATE TABLE ceremonies (
    id_sha256 BYTEA PRIMARY KEY NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX ceremonies_by_end ON ceremonies (expires_at);

-- The private half of a customer's recording key, wrapped by a master key that is not here.
CREATE TABLE recording_keys (
    customer_id TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    wrapped BYTEA NOT NULL
);

CREATE TABLE settings (
    key TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
);

-- Every version of every row, never overwritten.
CREATE TABLE history (
    noun TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL CHECK (version > 0),
    at BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (noun, id, version)
);

-- The audit log. `audit_head` is the one row every writer takes first, which puts entries in order
-- across bastions and leaves no gap.
CREATE TABLE audit_head (
    id BIGINT PRIMARY KEY NOT NULL CHECK (id = 1),
    size BIGINT NOT NULL CHECK (size >= 0)
);
INSERT INTO audit_head (id, size) VALUES (1, 0);

CREATE TABLE audit_entries (
    sequence BIGINT PRIMARY KEY NOT NULL CHECK (sequence > 0),
    at BIGINT NOT NULL,
    name TEXT NOT NULL,
    customer_id TEXT COLLATE "C",
    intervention_id TEXT COLLATE "C",
    session_id TEXT COLLATE "C",
    text TEXT NOT NULL
);
CREATE INDEX audit_entries_of_customer ON audit_entries (customer_id, sequence) WHERE customer_id IS NOT NULL;
CREATE INDEX audit_entries_of_intervention ON audit_entries (intervention_id, sequence) WHERE intervention_id IS NOT NULL;
CREATE INDEX audit_entries_of_session ON audit_entries (session_id, sequence) WHERE session_id IS NOT NULL;

-- Nodes of the Merkle tree over the entries (RFC 6962), in the dense order of tlog.
CREATE TABLE audit_hashes (
    position BIGINT PRIMARY KEY NOT NULL CHECK (position >= 0),
    hash BYTEA NOT NULL CHECK (LENGTH(hash) = 32)
);

CREATE TABLE audit_checkpoints (
    size BIGINT PRIMARY KEY NOT NULL CHECK (size > 0),
    at BIGINT NOT NULL,
    root BYTEA NOT NULL CHECK (LENGTH(root) = 32),
    note TEXT NOT NULL
);

-- What is written stays: nothing is changed, deleted or emptied.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END;
$$;

CREATE TRIGGER history_unchanged BEFORE UPDATE OR DELETE ON history
FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER history_unemptied BEFORE TRUNCATE ON history
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER audit_entries_unchanged BEFORE UPDATE OR DELETE ON audit_entries
FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_entries_unemptied BEFORE TRUNCATE ON audit_entries
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER audit_hashes_unchanged BEFORE UPDATE OR DELETE ON audit_hashes
FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_hashes_unemptied BEFORE TRUNCATE ON audit_hashes
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER audit_checkpoints_unchanged BEFORE UPDATE OR DELETE ON audit_checkpoints
FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_checkpoints_unemptied BEFORE TRUNCATE ON audit_checkpoints
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE FUNCTION refuse_gap() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.sequence <> (SELECT size FROM audit_head) THEN
        RAISE EXCEPTION 'audit_entries are numbered without a gap';
    END IF;
    RETURN NEW;
END;
$$;
CREATE TRIGGER audit_entries_in_order BEFORE INSERT ON audit_entries
FOR EACH ROW EXECUTE FUNCTION refuse_gap();

CREATE FUNCTION refuse_shrinking() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.size NOT IN (OLD.size, OLD.size + 1) THEN
        RAISE EXCEPTION 'audit_head only grows';
    END IF;
    RETURN NEW;
END;
$$;
CREATE TRIGGER audit_head_grows BEFORE UPDATE ON audit_head
FOR EACH ROW EXECUTE FUNCTION refuse_shrinking();
CREATE TRIGGER audit_head_undeleted BEFORE DELETE OR TRUNCATE ON audit_head
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
