-- Somebody has seen that a job failed and wants nothing done about it: the case asks for attention no more. Who and when stay
-- with the job until it is tried again, whichever program does that: one that does not know these columns works on as before.

ALTER TABLE kerf.job
    ADD COLUMN acknowledged_at timestamptz,
    ADD COLUMN acknowledged_by uuid,           -- NULL: a token, or the command line
    ADD FOREIGN KEY (organisation_id, acknowledged_by) REFERENCES kerf.account (organisation_id, id),
    ADD CHECK (acknowledged_by IS NULL OR acknowledged_at IS NOT NULL);

CREATE FUNCTION kerf.job_moved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.acknowledged_at := NULL;
    NEW.acknowledged_by := NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER job_moved BEFORE UPDATE OF state ON kerf.job FOR EACH ROW WHEN (OLD.state <> NEW.state)
    EXECUTE FUNCTION kerf.job_moved();
REVOKE EXECUTE ON FUNCTION kerf.job_moved() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION kerf.job_moved() TO kerf_app;

CREATE OR REPLACE FUNCTION kerf.job_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO kerf.event (organisation_id, case_id, kind, body)
    VALUES (NEW.organisation_id, NEW.case_id, 'job.changed',
            jsonb_build_object('case_id', NEW.case_id, 'job_id', NEW.id, 'kind', NEW.kind, 'state', NEW.state,
                               'progress', round(NEW.progress::numeric, 3), 'stage', NEW.stage,
                               'acknowledged', NEW.acknowledged_at IS NOT NULL));
    IF NEW.state = 'queued' THEN
        PERFORM pg_notify('kerf_job', 'queued ' || NEW.kind);
    ELSIF NEW.state = 'running' AND NEW.cancel_requested THEN
        PERFORM pg_notify('kerf_job', 'cancel ' || NEW.id);
    END IF;
    RETURN NULL;
END $$;
DROP TRIGGER job_changed ON kerf.job;
CREATE TRIGGER job_changed AFTER UPDATE ON kerf.job FOR EACH ROW
    WHEN ((OLD.state, OLD.progress, OLD.stage, OLD.cancel_requested, OLD.acknowledged_at)
          IS DISTINCT FROM (NEW.state, NEW.progress, NEW.stage, NEW.cancel_requested, NEW.acknowledged_at))
    EXECUTE FUNCTION kerf.job_changed();

-- As in 0001, but what was acknowledged does not count.
CREATE OR REPLACE FUNCTION kerf.derive_case(p_case uuid) RETURNS void LANGUAGE plpgsql AS $$
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
                     AND f.acknowledged_at IS NULL
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
