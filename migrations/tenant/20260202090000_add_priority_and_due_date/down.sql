-- CREATE OR REPLACE VIEW cannot take columns away.
DROP VIEW open_tasks;

CREATE VIEW open_tasks AS
SELECT
    tasks.id,
    tasks.title,
    projects.name AS project,
    users.full_name AS assignee,
    (SELECT count(*) FROM comments WHERE comments.task_id = tasks.id) AS comment_count
FROM tasks
JOIN projects ON projects.id = tasks.project_id
LEFT JOIN users ON users.id = tasks.assignee_id
WHERE NOT tasks.done AND projects.archived_at IS NULL;

ALTER TABLE projects DROP COLUMN description;
ALTER TABLE tasks DROP COLUMN due_on, DROP COLUMN priority;
