-- The first migration: tenants, people, received DICOM, the artefact graph and the job queue.
--
-- Roles. The role that runs the migrations owns everything. Servers, intake and workers run as kerf_app, which owns
-- nothing, is no superuser and cannot bypass row-level security. Every tenant table carries organisation_id and one
-- policy; the transaction says which organisation it works for with set_config('kerf.organisation', id, true), and
-- without that every tenant table is empty. The few questions that must be asked before the organisation is known
-- (who signs in, whose peer is this, which job is next) are SECURITY DEFINER functions at the end of this file.
--
-- References between tenant tables carry the organisation too: foreign keys are checked behind row-level security, and
-- a bare id would let a row point into another organisation.
--
-- Failures that callers must tell apart are raised as SQLSTATE KF001 (stale lease) or KFnnn (nnn an HTTP status),
-- with a code as the message.

CREATE SCHEMA kerf;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'kerf_app') THEN
        CREATE ROLE kerf_app NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
    END IF;
    -- Roles belong to the whole cluster: another database of it may be migrated at the same moment.
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END $$;
DO $$
BEGIN
    -- So that an owner who is no superuser can hand its connections over to kerf_app. (From PostgreSQL 16 on, who makes a
    -- role is a member of it without the right to become it.)
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT kerf_app TO %I', current_user);
    END IF;
END $$;
GRANT USAGE ON SCHEMA kerf TO kerf_app;

CREATE FUNCTION kerf.organisation() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT nullif(current_setting('kerf.organisation', true), '')::uuid $$;

-- UUIDv7 (RFC 9562): time first, so that new rows lie together in the indexes.
CREATE FUNCTION kerf.new_id() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE
    AS $$ SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
              PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
              FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid $$;

CREATE TABLE kerf.schema_migration (
    version     integer PRIMARY KEY,
    name        text NOT NULL,
    sha256      bytea NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now()
);

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
    display_name     text NOT NULL CHECK (length(display_name) <= 200),
    role             text NOT NULL CHECK (role IN ('admin', 'technician', 'planner', 'surgeon', 'viewer')),
    password_hash    text NOT NULL,               -- argon2id, encoded form
    must_change      boolean NOT NULL DEFAULT false,
    failed_logins    integer NOT NULL DEFAULT 0,
    locked_until     timestamptz,
    disabled         boolean NOT NULL DEFAULT false,
    created_at       timestamptz NOT NULL DEFAULT now(),
    revision         integer NOT NULL DEFAULT 1,
    UNIQUE (login),                               -- a login names one account of the whole installation
    UNIQUE (organisation_id, id)
);

CREATE TABLE kerf.session (
    id               uuid PRIMARY KEY,
    organisation_id  uuid NOT NULL REFERENCES kerf.organisation,
    account_id       uuid NOT NULL,
    token_sha256     bytea NOT NULL UNIQUE CHECK (length(token_sha256) = 32),
    csrf_token       text NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    last_seen_at     timestamptz NOT NULL DEFAULT now(),
    expires_at       timestamptz NOT NULL,
    FOREIGN KEY (organisation_id, account_id) REFERENCES kerf.account (organisation_id, id)
);
CREATE INDEX session_account ON kerf.session (account_id);
CREATE INDEX session_expires ON kerf.session (expires_at);

CREATE TABLE kerf.api_token (
    id               uuid PRIMARY KEY,
    organisation_id  uuid NOT NULL REFERENCES kerf.organisation,
    name             text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    role             text NOT NULL CHECK (role IN ('admin', 'technician', 'planner', 'surgeon', 'viewer')),
    token_sha256     bytea NOT NULL UNIQUE CHECK (length(token_sha256) = 32),
    created_by       uuid,
    created_at       timestamptz NOT NULL DEFAULT now(),
    expires_at       timestamptz,
    revoked_at       timestamptz,
    last_used_at     timestamptz,
    FOREIGN KEY (organisation_id, created_by) REFERENCES kerf.account (organisation_id, id)
);
CREATE INDEX api_token_organisation ON kerf.api_token (organisation_id);

-- Who may send to us, and (later) where we send to. An address of NULL means any.
CREATE TABLE kerf.peer (
    id               uuid PRIMARY KEY,
    organisation_id  uuid NOT NULL REFERENCES kerf.organisation,
    name             text NOT NULL CHECK (length(name) <= 200),
    ae_title         text NOT NULL CHECK (length(ae_title) BETWEEN 1 AND 16),  -- calling AE title; '*' means any
    called_ae_title  text NOT NULL DEFAULT '*' CHECK (length(called_ae_title) BETWEEN 1 AND 16),
    address          cidr,
    port             integer CHECK (port BETWEEN 1 AND 65535),
    tls              boolean NOT NULL DEFAULT false,
    may_store        boolean NOT NULL DEFAULT true,
    created_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (ae_title, called_ae_title, address)
);

-- Answers to POST requests that carried an Idempotency-Key, kept for a day.
CREATE TABLE kerf.idempotency (
    organisation_id  uuid NOT NULL REFERENCES kerf.organisation,
    actor            text NOT NULL,                     -- account or token that asked
    key              text NOT NULL CHECK (length(key) BETWEEN 1 AND 200),
    request_sha256   bytea NOT NULL,                    -- of method, path and body: the key is good for this request only
    status           integer NOT NULL DEFAULT 0,        -- 0: being worked on
    content_type     text NOT NULL DEFAULT '',
    location         text NOT NULL DEFAULT '',
    body             bytea NOT NULL DEFAULT '',
    created_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organisation_id, actor, key)
);
CREATE INDEX idempotency_created ON kerf.idempotency (created_at);

-- ---------------------------------------------------------------------------------------------------- bytes
-- Immutable content-addressed bytes of one organisation. They lie at [location_offset, +bytes) of a container: an
-- intake segment holds many blobs, a job's output is a container of its own with offset 0.
CREATE TABLE kerf.blob (
    organisation_id  uuid NOT NULL REFERENCES kerf.organisation,
    sha256           bytea NOT NULL CHECK (length(sha256) = 32),
    bytes            bigint NOT NULL CHECK (bytes >= 0),
    container        text NOT NULL CHECK (length(container) BETWEEN 1 AND 127),
    location_offset  bigint NOT NULL DEFAULT 0 CHECK (location_offset >= 0),
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
    revision         integer NOT NULL DEFAULT 1,
    UNIQUE (organisation_id, id)
);
CREATE INDEX cases_newest ON kerf.cases (organisation_id, updated_at DESC, id DESC);
CREATE INDEX cases_patient ON kerf.cases (organisation_id, patient_id);

CREATE TABLE kerf.study (
    id               uuid PRIMARY KEY,
    organisation_id  uuid NOT NULL REFERENCES kerf.organisation,
    case_id          uuid NOT NULL,
    study_uid        text NOT NULL,
    study_date       text NOT NULL DEFAULT '',
    study_time       text NOT NULL DEFAULT '',
    description      text NOT NULL DEFAULT '',
    accession        text NOT NULL DEFAULT '',
    created_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (organisation_id, study_uid),
    UNIQUE (organisation_id, id),
    FOREIGN KEY (organisation_id, case_id) REFERENCES kerf.cases (organisation_id, id)
);
CREATE INDEX study_case ON kerf.study (case_id);

CREATE TABLE kerf.series (
    id               uuid PRIMARY KEY,
    organisation_id  uuid NOT NULL REFERENCES kerf.organisation,
    case_id          uuid NOT NULL,
    study_id         uuid NOT NULL,
    series_uid       text NOT NULL,
    modality         text NOT NULL DEFAULT '',
    series_number    integer,
    description      text NOT NULL DEFAULT '',
    body_part        text NOT NULL DEFAULT '',
    -- Of the instances that imports have taken; those that wait are counted in kerf.instance, so that receiving an
    -- instance changes no row that another sender needs.
    instance_count   integer NOT NULL DEFAULT 0,
    changed_at       timestamptz NOT NULL DEFAULT now(),
    created_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (organisation_id, study_id, series_uid),
    UNIQUE (organisation_id, id),
    FOREIGN KEY (organisation_id, case_id) REFERENCES kerf.cases (organisation_id, id),
    FOREIGN KEY (organisation_id, study_id) REFERENCES kerf.study (organisation_id, id)
);
CREATE INDEX series_case ON kerf.series (case_id);

-- One received object. Identity: SOP Instance UID and the hash of transfer syntax and dataset (file meta left out).
CREATE TABLE kerf.instance (
    id               uuid PRIMARY KEY,
    organisation_id  uuid NOT NULL,                         -- the series has the same, and refers to it
    series_id        uuid NOT NULL,
    sop_uid          text NOT NULL,
    sop_class        text NOT NULL,
    transfer_syntax  text NOT NULL,
    content_sha256   bytea NOT NULL CHECK (length(content_sha256) = 32),
    blob_sha256      bytea NOT NULL,                        -- the whole Part 10 file
    bytes            bigint NOT NULL,
    instance_number  integer,
    conflict         boolean NOT NULL DEFAULT false,        -- another instance has this UID and other bytes
    set_aside        text NOT NULL DEFAULT '',              -- reason it takes no part in volumes, or ''
    queued           boolean NOT NULL DEFAULT false,        -- an import over it has been queued
    dicom_json       bytea NOT NULL,                        -- PS3.18 Annex F metadata, raw deflate
    frame_offsets    bytea NOT NULL DEFAULT '',             -- little-endian uint64 (offset, length) per frame
    source           text NOT NULL CHECK (source IN ('dimse', 'stow', 'upload')),
    peer_ae          text NOT NULL DEFAULT '',
    peer_address     text NOT NULL DEFAULT '',
    association_id   uuid,
    received_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (organisation_id, sop_uid, content_sha256),
    FOREIGN KEY (organisation_id, series_id) REFERENCES kerf.series (organisation_id, id),
    FOREIGN KEY (organisation_id, blob_sha256) REFERENCES kerf.blob
);
CREATE INDEX instance_mismatch ON kerf.instance (series_id) WHERE set_aside = 'patient_mismatch';
CREATE INDEX instance_blob ON kerf.instance (organisation_id, blob_sha256);
CREATE INDEX instance_series ON kerf.instance (series_id);
CREATE INDEX instance_waiting ON kerf.instance (series_id, received_at) WHERE NOT queued;

-- ---------------------------------------------------------------------------------------------------- queue, artefacts
CREATE TABLE kerf.job (
    id               uuid PRIMARY KEY,
    organisation_id  uuid NOT NULL REFERENCES kerf.organisation,
    case_id          uuid NOT NULL,
    series_id        uuid,               -- the series that its results descend from
    kind             text NOT NULL,
    version          integer NOT NULL,
    key              bytea NOT NULL CHECK (length(key) = 32),  -- of organisation, kind, version, params, inputs
    params           jsonb NOT NULL DEFAULT '{}',
    inputs           jsonb NOT NULL,     -- [{"name","sha256" (hex),"media_type","meta"}]
    follow           jsonb NOT NULL DEFAULT '[]',  -- what to queue when this is done, see server/queue/queue.h
    supersedes       boolean NOT NULL DEFAULT false,  -- its results replace those of the series' earlier such jobs
    state            text NOT NULL DEFAULT 'queued'
                     CHECK (state IN ('queued', 'running', 'done', 'failed', 'dead', 'cancelled')),
    priority         integer NOT NULL DEFAULT 0,               -- higher first
    attempts         integer NOT NULL DEFAULT 0,
    max_attempts     integer NOT NULL DEFAULT 5,
    run_after        timestamptz NOT NULL DEFAULT now(),
    lease_until      timestamptz,
    fence            bigint NOT NULL DEFAULT 0,                -- raised with every claim: older holders are stale
    worker           text NOT NULL DEFAULT '',
    cancel_requested boolean NOT NULL DEFAULT false,
    progress         real NOT NULL DEFAULT 0,
    stage            text NOT NULL DEFAULT '',
    error_code       text NOT NULL DEFAULT '',
    error_detail     text NOT NULL DEFAULT '',
    report           jsonb NOT NULL DEFAULT '{}',
    created_by       uuid,
    created_at       timestamptz NOT NULL DEFAULT now(),
    started_at       timestamptz,
    finished_at      timestamptz,
    UNIQUE (organisation_id, id),
    FOREIGN KEY (organisation_id, case_id) REFERENCES kerf.cases (organisation_id, id),
    FOREIGN KEY (organisation_id, series_id) REFERENCES kerf.series (organisation_id, id),
    FOREIGN KEY (organisation_id, created_by) REFERENCES kerf.account (organisation_id, id)
);
-- A job that waits, runs or is done is never queued twice; one that failed or was cancelled may be.
CREATE UNIQUE INDEX job_key ON kerf.job (organisation_id, case_id, key) WHERE state IN ('queued', 'running', 'done');
CREATE INDEX job_ready ON kerf.job (priority DESC, run_after) WHERE state = 'queued';
CREATE INDEX job_leases ON kerf.job (lease_until) WHERE state = 'running';
CREATE INDEX job_case ON kerf.job (case_id, created_at);
CREATE INDEX job_key_done ON kerf.job (organisation_id, key) WHERE state = 'done';
CREATE INDEX job_dead ON kerf.job (organisation_id, finished_at) WHERE state = 'dead';

-- A named result in a case: the output `name` of a job, found by the job's key, identified by its content.
CREATE TABLE kerf.artefact (
    id               uuid PRIMARY KEY,
    organisation_id  uuid NOT NULL REFERENCES kerf.organisation,
    case_id          uuid NOT NULL,
    series_id        uuid,                                     -- the series it descends from
    job_id           uuid NOT NULL,
    key              bytea NOT NULL,                           -- the job's key
    name             text NOT NULL,
    kind             text NOT NULL,                            -- volume, volume.view, segmentation, mesh, …
    content_sha256   bytea NOT NULL,
    bytes            bigint NOT NULL,
    media_type       text NOT NULL,
    meta             jsonb NOT NULL DEFAULT '{}',
    superseded       boolean NOT NULL DEFAULT false,           -- an import of a grown series replaced it
    created_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (organisation_id, case_id, key, name),
    FOREIGN KEY (organisation_id, case_id) REFERENCES kerf.cases (organisation_id, id),
    FOREIGN KEY (organisation_id, series_id) REFERENCES kerf.series (organisation_id, id),
    FOREIGN KEY (organisation_id, job_id) REFERENCES kerf.job (organisation_id, id),
    FOREIGN KEY (organisation_id, content_sha256) REFERENCES kerf.blob
);
CREATE INDEX artefact_case ON kerf.artefact (case_id, kind);
CREATE INDEX artefact_content ON kerf.artefact (organisation_id, content_sha256);
CREATE INDEX artefact_job ON kerf.artefact (job_id);

-- What happened, in order, for the live stream (server-sent events resume from an id).
CREATE TABLE kerf.event (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organisation_id  uuid NOT NULL REFERENCES kerf.organisation,
    case_id          uuid,
    kind             text NOT NULL,                            -- case.changed, job.changed, artefact.made, …
    body             jsonb NOT NULL DEFAULT '{}',              -- ids, states and counts only: no patient data
    created_at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX event_created ON kerf.event (created_at);
CREATE INDEX event_organisation ON kerf.event (organisation_id, id);

-- ---------------------------------------------------------------------------------------------------- tenancy
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['account', 'session', 'api_token', 'peer', 'idempotency', 'blob', 'cases', 'study',
                                'series', 'instance', 'job', 'artefact', 'event'] LOOP
        EXECUTE format('ALTER TABLE kerf.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant ON kerf.%I USING (organisation_id = kerf.organisation()) '
                       'WITH CHECK (organisation_id = kerf.organisation())', name);
    END LOOP;
END $$;
ALTER TABLE kerf.organisation ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON kerf.organisation USING (id = kerf.organisation()) WITH CHECK (id = kerf.organisation());

GRANT SELECT ON kerf.schema_migration, kerf.organisation TO kerf_app;
GRANT SELECT, INSERT, UPDATE ON kerf.account, kerf.api_token, kerf.cases, kerf.series, kerf.job TO kerf_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON kerf.session, kerf.peer, kerf.idempotency TO kerf_app;
GRANT SELECT, INSERT ON kerf.blob, kerf.study, kerf.instance, kerf.artefact, kerf.event TO kerf_app;
GRANT UPDATE (conflict, set_aside, queued) ON kerf.instance TO kerf_app;
GRANT UPDATE (superseded) ON kerf.artefact TO kerf_app;

-- ---------------------------------------------------------------------------------------------------- events
CREATE FUNCTION kerf.event_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('kerf_event', NEW.organisation_id || ' ' || NEW.id);
    RETURN NULL;
END $$;
CREATE TRIGGER event_notify AFTER INSERT ON kerf.event FOR EACH ROW EXECUTE FUNCTION kerf.event_notify();

CREATE FUNCTION kerf.case_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO kerf.event (organisation_id, case_id, kind, body)
    VALUES (NEW.organisation_id, NEW.id, CASE TG_OP WHEN 'INSERT' THEN 'case.created' ELSE 'case.changed' END,
            jsonb_build_object('case_id', NEW.id, 'state', NEW.state));
    RETURN NULL;
END $$;
CREATE TRIGGER case_created AFTER INSERT ON kerf.cases FOR EACH ROW EXECUTE FUNCTION kerf.case_changed();
CREATE TRIGGER case_changed AFTER UPDATE ON kerf.cases FOR EACH ROW
    WHEN (OLD.revision IS DISTINCT FROM NEW.revision) EXECUTE FUNCTION kerf.case_changed();

CREATE FUNCTION kerf.job_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO kerf.event (organisation_id, case_id, kind, body)
    VALUES (NEW.organisation_id, NEW.case_id, 'job.changed',
            jsonb_build_object('case_id', NEW.case_id, 'job_id', NEW.id, 'kind', NEW.kind, 'state', NEW.state,
                               'progress', round(NEW.progress::numeric, 3), 'stage', NEW.stage));
    IF NEW.state = 'queued' THEN
        PERFORM pg_notify('kerf_job', 'queued ' || NEW.kind);
    ELSIF NEW.state = 'running' AND NEW.cancel_requested THEN
        PERFORM pg_notify('kerf_job', 'cancel ' || NEW.id);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER job_queued AFTER INSERT ON kerf.job FOR EACH ROW EXECUTE FUNCTION kerf.job_changed();
CREATE TRIGGER job_changed AFTER UPDATE ON kerf.job FOR EACH ROW
    WHEN ((OLD.state, OLD.progress, OLD.stage, OLD.cancel_requested)
          IS DISTINCT FROM (NEW.state, NEW.progress, NEW.stage, NEW.cancel_requested))
    EXECUTE FUNCTION kerf.job_changed();

CREATE FUNCTION kerf.artefact_made() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO kerf.event (organisation_id, case_id, kind, body)
    VALUES (NEW.organisation_id, NEW.case_id, 'artefact.made',
            jsonb_build_object('case_id', NEW.case_id, 'artefact_id', NEW.id, 'kind', NEW.kind, 'name', NEW.name));
    RETURN NULL;
END $$;
CREATE TRIGGER artefact_made AFTER INSERT ON kerf.artefact FOR EACH ROW EXECUTE FUNCTION kerf.artefact_made();

-- The state that a case's series and jobs amount to. A failure counts until the same thing was tried again; a foreign
-- patient's images count for as long as they are there.
-- Locks: first the case, then what lies below it, so that nobody waits for somebody who waits for them. They are NO KEY
-- everywhere: foreign keys hold KEY SHARE on the case in every transaction that adds a row below it, and two of those
-- that then wanted the row for themselves would wait for each other.
CREATE FUNCTION kerf.derive_case(p_case uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_old text;
    v_new text;
BEGIN
    SELECT state INTO v_old FROM kerf.cases WHERE id = p_case FOR NO KEY UPDATE;
    IF v_old IS NULL OR v_old = 'archived' THEN
        RETURN;
    END IF;
    v_new := CASE
        WHEN EXISTS (SELECT FROM kerf.job WHERE case_id = p_case AND state IN ('queued', 'running')) THEN 'processing'
        WHEN EXISTS (SELECT FROM kerf.series s JOIN kerf.instance i ON i.series_id = s.id AND NOT i.queued
                     WHERE s.case_id = p_case) THEN 'receiving'
        WHEN EXISTS (SELECT FROM kerf.job f WHERE f.case_id = p_case AND f.state IN ('failed', 'dead')
                     AND NOT EXISTS (SELECT FROM kerf.job n WHERE n.case_id = p_case AND n.created_at > f.created_at
                                     AND n.series_id IS NOT DISTINCT FROM f.series_id AND n.state <> 'cancelled'
                                     AND (n.supersedes OR (n.kind = f.kind
                                          AND n.inputs->0->>'sha256' IS NOT DISTINCT FROM f.inputs->0->>'sha256'))))
            THEN 'attention'
        WHEN EXISTS (SELECT FROM kerf.series s JOIN kerf.instance i ON i.series_id = s.id
                     WHERE s.case_id = p_case AND i.set_aside = 'patient_mismatch') THEN 'attention'
        WHEN EXISTS (SELECT FROM kerf.job WHERE case_id = p_case)
          OR EXISTS (SELECT FROM kerf.series WHERE case_id = p_case) THEN 'ready'
        ELSE 'receiving' END;
    IF v_new <> v_old THEN
        UPDATE kerf.cases SET state = v_new, updated_at = clock_timestamp(), revision = revision + 1 WHERE id = p_case;
    END IF;
END $$;

-- ---------------------------------------------------------------------------------------------------- receiving
-- The case of a new study: the newest of the same patient that is not archived, else a new one.
CREATE FUNCTION kerf.case_for_patient(p_org uuid, p_id text, p_issuer text, p_name text, p_birth text, p_sex text,
                                      p_title text)
    RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    v_case uuid;
BEGIN
    IF p_id <> '' THEN
        -- Two studies of one patient that arrive at the same moment must meet.
        PERFORM pg_advisory_xact_lock(hashtextextended(p_org || '/' || p_id, 2));
        SELECT id INTO v_case FROM kerf.cases
            WHERE organisation_id = p_org AND patient_id = p_id AND patient_issuer = p_issuer AND birth_date = p_birth
              AND sex = p_sex AND state <> 'archived'
            ORDER BY number DESC LIMIT 1;
    END IF;
    IF v_case IS NULL THEN
        v_case := kerf.new_id();
        INSERT INTO kerf.cases (id, organisation_id, title, patient_id, patient_issuer, patient_name, birth_date, sex)
            VALUES (v_case, p_org, p_title, p_id, p_issuer, p_name, p_birth, p_sex);
    END IF;
    RETURN v_case;
END $$;

CREATE FUNCTION kerf.receive_instance(
    p_patient_id text, p_patient_issuer text, p_patient_name text, p_birth_date text, p_sex text,
    p_study_uid text, p_study_date text, p_study_time text, p_study_description text, p_accession text,
    p_series_uid text, p_modality text, p_series_description text, p_body_part text, p_series_number integer,
    p_sop_uid text, p_sop_class text, p_transfer_syntax text, p_set_aside text, p_instance_number integer,
    p_content bytea, p_dicom_json bytea, p_frame_offsets bytea,
    p_source text, p_peer_ae text, p_peer_address text, p_association uuid,
    p_blob bytea, p_bytes bigint, p_container text, p_offset bigint, p_announce boolean)
    RETURNS TABLE (r_outcome text, r_blob_used boolean, r_patient_differs boolean,
                   r_instance uuid, r_series uuid, r_study uuid, r_case uuid)
    LANGUAGE plpgsql AS $$
DECLARE
    v_org uuid := kerf.organisation();
    v_state text;
BEGIN
    IF v_org IS NULL THEN
        RAISE EXCEPTION 'no_organisation' USING ERRCODE = 'KF403';
    END IF;
    -- Two objects with one UID are looked at one after the other, else neither would see that they differ.
    PERFORM pg_advisory_xact_lock(hashtextextended(v_org || '/' || p_sop_uid, 1));
    r_patient_differs := false;
    SELECT i.id, i.series_id, s.study_id, s.case_id INTO r_instance, r_series, r_study, r_case
        FROM kerf.instance i JOIN kerf.series s ON s.id = i.series_id
        WHERE i.organisation_id = v_org AND i.sop_uid = p_sop_uid AND i.content_sha256 = p_content;
    IF FOUND THEN
        r_outcome := 'duplicate';
        r_blob_used := false;
        RETURN NEXT;
        RETURN;
    END IF;

    -- Where it belongs. The usual case first: the series is known.
    SELECT s.id, t.id, t.case_id INTO r_series, r_study, r_case
        FROM kerf.study t JOIN kerf.series s
          ON s.organisation_id = v_org AND s.study_id = t.id AND s.series_uid = p_series_uid
        WHERE t.organisation_id = v_org AND t.study_uid = p_study_uid;
    IF NOT FOUND THEN
        p_announce := true;
        PERFORM pg_advisory_xact_lock(hashtextextended(v_org || '/' || p_study_uid, 3));
        SELECT t.id, t.case_id INTO r_study, r_case
            FROM kerf.study t WHERE t.organisation_id = v_org AND t.study_uid = p_study_uid;
        IF NOT FOUND THEN
            r_case := kerf.case_for_patient(v_org, p_patient_id, p_patient_issuer, p_patient_name, p_birth_date, p_sex,
                                            p_study_description);
            r_study := kerf.new_id();
            INSERT INTO kerf.study (id, organisation_id, case_id, study_uid, study_date, study_time, description,
                                    accession)
                VALUES (r_study, v_org, r_case, p_study_uid, p_study_date, p_study_time, p_study_description,
                        p_accession);
        END IF;
        INSERT INTO kerf.series (id, organisation_id, case_id, study_id, series_uid, modality, series_number,
                                 description, body_part)
            VALUES (kerf.new_id(), v_org, r_case, r_study, p_series_uid, p_modality, p_series_number,
                    p_series_description, p_body_part)
            ON CONFLICT (organisation_id, study_id, series_uid) DO NOTHING;
        SELECT s.id INTO STRICT r_series FROM kerf.series s
            WHERE s.organisation_id = v_org AND s.study_id = r_study AND s.series_uid = p_series_uid;
    END IF;

    -- The same study with another patient in it: kept, but it takes part in nothing until a person has looked.
    SELECT c.state, (c.patient_id <> p_patient_id AND c.patient_id <> '' AND p_patient_id <> '')
            OR (c.patient_issuer <> p_patient_issuer AND c.patient_issuer <> '' AND p_patient_issuer <> '')
            OR (c.birth_date <> p_birth_date AND c.birth_date <> '' AND p_birth_date <> '')
            OR (c.sex <> p_sex AND c.sex <> '' AND p_sex <> '')
        INTO STRICT v_state, r_patient_differs FROM kerf.cases c WHERE c.id = r_case;
    IF r_patient_differs AND p_set_aside = '' THEN
        p_set_aside := 'patient_mismatch';
    END IF;
    -- The case before what lies below it, as everywhere: two that lock in different orders would wait for each other.
    IF v_state IN ('ready', 'attention') THEN
        UPDATE kerf.cases c SET state = 'receiving', updated_at = clock_timestamp(), revision = c.revision + 1
            WHERE c.id = r_case AND c.state = v_state;
    END IF;

    INSERT INTO kerf.blob (organisation_id, sha256, bytes, container, location_offset)
        VALUES (v_org, p_blob, p_bytes, p_container, p_offset) ON CONFLICT DO NOTHING;
    r_blob_used := FOUND;

    UPDATE kerf.instance i SET conflict = true WHERE i.organisation_id = v_org AND i.sop_uid = p_sop_uid;
    r_outcome := CASE WHEN FOUND THEN 'conflict' ELSE 'stored' END;
    r_instance := kerf.new_id();
    INSERT INTO kerf.instance (id, organisation_id, series_id, sop_uid, sop_class, transfer_syntax, content_sha256,
                               blob_sha256, bytes, instance_number, conflict, set_aside, dicom_json, frame_offsets,
                               source, peer_ae, peer_address, association_id)
        VALUES (r_instance, v_org, r_series, p_sop_uid, p_sop_class, p_transfer_syntax, p_content, p_blob, p_bytes,
                p_instance_number, r_outcome = 'conflict', p_set_aside, p_dicom_json, p_frame_offsets, p_source,
                p_peer_ae, p_peer_address, p_association);

    IF p_announce THEN
        INSERT INTO kerf.event (organisation_id, case_id, kind, body)
            SELECT v_org, r_case, 'instance.received', jsonb_build_object('case_id', r_case, 'series_id', r_series,
                   'count', s.instance_count + (SELECT count(*) FROM kerf.instance i
                                                WHERE i.series_id = r_series AND NOT i.queued))
            FROM kerf.series s WHERE s.id = r_series;
    END IF;
    RETURN NEXT;
END $$;

-- ---------------------------------------------------------------------------------------------------- ending a job
-- p_state: done, failed, cancelled, or retry (queued again after a growing, jittered pause; dead when the attempts are
-- used up). Whoever holds an older fence is stale and has changed nothing. Returns the state that came of it.
CREATE FUNCTION kerf.end_job(p_id uuid, p_fence bigint, p_state text, p_code text, p_detail text, p_report jsonb)
    RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_state text := p_state;
    v_attempts integer;
    v_most integer;
BEGIN
    SELECT attempts, max_attempts INTO v_attempts, v_most FROM kerf.job
        WHERE id = p_id AND fence = p_fence AND state = 'running' FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'stale_lease' USING ERRCODE = 'KF001';
    END IF;
    IF p_state = 'retry' THEN
        v_state := CASE WHEN v_attempts >= v_most THEN 'dead' ELSE 'queued' END;
    END IF;
    UPDATE kerf.job SET
        state = v_state, error_code = p_code, error_detail = p_detail, report = p_report, lease_until = NULL,
        cancel_requested = false,
        progress = CASE WHEN v_state = 'done' THEN 1 WHEN v_state = 'queued' THEN 0 ELSE progress END,
        stage = CASE WHEN v_state IN ('done', 'queued') THEN '' ELSE stage END,
        run_after = CASE WHEN v_state = 'queued' THEN clock_timestamp() + kerf.backoff(v_attempts) ELSE run_after END,
        finished_at = CASE WHEN v_state = 'queued' THEN NULL ELSE clock_timestamp() END
        WHERE id = p_id;
    RETURN v_state;
END $$;

CREATE FUNCTION kerf.backoff(p_attempts integer) RETURNS interval LANGUAGE sql VOLATILE
    AS $$ SELECT least(300, 2 * power(2, greatest(0, least(p_attempts - 1, 20)))) * (0.5 + random())
              * interval '1 second' $$;

-- ---------------------------------------------------------------------------------------------------- no organisation yet
-- What must be asked before the organisation is known.
-- Each answers one narrow question with the owner's rights. They take no SQL and no names, pin their search_path, and
-- only kerf_app may call them.

CREATE FUNCTION kerf.session_find(p_token bytea, p_idle_s double precision)
    RETURNS TABLE (r_session uuid, r_organisation uuid, r_organisation_name text, r_account uuid, r_login text,
                   r_display_name text, r_role text, r_csrf text, r_must_change boolean, r_expires timestamptz)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = kerf, pg_temp AS $$
DECLARE
    v_seen timestamptz;
BEGIN
    SELECT s.id, s.organisation_id, o.name, a.id, a.login, a.display_name, a.role, s.csrf_token, a.must_change,
           s.expires_at, s.last_seen_at
        INTO r_session, r_organisation, r_organisation_name, r_account, r_login, r_display_name, r_role, r_csrf,
             r_must_change, r_expires, v_seen
        FROM session s JOIN account a ON a.id = s.account_id JOIN organisation o ON o.id = s.organisation_id
        WHERE s.token_sha256 = p_token AND s.expires_at > now() AND NOT a.disabled
          AND s.last_seen_at > now() - p_idle_s * interval '1 second';
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF v_seen < now() - interval '1 minute' THEN
        UPDATE session SET last_seen_at = now() WHERE id = r_session;
    END IF;
    RETURN NEXT;
END $$;

CREATE FUNCTION kerf.token_find(p_token bytea)
    RETURNS TABLE (r_token uuid, r_organisation uuid, r_organisation_name text, r_name text, r_role text,
                   r_expires timestamptz)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = kerf, pg_temp AS $$
DECLARE
    v_used timestamptz;
BEGIN
    SELECT t.id, t.organisation_id, o.name, t.name, t.role, t.expires_at, t.last_used_at
        INTO r_token, r_organisation, r_organisation_name, r_name, r_role, r_expires, v_used
        FROM api_token t JOIN organisation o ON o.id = t.organisation_id
        WHERE t.token_sha256 = p_token AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now());
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF v_used IS NULL OR v_used < now() - interval '1 minute' THEN
        UPDATE api_token SET last_used_at = now() WHERE id = r_token;
    END IF;
    RETURN NEXT;
END $$;

CREATE FUNCTION kerf.login_find(p_login text)
    RETURNS TABLE (r_account uuid, r_organisation uuid, r_password_hash text, r_disabled boolean, r_must_change boolean,
                   r_failed integer, r_locked_s double precision)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kerf, pg_temp AS $$
    SELECT id, organisation_id, password_hash, disabled, must_change, failed_logins,
           greatest(0, coalesce(extract(epoch FROM locked_until - clock_timestamp()), 0))::double precision
        FROM account WHERE login = lower(p_login) $$;

CREATE FUNCTION kerf.login_failed(p_account uuid, p_threshold integer, p_base_s double precision,
                                  p_most_s double precision)
    RETURNS double precision LANGUAGE plpgsql SECURITY DEFINER SET search_path = kerf, pg_temp AS $$
DECLARE
    v_failed integer;
    v_lock double precision := 0;
BEGIN
    UPDATE account SET failed_logins = least(failed_logins, 1000000) + 1 WHERE id = p_account
        RETURNING failed_logins INTO v_failed;
    IF v_failed >= p_threshold THEN
        v_lock := least(p_most_s, p_base_s * power(2, least(v_failed - p_threshold, 30)));
        UPDATE account SET locked_until = clock_timestamp() + v_lock * interval '1 second' WHERE id = p_account;
    END IF;
    RETURN v_lock;
END $$;

CREATE FUNCTION kerf.login_succeeded(p_account uuid)
    RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = kerf, pg_temp AS $$
    UPDATE account SET failed_logins = 0, locked_until = NULL
        WHERE id = p_account AND (failed_logins <> 0 OR locked_until IS NOT NULL) $$;

CREATE FUNCTION kerf.peer_find(p_calling text, p_called text, p_address inet)
    RETURNS TABLE (r_peer uuid, r_organisation uuid, r_tls boolean, r_may_store boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kerf, pg_temp AS $$
    SELECT id, organisation_id, tls, may_store FROM peer
        WHERE ae_title IN (p_calling, '*') AND called_ae_title IN (p_called, '*')
          AND (address IS NULL OR p_address <<= address)
        ORDER BY ae_title <> '*' DESC, called_ae_title <> '*' DESC, masklen(address) DESC NULLS LAST, id LIMIT 1 $$;

-- Whether some association would fit both this peer and one of another organisation. Whoever may name peers of his own
-- organisation could otherwise name another's scanner more exactly than they do, and receive its patients.
CREATE FUNCTION kerf.peer_is_foreign(p_ae text, p_called text, p_address cidr) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kerf, pg_temp AS $$
    SELECT EXISTS (SELECT FROM peer
        WHERE organisation_id IS DISTINCT FROM organisation()
          AND (ae_title = p_ae OR '*' IN (ae_title, p_ae))
          AND (called_ae_title = p_called OR '*' IN (called_ae_title, p_called))
          AND (address IS NULL OR p_address IS NULL OR address && p_address)) $$;

CREATE FUNCTION kerf.claim_job(p_kinds text[], p_worker text, p_lease_s double precision)
    RETURNS SETOF kerf.job LANGUAGE sql SECURITY DEFINER SET search_path = kerf, pg_temp AS $$
    UPDATE job SET state = 'running', fence = fence + 1, attempts = attempts + 1, worker = p_worker, progress = 0,
            stage = '', cancel_requested = false, error_code = '', error_detail = '', finished_at = NULL,
            started_at = clock_timestamp(), lease_until = clock_timestamp() + p_lease_s * interval '1 second'
        WHERE id = (SELECT id FROM job
                    WHERE state = 'queued' AND run_after <= clock_timestamp()
                      AND (p_kinds IS NULL OR kind = ANY (p_kinds))
                    ORDER BY priority DESC, run_after, id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)
        RETURNING job.* $$;

CREATE FUNCTION kerf.reap_jobs() RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = kerf, pg_temp AS $$
DECLARE
    v_case uuid;
    v_changed integer;
    v_count integer := 0;
BEGIN
    FOR v_case IN SELECT DISTINCT case_id FROM job WHERE state = 'running' AND lease_until < clock_timestamp()
            LIMIT 100 LOOP
        -- The case first, as everywhere. Where somebody is at work on it just now, the next round will do.
        PERFORM FROM cases WHERE id = v_case FOR NO KEY UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        UPDATE job SET
            state = CASE WHEN cancel_requested THEN 'cancelled' WHEN attempts >= max_attempts THEN 'dead'
                         ELSE 'queued' END,
            finished_at = CASE WHEN cancel_requested OR attempts >= max_attempts THEN clock_timestamp() END,
            lease_until = NULL, cancel_requested = false, error_code = 'lease_expired',
            error_detail = 'The worker that ran this job was not heard of any more.',
            run_after = clock_timestamp() + backoff(attempts)
            WHERE case_id = v_case AND state = 'running' AND lease_until < clock_timestamp();
        GET DIAGNOSTICS v_changed = ROW_COUNT;
        v_count := v_count + v_changed;
        PERFORM derive_case(v_case);
    END LOOP;
    RETURN v_count;
END $$;

CREATE FUNCTION kerf.settled_series(p_older_s double precision, p_limit integer)
    RETURNS TABLE (r_organisation uuid, r_series uuid, r_case uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kerf, pg_temp AS $$
    SELECT s.organisation_id, s.id, s.case_id
        FROM (SELECT series_id, max(received_at) AS last FROM instance WHERE NOT queued GROUP BY series_id) w
        JOIN series s ON s.id = w.series_id
        WHERE w.last <= clock_timestamp() - p_older_s * interval '1 second'
        ORDER BY w.last LIMIT p_limit $$;

CREATE FUNCTION kerf.counts(OUT r_queued bigint, OUT r_running bigint, OUT r_dead bigint,
                            OUT r_oldest_s double precision, OUT r_unimported bigint, OUT r_instances bigint,
                            OUT r_blobs bigint, OUT r_connections bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kerf, pg_temp AS $$
    SELECT (SELECT count(*) FROM job WHERE state = 'queued'),
           (SELECT count(*) FROM job WHERE state = 'running'),
           (SELECT count(*) FROM job WHERE state = 'dead'),
           (SELECT greatest(0, coalesce(extract(epoch FROM clock_timestamp() - min(run_after)), 0))::double precision
                FROM job WHERE state = 'queued'),
           (SELECT count(DISTINCT series_id) FROM instance WHERE NOT queued),
           (SELECT greatest(0, reltuples)::bigint FROM pg_class WHERE oid = 'kerf.instance'::regclass),
           (SELECT greatest(0, reltuples)::bigint FROM pg_class WHERE oid = 'kerf.blob'::regclass),
           (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()) $$;

-- Removes what has had its time: events, sessions, remembered answers.
CREATE FUNCTION kerf.prune(p_events_s double precision) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = kerf, pg_temp AS $$
DECLARE
    v_count bigint;
BEGIN
    DELETE FROM event WHERE created_at < now() - p_events_s * interval '1 second';
    GET DIAGNOSTICS v_count = ROW_COUNT;
    DELETE FROM session WHERE expires_at < now() - interval '1 day';
    DELETE FROM idempotency WHERE created_at < now() - interval '1 day';
    RETURN v_count;
END $$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA kerf FROM PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA kerf TO kerf_app;
