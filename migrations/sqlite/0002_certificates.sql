-- Short-lived certificates of operators: what each stands for. The signed certificate is not kept.

CREATE TABLE certificates (
    id TEXT PRIMARY KEY NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    operator_id TEXT NOT NULL REFERENCES operators (id),
    ends_at INTEGER NOT NULL,
    revoked_at INTEGER,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX certificates_of_operator ON certificates (operator_id, ends_at);
