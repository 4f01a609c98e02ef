-- Indexes for the lists of the API, beside the specification's. Each is written by every insert and by nearly every
-- update (some 12 microseconds each), so each names the request that it is for. coalesce() because a keyset cannot step
-- over NULL. A person's tasks need none of their own: idx_tasks_assigned_to finds the few hundred that are then sorted.

-- A project's tasks in one status by due date; the counts by status of a project, without the table (hence
-- organization_id, which the policy reads).
CREATE INDEX tasks_project_status_due_idx
    ON tasks (project_id, status, (coalesce(due_date, 'infinity'::timestamptz)), id) INCLUDE (organization_id);
-- A project's tasks by due date, the order of the list unless another is asked for; the others sort the project's tasks.
CREATE INDEX tasks_project_due_idx ON tasks (project_id, (coalesce(due_date, 'infinity'::timestamptz)), id);
-- An organization's tasks by due date.
CREATE INDEX tasks_organization_due_idx ON tasks (organization_id, (coalesce(due_date, 'infinity'::timestamptz)), id);
-- An organization's members in the order of joining.
CREATE INDEX user_organizations_joined_idx ON user_organizations (organization_id, joined_at, id);
-- An organization's record, newest first; its only foreign key that had no index.
CREATE INDEX audit_logs_organization_idx ON audit_logs (organization_id, created_at, id);
