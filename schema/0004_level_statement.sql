-- Which vertebra is which, as people say it. A level that a job could not count is confirmed when two different people
-- have named every vertebra of a segmentation alike: each alone, or after what they said differed and both were shown.
-- Statements are only ever added: who said what, and when, stays to be read, and of each person the newest counts. They
-- hang on the segmentation: one that is made anew is named anew.

ALTER TABLE kerf.artefact ADD UNIQUE (organisation_id, id);

CREATE TABLE kerf.level_statement (
    id               uuid PRIMARY KEY,
    organisation_id  uuid NOT NULL REFERENCES kerf.organisation,
    case_id          uuid NOT NULL,
    artefact_id      uuid NOT NULL,
    account_id       uuid NOT NULL,
    levels           jsonb NOT NULL CHECK (jsonb_typeof(levels) = 'object'),  -- label of each vertebra → level: {"25": "L1"}
    stated_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    FOREIGN KEY (organisation_id, case_id) REFERENCES kerf.cases (organisation_id, id),
    FOREIGN KEY (organisation_id, artefact_id) REFERENCES kerf.artefact (organisation_id, id),
    FOREIGN KEY (organisation_id, account_id) REFERENCES kerf.account (organisation_id, id)
);
CREATE INDEX level_statement_case ON kerf.level_statement (case_id, artefact_id, account_id, stated_at);

ALTER TABLE kerf.level_statement ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON kerf.level_statement USING (organisation_id = kerf.organisation())
    WITH CHECK (organisation_id = kerf.organisation());
GRANT SELECT, INSERT ON kerf.level_statement TO kerf_app;

CREATE FUNCTION kerf.level_stated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO kerf.event (organisation_id, case_id, kind, body)
    VALUES (NEW.organisation_id, NEW.case_id, 'levels.stated',
            jsonb_build_object('case_id', NEW.case_id, 'artefact_id', NEW.artefact_id));
    RETURN NULL;
END $$;
CREATE TRIGGER level_stated AFTER INSERT ON kerf.level_statement FOR EACH ROW EXECUTE FUNCTION kerf.level_stated();
REVOKE EXECUTE ON FUNCTION kerf.level_stated() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION kerf.level_stated() TO kerf_app;
