CREATE TABLE comments (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id bigint NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    author_id bigint NOT NULL REFERENCES users (id),
    body text NOT NULL CONSTRAINT comments_body_check CHECK (body <> ''),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX comments_task_id_created_at_idx ON comments (task_id, created_at);

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
