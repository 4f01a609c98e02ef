\set n random(1, :tasks)
\set s random(1, 5)
UPDATE tasks SET status = (ARRAY['todo', 'in_progress', 'review', 'done', 'cancelled'])[:s]::task_status
WHERE id = md5('task' || :n::text)::uuid
RETURNING id, project_id, assigned_to, title, description, status, priority, due_date, estimated_hours, actual_hours, tags, metadata,
       created_by, created_at, updated_at;
