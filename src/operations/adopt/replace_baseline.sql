SELECT t.run, r.command, t.to_version INTO last
FROM public.schema_run_tenant AS t
JOIN public.schema_run AS r ON r.id = t.run
WHERE t.tenant = adopted AND t.outcome = 'done'
    AND NOT (t.to_version IS NULL AND r.command IN ('adopt', 'untrack'))
ORDER BY t.run DESC
LIMIT 1;
IF NOT FOUND THEN
    RAISE EXCEPTION '$keptthere is no record of the run that adopted it with a baseline';
END IF;
IF last.command <> 'adopt' THEN
    RAISE EXCEPTION '$keptrun % (%) has changed its migrations since', last.run, last.command;
END IF;
IF EXISTS (SELECT FROM public.schema_tracker WHERE name = adopted AND unfinished_version IS NOT NULL) THEN
    RAISE EXCEPTION '$kepta non-transactional migration is incomplete';
END IF;
IF (SELECT array_agg(version::text ORDER BY version::text COLLATE "C") FROM $ledger) IS DISTINCT FROM
    (SELECT array_agg(v ORDER BY v COLLATE "C") FROM unnest($versions) AS v WHERE v COLLATE "C" <= last.to_version COLLATE "C")
THEN
    RAISE EXCEPTION '$keptits ledger does not record exactly the migrations up to %, as run % did', last.to_version, last.run;
END IF;
DELETE FROM $ledger;
