DROP VIEW open_tasks;
DROP TABLE comments;
