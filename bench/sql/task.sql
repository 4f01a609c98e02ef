\set n random(1, :tasks)
SELECT id, project_id, assigned_to, title, description, status, priority, due_date, estimated_hours, actual_hours, tags, metadata,
       created_by, created_at, updated_at
FROM tasks WHERE id = md5('task' || :n::text)::uuid;
