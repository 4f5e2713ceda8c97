-- Without a lock that stops writers, which is why this migration is not transactional.
CREATE INDEX CONCURRENTLY tasks_assignee_id_due_on_idx ON tasks (assignee_id, due_on) WHERE NOT done;
