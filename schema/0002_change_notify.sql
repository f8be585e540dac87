-- Every change of what a kept answer was made from is told in the same commit, on the channel of the events: with the
-- event's number where there is an event, else with 0. A server that keeps answers and sessions forgets them when it
-- hears this (server/http/routes_views.c). Instances are not among the tables: an answer is kept only while the case is
-- ready or in need of attention, and the first instance of a new batch ends that state (kerf.receive_instance).

CREATE FUNCTION kerf.view_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('kerf_event', coalesce(NEW.organisation_id, OLD.organisation_id) || ' 0');
    RETURN NULL;
END $$;

CREATE TRIGGER view_changed AFTER INSERT OR UPDATE OR DELETE ON kerf.study
    FOR EACH ROW EXECUTE FUNCTION kerf.view_changed();
CREATE TRIGGER view_changed AFTER INSERT OR UPDATE OR DELETE ON kerf.series
    FOR EACH ROW EXECUTE FUNCTION kerf.view_changed();
CREATE TRIGGER view_changed AFTER UPDATE OR DELETE ON kerf.artefact
    FOR EACH ROW EXECUTE FUNCTION kerf.view_changed();
CREATE TRIGGER view_deleted AFTER DELETE ON kerf.job
    FOR EACH ROW EXECUTE FUNCTION kerf.view_changed();
CREATE TRIGGER view_deleted AFTER DELETE ON kerf.cases
    FOR EACH ROW EXECUTE FUNCTION kerf.view_changed();
CREATE TRIGGER view_changed AFTER UPDATE ON kerf.cases
    FOR EACH ROW WHEN (OLD.revision = NEW.revision) EXECUTE FUNCTION kerf.view_changed();

-- Who may come in: 'ORGANISATION 0 WHO [SESSION]', WHO being an account or a token.
CREATE FUNCTION kerf.access_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_who text;
BEGIN
    IF TG_TABLE_NAME = 'session' THEN
        v_who := OLD.account_id || ' ' || OLD.id;
    ELSIF TG_TABLE_NAME = 'api_token' THEN -- a token is its own session
        v_who := OLD.id || ' ' || OLD.id;
    ELSE
        v_who := OLD.id;
    END IF;
    PERFORM pg_notify('kerf_event', OLD.organisation_id || ' 0 ' || v_who);
    RETURN NULL;
END $$;

CREATE TRIGGER access_changed AFTER DELETE ON kerf.session
    FOR EACH ROW EXECUTE FUNCTION kerf.access_changed();
CREATE TRIGGER access_changed AFTER DELETE OR UPDATE OF login, display_name, role, password_hash, must_change, disabled
    ON kerf.account FOR EACH ROW EXECUTE FUNCTION kerf.access_changed();
CREATE TRIGGER access_changed AFTER DELETE OR UPDATE OF name, role, expires_at, revoked_at
    ON kerf.api_token FOR EACH ROW EXECUTE FUNCTION kerf.access_changed();

REVOKE EXECUTE ON FUNCTION kerf.view_changed(), kerf.access_changed() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION kerf.view_changed(), kerf.access_changed() TO kerf_app;
