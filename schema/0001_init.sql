-- The first migration: tenants, people, received DICOM, the artefact graph and the job queue.
--
-- Roles. The role that runs the migrations owns everything. Servers, intake and workers run as kerf_app, which owns
-- nothing, is no superuser and cannot bypass row-level security. Every tenant table carries organisation_id and one
-- policy; the transaction says which organisation it works for with set_config('kerf.organisation', id, true), and
-- without that every tenant table is empty. The few questions that must be asked before the organisation is known
-- (who signs in, whose peer is this, which job is next) are SECURITY DEFINER functions at the end of this file.

CREATE SCHEMA kerf;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'kerf_app') THEN
        CREATE ROLE kerf_app NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
    END IF;
END $$;
GRANT USAGE ON SCHEMA kerf TO kerf_app;

CREATE FUNCTION kerf.organisation() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT nullif(current_setting('kerf.organisation', true), '')::uuid $$;

-- ---------------------------------------------------------------------------------------------------- people
CREATE TABLE kerf.organisation (
    id          uuid PRIMARY KEY,
    name        text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE kerf.account (
    id               uuid PRIMARY KEY,
    organisation_id  uuid NOT NULL REFERENCES kerf.organisation,
    login            text NOT NULL CHECK (login = lower(login) AND length(login) BETWEEN 1 AND 200),
    display_name     text NOT NULL,
    role             text NOT NULL CHECK (role IN ('admin', 'technician', 'planner', 'surgeon', 'viewer')),
    password_hash    text NOT NULL,               -- argon2id, encoded form
    must_change      boolean NOT NULL DEFAULT false,
    failed_logins    integer NOT NULL DEFAULT 0,
    locked_until     timestamptz,
    disabled         boolean NOT NULL DEFAULT false,
    created_at       timestamptz NOT NULL DEFAULT now(),
    revision         integer NOT NULL DEFAULT 1,
    UNIQUE (login)                                -- a login names one account of the whole installation
);

CREATE TABLE kerf.session (
    id               uuid PRIMARY KEY,
    organisation_id  uuid NOT NULL REFERENCES kerf.organisation,
    account_id       uuid NOT NULL REFERENCES kerf.account,
    token_sha256     bytea NOT NULL UNIQUE,
    csrf_token       text NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    last_seen_at     timestamptz NOT NULL DEFAULT now(),
    expires_at       timestamptz NOT NULL
);

CREATE TABLE kerf.api_token (
    id               uuid PRIMARY KEY,
    organisation_id  uuid NOT NULL REFERENCES kerf.organisation,
    name             text NOT NULL,
    role             text NOT NULL CHECK (role IN ('admin', 'technician', 'planner', 'surgeon', 'viewer')),
    token_sha256     bytea NOT NULL UNIQUE,
    created_by       uuid REFERENCES kerf.account,
    created_at       timestamptz NOT NULL DEFAULT now(),
    expires_at       timestamptz,
    revoked_at       timestamptz,
    last_used_at     timestamptz
);

-- Who may send to us, and (later) where we send to. An address of NULL means any.
CREATE TABLE kerf.peer (
    id               uuid PRIMARY KEY,
    organisation_id  uuid NOT NULL REFERENCES kerf.organisation,
    name             text NOT NULL,
    ae_title         text NOT NULL CHECK (length(ae_title) BETWEEN 1 AND 16),  -- calling AE title; '*' means any
    called_ae_title  text NOT NULL DEFAULT '*',
    address          cidr,
    port             integer CHECK (port BETWEEN 1 AND 65535),
    tls              boolean NOT NULL DEFAULT false,
    may_store        boolean NOT NULL DEFAULT true,
    created_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (ae_title, called_ae_title, address)
);

-- ---------------------------------------------------------------------------------------------------- bytes
-- Immutable content-addressed bytes of one organisation. They lie at [location_offset, +bytes) of a container: an
-- intake segment holds many blobs, a job's output is a container of its own with offset 0.
CREATE TABLE kerf.blob (
    organisation_id  uuid NOT NULL REFERENCES kerf.organisation,
    sha256           bytea NOT NULL CHECK (length(sha256) = 32),
    bytes            bigint NOT NULL CHECK (bytes >= 0),
    container        text NOT NULL,
    location_offset  bigint NOT NULL DEFAULT 0,
    state            text NOT NULL DEFAULT 'local' CHECK (state IN ('local', 'replicated')),
    created_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organisation_id, sha256)
);

-- ---------------------------------------------------------------------------------------------------- cases and DICOM
CREATE TABLE kerf.cases (
    id               uuid PRIMARY KEY,
    organisation_id  uuid NOT NULL REFERENCES kerf.organisation,
    number           bigint GENERATED ALWAYS AS IDENTITY,   -- the short name that people say
    title            text NOT NULL DEFAULT '',
    state            text NOT NULL DEFAULT 'receiving'
                     CHECK (state IN ('receiving', 'processing', 'ready', 'attention', 'archived')),
    patient_id       text NOT NULL DEFAULT '',
    patient_issuer   text NOT NULL DEFAULT '',
    patient_name     text NOT NULL DEFAULT '',
    birth_date       text NOT NULL DEFAULT '',              -- as DICOM DA: YYYYMMDD or ''
    sex              text NOT NULL DEFAULT '',
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    revision         integer NOT NULL DEFAULT 1
);

CREATE TABLE kerf.study (
    id               uuid PRIMARY KEY,
    organisation_id  uuid NOT NULL REFERENCES kerf.organisation,
    case_id          uuid NOT NULL REFERENCES kerf.cases,
    study_uid        text NOT NULL,
    study_date       text NOT NULL DEFAULT '',
    study_time       text NOT NULL DEFAULT '',
    description      text NOT NULL DEFAULT '',
    accession        text NOT NULL DEFAULT '',
    created_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (organisation_id, study_uid)
);

CREATE TABLE kerf.series (
    id               uuid PRIMARY KEY,
    organisation_id  uuid NOT NULL REFERENCES kerf.organisation,
    case_id          uuid NOT NULL REFERENCES kerf.cases,
    study_id         uuid NOT NULL REFERENCES kerf.study,
    series_uid       text NOT NULL,
    modality         text NOT NULL DEFAULT '',
    series_number    integer,
    description      text NOT NULL DEFAULT '',
    body_part        text NOT NULL DEFAULT '',
    instance_count   integer NOT NULL DEFAULT 0,
    changed_at       timestamptz NOT NULL DEFAULT now(),    -- last time an instance came
    change_count     integer NOT NULL DEFAULT 0,            -- raised with every new instance
    imported_count   integer NOT NULL DEFAULT 0,            -- change_count when the last import was queued
    created_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (organisation_id, study_id, series_uid)
);
CREATE INDEX series_unimported ON kerf.series (changed_at) WHERE imported_count < change_count;
CREATE INDEX series_case ON kerf.series (case_id);

-- One received object. Identity: SOP Instance UID and the hash of transfer syntax and dataset (file meta left out).
CREATE TABLE kerf.instance (
    id               uuid PRIMARY KEY,
    organisation_id  uuid NOT NULL REFERENCES kerf.organisation,
    series_id        uuid NOT NULL REFERENCES kerf.series,
    sop_uid          text NOT NULL,
    sop_class        text NOT NULL,
    transfer_syntax  text NOT NULL,
    content_sha256   bytea NOT NULL CHECK (length(content_sha256) = 32),
    blob_sha256      bytea NOT NULL,                        -- the whole Part 10 file
    bytes            bigint NOT NULL,
    instance_number  integer,
    conflict         boolean NOT NULL DEFAULT false,        -- another instance has this UID and other bytes
    set_aside        text NOT NULL DEFAULT '',              -- reason it takes no part in volumes, or ''
    dicom_json       bytea NOT NULL,                        -- PS3.18 Annex F metadata, raw deflate
    frame_offsets    bytea NOT NULL DEFAULT '',             -- little-endian (uint64 offset, uint64 length) per frame, in the blob
    source           text NOT NULL CHECK (source IN ('dimse', 'stow', 'upload')),
    peer_ae          text NOT NULL DEFAULT '',
    peer_address     text NOT NULL DEFAULT '',
    association_id   uuid,
    received_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (organisation_id, sop_uid, content_sha256),
    FOREIGN KEY (organisation_id, blob_sha256) REFERENCES kerf.blob
);
CREATE INDEX instance_series ON kerf.instance (series_id);

-- ---------------------------------------------------------------------------------------------------- queue and artefacts
CREATE TABLE kerf.job (
    id               uuid PRIMARY KEY,
    organisation_id  uuid NOT NULL REFERENCES kerf.organisation,
    case_id          uuid NOT NULL REFERENCES kerf.cases,
    kind             text NOT NULL,
    version          integer NOT NULL,
    key              bytea NOT NULL CHECK (length(key) = 32),  -- SHA-256(organisation, kind, version, params, input contents)
    params           jsonb NOT NULL DEFAULT '{}',
    inputs           jsonb NOT NULL,     -- [{"name","sha256" (hex),"media_type","meta"}]
    follow           jsonb NOT NULL DEFAULT '[]',  -- what to queue when this is done, see server/queue/queue.h
    state            text NOT NULL DEFAULT 'queued'
                     CHECK (state IN ('queued', 'running', 'done', 'failed', 'dead', 'cancelled')),
    priority         integer NOT NULL DEFAULT 0,               -- higher first
    attempts         integer NOT NULL DEFAULT 0,
    max_attempts     integer NOT NULL DEFAULT 5,
    run_after        timestamptz NOT NULL DEFAULT now(),
    lease_until      timestamptz,
    fence            bigint NOT NULL DEFAULT 0,                -- raised with every claim; a stale worker's writes are refused
    worker           text NOT NULL DEFAULT '',
    cancel_requested boolean NOT NULL DEFAULT false,
    progress         real NOT NULL DEFAULT 0,
    stage            text NOT NULL DEFAULT '',
    error_code       text NOT NULL DEFAULT '',
    error_detail     text NOT NULL DEFAULT '',
    report           jsonb NOT NULL DEFAULT '{}',
    created_by       uuid REFERENCES kerf.account,
    created_at       timestamptz NOT NULL DEFAULT now(),
    started_at       timestamptz,
    finished_at      timestamptz
);
-- A job that waits, runs or is done is never queued twice; one that failed or was cancelled may be.
CREATE UNIQUE INDEX job_key ON kerf.job (organisation_id, case_id, key) WHERE state IN ('queued', 'running', 'done');
CREATE INDEX job_ready ON kerf.job (priority DESC, run_after) WHERE state = 'queued';
CREATE INDEX job_leases ON kerf.job (lease_until) WHERE state = 'running';
CREATE INDEX job_case ON kerf.job (case_id, created_at);

-- A named result in a case: the output `name` of a job, found by the job's key, identified by its content.
CREATE TABLE kerf.artefact (
    id               uuid PRIMARY KEY,
    organisation_id  uuid NOT NULL REFERENCES kerf.organisation,
    case_id          uuid NOT NULL REFERENCES kerf.cases,
    series_id        uuid REFERENCES kerf.series,              -- the series it descends from
    job_id           uuid NOT NULL REFERENCES kerf.job,
    key              bytea NOT NULL,                           -- the job's key
    name             text NOT NULL,
    kind             text NOT NULL,                            -- volume, volume.view, segmentation, segmentation.view, mesh, mesh.view, …
    content_sha256   bytea NOT NULL,
    bytes            bigint NOT NULL,
    media_type       text NOT NULL,
    meta             jsonb NOT NULL DEFAULT '{}',
    superseded       boolean NOT NULL DEFAULT false,           -- an import of a grown series replaced it
    created_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (organisation_id, case_id, key, name),
    FOREIGN KEY (organisation_id, content_sha256) REFERENCES kerf.blob
);
CREATE INDEX artefact_case ON kerf.artefact (case_id, kind);
CREATE INDEX artefact_content ON kerf.artefact (organisation_id, content_sha256);

-- What happened, in order, for the live stream (server-sent events resume from an id).
CREATE TABLE kerf.event (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organisation_id  uuid NOT NULL REFERENCES kerf.organisation,
    case_id          uuid,
    kind             text NOT NULL,                            -- case.changed, job.changed, artefact.made, instance.received, …
    body             jsonb NOT NULL DEFAULT '{}',              -- ids, states and counts only: no patient data
    created_at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX event_created ON kerf.event (created_at);
