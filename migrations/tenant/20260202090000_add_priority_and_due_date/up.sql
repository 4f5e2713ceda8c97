-- tenantry: accept check-validated-at-once: the default keeps it, and tasks are few
ALTER TABLE tasks
    ADD COLUMN priority smallint NOT NULL DEFAULT 3 CONSTRAINT tasks_priority_check CHECK (priority BETWEEN 1 AND 5),
    ADD COLUMN due_on date;

-- tenantry: accept locks-several-tables: both are held for a moment only
ALTER TABLE projects ADD COLUMN description text NOT NULL DEFAULT '';

-- New columns of a view go to its end.
CREATE OR REPLACE VIEW open_tasks AS
SELECT
    tasks.id,
    tasks.title,
    projects.name AS project,
    users.full_name AS assignee,
    (SELECT count(*) FROM comments WHERE comments.task_id = tasks.id) AS comment_count,
    tasks.priority,
    tasks.due_on
FROM tasks
JOIN projects ON projects.id = tasks.project_id
LEFT JOIN users ON users.id = tasks.assignee_id
WHERE NOT tasks.done AND projects.archived_at IS NULL;
