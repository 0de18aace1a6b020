-- Short-lived certificates of operators: what each stands for. The signed certificate is not kept.

CREATE TABLE certificates (
    id TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    version BIGINT NOT NULL CHECK (version > 0),
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    operator_id TEXT COLLATE "C" NOT NULL REFERENCES operators (id),
    ends_at BIGINT NOT NULL,
    revoked_at BIGINT,
    body TEXT NOT NULL
);
CREATE INDEX certificates_of_operator ON certificates (operator_id, ends_at);
