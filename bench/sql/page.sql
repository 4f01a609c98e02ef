\set p random(1, 5000)
SELECT id, project_id, assigned_to, title, description, status, priority, due_date, estimated_hours, actual_hours, tags, metadata,
       created_by, created_at, updated_at
FROM tasks WHERE project_id = md5('project' || :p::text)::uuid AND status = 'todo' ORDER BY due_date LIMIT 50;
