CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);

CREATE TABLE IF NOT EXISTS clients (
    client_id TEXT PRIMARY KEY, access_token TEXT NOT NULL, description TEXT NOT NULL,
    scopes JSON NOT NULL, expires INSTANT NOT NULL, created INSTANT NOT NULL,
    last_modified INSTANT NOT NULL, last_rotated INSTANT NOT NULL, disabled FLAG NOT NULL DEFAULT 0,
    delete_on_expiration FLAG NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS roles (
    role_id TEXT PRIMARY KEY, description TEXT NOT NULL, scopes JSON NOT NULL,
    created INSTANT NOT NULL, last_modified INSTANT NOT NULL
);

CREATE TABLE IF NOT EXISTS tasks (
    task_id TEXT PRIMARY KEY, task_queue_id TEXT NOT NULL, task_group_id TEXT NOT NULL,
    deadline INSTANT NOT NULL, expires INSTANT NOT NULL, retries_left INTEGER NOT NULL,
    priority TEXT NOT NULL, open FLAG NOT NULL, definition JSON NOT NULL
);
CREATE INDEX IF NOT EXISTS open_tasks ON tasks (deadline) WHERE open;
CREATE INDEX IF NOT EXISTS group_members ON tasks (task_group_id, task_id);
CREATE TABLE IF NOT EXISTS runs (
    task_id TEXT NOT NULL, run_id INTEGER NOT NULL, state TEXT NOT NULL, reason_created TEXT NOT NULL,
    scheduled INSTANT NOT NULL, reason_resolved TEXT, worker_group TEXT, worker_id TEXT,
    taken_until INSTANT, started INSTANT, resolved INSTANT, PRIMARY KEY (task_id, run_id)
);
CREATE TABLE IF NOT EXISTS pending_runs (
    task_id TEXT PRIMARY KEY, run_id INTEGER NOT NULL, task_queue_id TEXT NOT NULL,
    rank INTEGER NOT NULL, deadline INSTANT NOT NULL, position INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS pending_order ON pending_runs (task_queue_id, rank DESC, position);
CREATE INDEX IF NOT EXISTS running_runs ON runs (taken_until) WHERE state = 'running';
CREATE TABLE IF NOT EXISTS dependencies (
    dependent_id TEXT NOT NULL, required_id TEXT NOT NULL, satisfied FLAG NOT NULL,
    PRIMARY KEY (dependent_id, required_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS dependents ON dependencies (required_id, dependent_id);
CREATE TABLE IF NOT EXISTS task_groups (
    task_group_id TEXT PRIMARY KEY, scheduler_id TEXT NOT NULL, expires INSTANT NOT NULL, sealed INSTANT
);
CREATE TABLE IF NOT EXISTS seen_workers (
    task_queue_id TEXT NOT NULL, worker_group TEXT NOT NULL, worker_id TEXT NOT NULL,
    first_claim INSTANT NOT NULL, last_date_active INSTANT NOT NULL, quarantine_until INSTANT,
    recent_tasks JSON NOT NULL, PRIMARY KEY (task_queue_id, worker_group, worker_id)
);

CREATE TABLE IF NOT EXISTS artifacts (
    task_id TEXT NOT NULL, run_id INTEGER NOT NULL, name TEXT NOT NULL, storage_type TEXT NOT NULL,
    content_type TEXT NOT NULL, content_length INTEGER, details JSON NOT NULL, expires INSTANT NOT NULL,
    present FLAG NOT NULL, PRIMARY KEY (task_id, run_id, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blobs (
    bucket TEXT NOT NULL, key TEXT NOT NULL, file_name TEXT NOT NULL, size_bytes INTEGER NOT NULL,
    content_type TEXT, content_encoding TEXT, modified INSTANT NOT NULL, PRIMARY KEY (bucket, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS small_contents (file_name TEXT PRIMARY KEY, content BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS objects (
    name TEXT PRIMARY KEY, project_id TEXT NOT NULL, upload_id TEXT NOT NULL, expires INSTANT NOT NULL,
    hashes JSON NOT NULL, finished FLAG NOT NULL DEFAULT 0
);

CREATE TABLE IF NOT EXISTS indexed_tasks (
    namespace TEXT PRIMARY KEY, parent TEXT NOT NULL, task_id TEXT NOT NULL, rank REAL NOT NULL,
    data JSON NOT NULL, expires INSTANT NOT NULL
);
CREATE INDEX IF NOT EXISTS indexed_parents ON indexed_tasks (parent, namespace);
CREATE TABLE IF NOT EXISTS secrets (name TEXT PRIMARY KEY, secret JSON NOT NULL, expires INSTANT NOT NULL);
CREATE TABLE IF NOT EXISTS purge_requests (
    worker_pool_id TEXT NOT NULL, cache_name TEXT NOT NULL, before INSTANT NOT NULL,
    expires INSTANT NOT NULL, PRIMARY KEY (worker_pool_id, cache_name)
);

CREATE TABLE IF NOT EXISTS worker_pools (
    worker_pool_id TEXT PRIMARY KEY, provider_id TEXT NOT NULL, description TEXT NOT NULL,
    config JSON NOT NULL, owner TEXT NOT NULL, email_on_error FLAG NOT NULL,
    created INSTANT NOT NULL, last_modified INSTANT NOT NULL
);
CREATE TABLE IF NOT EXISTS workers (
    worker_pool_id TEXT NOT NULL, worker_group TEXT NOT NULL, worker_id TEXT NOT NULL,
    state TEXT NOT NULL, capacity INTEGER NOT NULL, static_secret TEXT NOT NULL, secret TEXT,
    created INSTANT NOT NULL, expires INSTANT NOT NULL, last_modified INSTANT NOT NULL,
    PRIMARY KEY (worker_pool_id, worker_group, worker_id)
);
CREATE TABLE IF NOT EXISTS worker_errors (
    error_id TEXT PRIMARY KEY, worker_pool_id TEXT NOT NULL, reported INSTANT NOT NULL,
    kind TEXT NOT NULL, title TEXT NOT NULL, description TEXT NOT NULL, extra JSON NOT NULL
);
