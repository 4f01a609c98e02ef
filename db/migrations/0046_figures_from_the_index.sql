-- The index that counts tasks by status holds all that the figures of a project are made of, but for when a task was done.
-- A project's tasks lie scattered in the table: reading them there was most of the time. due_date is there once more,
-- because the planner does not see it in the expression.
DROP INDEX tasks_project_status_due_idx;
CREATE INDEX tasks_project_status_due_idx
    ON tasks (project_id, status, (coalesce(due_date, 'infinity'::timestamptz)), id)
    INCLUDE (organization_id, due_date, priority, estimated_hours, actual_hours, created_at);
